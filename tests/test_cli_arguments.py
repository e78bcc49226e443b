"""Whatever is typed, no command answers with a traceback: 0 done, 1 refused, 2 misused, 3 done in part."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import traceback
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.main import COMMANDS, cli
from tests.chasing import RULE
from tests.databases import administering, copied
from tests.test_cli_examples import (
    LONG,
    PREPARED,
    RUNNING,
    World,
    a_rule_file,
    commands,
    files_of_another_system,
    of_example,
    prepared,
    twelfth_batch,
    twelve_sent,
    world,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from click.testing import Result

    from store.rules import SavedRule

__all__ = ["prepared", "world"]  # fixtures

EXIT_CODES: Final = {0, 1, 2, 3}
TRIES: Final = 20
# They run until they are stopped, or for minutes: only what they make of their arguments is tried.
PARSED_ONLY: Final = {"up", "worker", "scheduler", "sink", "demo", "web"}
# They have a database of their own, or none.
WITHOUT_DATABASE: Final = {"bounces", "backup", "restore"}

LEAVES: Final = {
    typed: command
    for name in COMMANDS
    for typed, command in commands(name)
    if not isinstance(command, click.Group)
}  # fmt: skip
# Those that end by themselves.
EXAMPLES: Final = [
    one
    for name, entry in COMMANDS.items()
    if name not in LONG
    for one in entry.examples
    if not of_example(RUNNING, one)
]  # fmt: skip

FAR_DAYS: Final = ("0001-01-01", "9999-12-31", "9999-12-31T23:59:59+0000")
FAR_NUMBERS: Final = (str(2**31), str(2**63 - 1), str(2**63), "9" * 30, "-1")
LIKELY: Final = (
    "1", "2", "0", "-1", "12", RULE, "Relance 9", "FA-1", "FA-6", "C-1", "NORD", "marie", "sortie", "rule", "invoice",
    "2026-11-24", "2026-11-24T10:00", "0001-01-01", "9999-12-31", "9999-12-31T23:59", "0001-01-01T00:00:00+0000",
    "level = 0", "days_overdue >= 36500", "level = ", "rules.yaml", "invoices.csv", "customers", "fr", "FA-1,FA-2",
    "@invoices.csv", "9" * 30, "-" + "9" * 30, "1e999", "nan", "", " ", "--", "-", "-x", "--yes", "--json", "%s %(x)s",
    "=?utf-8?Q?a?=", "{0}", "[bold]x[/bold]", "a\nb", "a\x00b", "\ud800", "a\udce9.csv", "\x1b[31m", "\u202e",
    "x" * 10_240, "é" * 300,
)  # fmt: skip


def inside(text: str) -> str:
    """No name leads out of the test's own folder, where some commands write."""
    return text.replace("..", "").lstrip("/")


VALUES: Final = (st.sampled_from(LIKELY) | st.text(st.characters(exclude_categories=["Cs"]), max_size=60)).map(inside)


def words_of(example: str) -> list[str]:
    words = shlex.split(example)[1:]
    return words[: words.index(">")] if ">" in words else words


def examples_of(typed: str) -> list[list[str]]:
    """What follows the command's name in its examples."""
    begin = typed.split()
    return [words[len(begin) :] for one in EXAMPLES if (words := words_of(one))[: len(begin)] == begin]


def options_of(command: click.Command) -> list[click.Option]:
    """All but the one that never ends."""
    return [one for one in command.params if isinstance(one, click.Option) and "--watch" not in one.opts]


@st.composite
def arguments(draw: st.DrawFn, command: click.Command) -> list[str]:
    """What has the command's form, with any values."""
    words: list[str] = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            words += draw(st.lists(VALUES, min_size=int(parameter.required), max_size=2))
    for option in options_of(command):
        if option.required or draw(st.booleans()):
            words += draw(given_option(option))
    return words + draw(st.lists(VALUES, max_size=1))


@st.composite
def given_option(draw: st.DrawFn, option: click.Option) -> list[str]:
    """The option, with a value that is one of its choices half of the time."""
    name = draw(st.sampled_from([*option.opts, *option.secondary_opts]))
    choices = getattr(option.type, "choices", ())
    return [name] if option.is_flag else [name, draw(st.sampled_from(choices) | VALUES if choices else VALUES)]


@st.composite
def mistaken(draw: st.DrawFn, typed: str, command: click.Command) -> list[str]:
    """An example with a value replaced, or with an option more: what gets furthest into the command."""
    words = list(draw(st.sampled_from(examples_of(typed))))
    values = [place for place, word in enumerate(words) if not word.startswith("--")]
    options = options_of(command)
    if values and (not options or draw(st.booleans())):
        words[draw(st.sampled_from(values))] = draw(VALUES)
    elif options:
        words += draw(given_option(draw(st.sampled_from(options))))
    return words


def answers(words: list[str], environment: Mapping[str, str]) -> Result:
    """Type the words; the answer is one that a person may get."""
    result = CliRunner().invoke(cli, words, env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        assert result.exc_info is not None
        pytest.fail(f"{words}\n{''.join(traceback.format_exception(*result.exc_info))}")
    assert result.exit_code in EXIT_CODES, words
    assert result.exit_code not in {1, 2} or result.output.strip(), f"{words} was refused without a word"
    return result


@pytest.fixture(scope="module")
def lived(
    servers: tuple[str, str], prepared: tuple[str, SavedRule], tmp_path_factory: pytest.TempPathFactory
) -> Generator[World]:
    """One world for all tries: a run, its mail, a batch, files; what one try changes, the next one finds."""
    folder = tmp_path_factory.mktemp("lived")
    name, rule = prepared
    with administering(servers[0]) as server, pytest.MonkeyPatch.context() as patched, ExitStack() as stack:
        patched.chdir(folder)
        made = copied(server, servers[0], name, f"{name}_lived")
        one = World(url=next(made), redis_url=servers[1], folder=folder, rule=rule, stack=stack)
        for prepare in (twelve_sent, twelfth_batch, a_rule_file, files_of_another_system):
            prepare(one)
        yield one
        made.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("typed", [typed for typed in LEAVES if typed not in PARSED_ONLY])
def test_no_argument_makes_a_command_break(
    lived: World, redis_url: str, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.chdir(lived.folder)
    command = LEAVES[typed]

    @settings(max_examples=TRIES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(arguments(command) | mistaken(typed, command))
    def type_(words: list[str]) -> None:
        result = answers([*typed.split(), *words], lived.environment | {"REDIS_URL": redis_url})
        assert "\x1b" not in result.stdout, words

    type_()


@pytest.mark.parametrize("typed", [typed for typed in LEAVES if typed not in PARSED_ONLY])
def test_no_day_and_no_number_makes_a_command_break(
    lived: World, redis_url: str, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.chdir(lived.folder)
    for words in extremes(typed):
        answers([*typed.split(), *words], lived.environment | {"REDIS_URL": redis_url})


def extremes(typed: str) -> Iterator[list[str]]:
    """The first example with each day and each number as far out as it can be written."""
    words = examples_of(typed)[0]
    for option in options_of(LEAVES[typed]):
        for value in FAR_DAYS if isinstance(option.type, click.DateTime) else FAR_NUMBERS:
            if isinstance(option.type, click.DateTime | click.types.IntParamType):
                yield [*words, option.opts[0], value]
    for place, word in enumerate(words):
        for value in FAR_NUMBERS if word.isdigit() else ():
            yield [*words[:place], value, *words[place + 1 :]]


@pytest.mark.parametrize("typed", sorted(PARSED_ONLY))
def test_no_argument_makes_a_process_break(typed: str) -> None:
    command = LEAVES[typed]

    @settings(max_examples=TRIES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(arguments(command))
    def type_(words: list[str]) -> None:
        with contextlib.suppress(click.ClickException, click.exceptions.Exit):
            cli.make_context("relance", [typed, *words])
            command.make_context(typed, list(words))

    type_()


@settings(max_examples=100, deadline=None)
@given(st.lists(VALUES | st.sampled_from(["--as", "marie", "--help", "--version"]), max_size=3))
def test_no_word_before_a_command_breaks(words: list[str]) -> None:
    assert {*words} & {*COMMANDS} or CliRunner().invoke(cli, words).exit_code in EXIT_CODES


@pytest.mark.parametrize("typed", LEAVES)
def test_a_misuse_ends_with_2_and_says_so_on_stderr(typed: str) -> None:
    result = CliRunner().invoke(cli, [*typed.split(), "--no-such-option"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "No such option" in result.stderr


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_database_that_does_not_answer_is_refused_in_words(
    example: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = words_of(example)
    result = answers(words, {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "REDIS_URL": redis_url})
    assert result.exit_code in ({0, 1, 2} if words[0] in WITHOUT_DATABASE else {1, 2})


@pytest.mark.timeout(300)
@pytest.mark.parametrize("example", EXAMPLES)
def test_json_is_all_that_is_on_stdout(world: World, example: str) -> None:
    words = words_of(example)
    typed = max((one for one in LEAVES if f"{' '.join(words)} ".startswith(f"{one} ")), key=len)
    if "--eml" in words or not any("--json" in option.opts for option in options_of(LEAVES[typed])):
        pytest.skip("it prints no JSON")
    if prepare := of_example(PREPARED, example):
        prepare(world)
    if world.typed:
        pytest.skip("it asks in a terminal")
    result = world.relance(*words, *([] if "--json" in words else ["--json"]))
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)


def test_no_color_means_none(world: World) -> None:
    twelve_sent(world)
    colour = re.compile(r"\x1b\[[0-9;]*\b(3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")
    coloured = set()
    for words in (["status"], ["runs", "12"], ["preview", RULE], ["explain", "FA-5"]):
        named = world.environment | {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
        if colour.search(answers(words, named).stdout):
            coloured.add(words[0])
        assert not colour.search(answers(words, named | {"NO_COLOR": "1"}).stdout)
    assert "explain" in coloured, "where nobody asks for none"
