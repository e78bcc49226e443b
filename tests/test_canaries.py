"""The canaries sing: what watches every test's log finds what it is there for."""

from __future__ import annotations

import pytest

from tests.canaries import indiscretions
from workers.log import log

SUITE = """
from workers.log import log

def test_a_discreet_one():
    log("mail_sent", reminder=7)

def test_an_indiscreet_one():
    log("mail_sent", to="zoe@client.example")
"""


def test_a_log_line_that_names_somebody_fails_the_test_that_wrote_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.conftest import pytest_runtest_makereport")
    pytester.makepyfile(SUITE)
    outcome = pytester.runpytest_inprocess("-p", "no:randomly")
    outcome.assert_outcomes(passed=2, errors=1)
    outcome.stdout.fnmatch_lines(["*A log says whom a mail is for, or a secret:*", "*zoe@client.example*"])


@pytest.mark.parametrize("words", ["zoe@client.example", "Zoé Canari", "hunter2", "whsec_QUFB"])
def test_names_addresses_and_secrets_are_found(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    log("mail_sent", reminder=7, server=words)
    (line,) = indiscretions(capsys.readouterr().err)
    assert words in line


def test_what_is_printed_for_a_person_is_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    log("mail_sent", reminder=7, server="250 2.0.0 accepted")
    assert indiscretions("zoe@client.example is no longer written to\n" + capsys.readouterr().err) == []
