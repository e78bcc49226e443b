"""An address that refused mail has mail again when a person says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from operations.addresses import unsuppress
from operations.lookup import find_rule
from operations.preview import preview
from scripts.main import cli
from store import outcomes
from store.connection import connect
from tests.chasing import RULE, committed_chase, decided_run, open_chase
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection

MARIE = "user:marie"
ANA = "ana@dupont.example"


def recipients(conn: Connection) -> set[str]:
    return {mail.recipient for mail in preview(conn, find_rule(conn, RULE), by=MARIE).mails}


def test_an_address_that_takes_mail_again_is_written_to_again(database: Connection) -> None:
    open_chase(database)
    outcomes.suppress(database, ANA, "no_mailbox")
    assert recipients(database) == set()
    allowed = unsuppress(database, " Ana@Dupont.EXAMPLE ", because="their server is mended", by=MARIE)
    assert (allowed.address, allowed.was_because, allowed.tasks) == (ANA, "no_mailbox", ())
    assert recipients(database) == {ANA}


def test_who_and_why_are_journaled_and_the_address_is_not(database: Connection) -> None:
    outcomes.suppress(database, ANA, "no_mailbox")
    unsuppress(database, ANA, because="their server is mended", by=MARIE)
    (row,) = database.execute(
        "SELECT actor, because, change::text FROM journal"
        " WHERE subject = 'suppression' AND change -> 'email' ->> 1 IS NULL"
    ).fetchall()
    assert row[:2] == (MARIE, "their server is mended")
    assert "sha256:" in row[2]
    assert ANA not in row[2]


@pytest.mark.parametrize("address", ["ana@elsewhere.example", "", "a\nb"])
def test_what_is_not_suppressed_is_said(database: Connection, address: str) -> None:
    outcomes.suppress(database, ANA, "no_mailbox")
    with pytest.raises(InvalidInput, match="address"):
        unsuppress(database, address, because="mended", by=MARIE)
    with pytest.raises(InvalidInput, match="because"):
        unsuppress(database, ANA, because=" ", by=MARIE)


def test_the_tasks_that_still_keep_firmer_reminders_back_are_named(database_url: str, redis_url: str) -> None:
    decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as conn:
        outcomes.suppress(conn, ANA, "no_mailbox")
        conn.execute(
            "INSERT INTO tasks (kind, company_id, customer_id, reminder_id, reason)"
            " SELECT 'undelivered', company_id, customer_id, id, 'no_mailbox' FROM reminders"
        )
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "COLUMNS": "80"}
    words = ["unsuppress", ANA, "--because", "mended"]
    done = CliRunner().invoke(cli, words, env=servers)
    assert done.exit_code == 0, done.output
    assert "relance tasks done 1" in done.stderr
    again = CliRunner().invoke(cli, words, env=servers)
    assert (again.exit_code, again.stderr.startswith("relance: address")) == (1, True)
