"""What says that a company's payments are all here: an import, a heartbeat; and what does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from operations.companies import save_company
from operations.heartbeat import heartbeat
from operations.importing.imports import Said, import_file, recognise, understand
from store import freshness, settings
from tests.trade import TODAY, invoice, open_company, open_trade
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection

MARIE = "user:marie"
NOW = datetime(2026, 11, 24, 13, tzinfo=UTC)


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    settings.make_test_instance(database)
    settings.set_clock(database, NOW)
    save_company(database, code="NORD", name="Nord SAS", payments_fresh_hours=24, by=MARIE, today=TODAY)
    invoice(database, "FA-1")
    return database


def stale(conn: Connection, code: str = "NORD") -> bool:
    return any(one.code == code and one.stale for one in freshness.of_companies(conn).values())


def payments(conn: Connection, rows: str, *, only_good: bool = False, dry_run: bool = False) -> bool:
    """Import these payments of NORD; whether it was done."""
    content = f"Facture;Date;Montant;Client;Réf\n{rows}\n".encode()
    said = Said(company="NORD", currency="EUR")
    sheet, mapping = recognise(content, name="p.csv", kind="payments", mapping=None, said=said)
    understood = understand(content, sheet, mapping, guessed=True)
    return import_file(conn, understood, only_good=only_good, dry_run=dry_run, by=MARIE).done


GOOD = "FA-1;2026-11-20;40,00;C-1;V1"
WRONG = "FA-9;2026-11-20;40,00;C-1;V2"


def test_a_company_that_was_never_heard_of_is_stale(conn: Connection) -> None:
    assert stale(conn)


def test_a_heartbeat_makes_it_fresh_for_as_long_as_the_company_allows(conn: Connection) -> None:
    assert not heartbeat(conn, company="NORD", by=MARIE).stale
    settings.set_clock(conn, NOW + timedelta(hours=24))
    assert not stale(conn)
    settings.set_clock(conn, NOW + timedelta(hours=24, seconds=1))
    assert stale(conn)


def test_the_same_payments_again_are_no_word_of_what_was_paid_since(conn: Connection) -> None:
    assert payments(conn, GOOD)
    assert not stale(conn)
    settings.set_clock(conn, NOW + timedelta(days=3))
    assert stale(conn)
    assert payments(conn, GOOD)
    assert stale(conn), "a bank's export that stopped on Monday is read again each day"


def test_a_look_at_a_file_makes_nothing_fresh(conn: Connection) -> None:
    payments(conn, GOOD, dry_run=True)
    assert stale(conn)


def test_an_import_that_left_payments_out_makes_nothing_fresh(conn: Connection) -> None:
    assert payments(conn, f"{GOOD}\n{WRONG}", only_good=True)
    assert stale(conn)


def test_one_company_is_not_fresh_for_another(conn: Connection) -> None:
    open_company(conn, "SUD")
    save_company(conn, code="SUD", name="Sud SA", payments_fresh_hours=24, by=MARIE)
    heartbeat(conn, company="NORD", by=MARIE)
    assert (stale(conn), stale(conn, "SUD")) == (False, True)


def test_an_older_word_does_not_undo_a_newer_one(conn: Connection) -> None:
    heartbeat(conn, company="NORD", by=MARIE)
    settings.set_clock(conn, NOW - timedelta(days=2))
    assert heartbeat(conn, company="NORD", by=MARIE).heard_at == NOW


def test_a_company_that_is_none_is_refused(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="company"):
        heartbeat(conn, company="EST", by=MARIE)
