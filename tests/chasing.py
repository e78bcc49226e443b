"""A small chase for tests: a test instance on one afternoon, three customers, one rule, what becomes of its mails."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from operations.customers import save_contact, save_customer
from operations.invoices import dispute
from operations.ledger import record_payment
from operations.rules import save_rule
from operations.run import run_by_hand
from operations.tags import save_tag
from store import outcomes, rules, settings
from store.connection import connect, pool
from tests.trade import TODAY, invoice, open_account, open_trade
from workers.advance import advance, open_run
from workers.effects import apply_effects
from workers.office import Office
from workers.sender import Sender
from workers.sending import send_reminders, settle
from workers.settings import Settings

if TYPE_CHECKING:
    from store.connection import Connection
    from store.rules import SavedRule

NOW = datetime(2026, 11, 24, 13, tzinfo=UTC)
RULE = "Relance 1"
TEXTS = {
    "subject": "Relance de {{ company.name }}",
    "header": "Bonjour {{ contact.name }},",
    "footer": "Cordialement",
}


def open_chase(conn: Connection, *, port: int = 2525) -> SavedRule:
    """C-1 owes FA-1 and FA-2 (both due), FA-3 (not yet) and has paid FA-4; C-2 disputes FA-5; C-3 has no address."""
    open_trade(conn)
    settings.make_test_instance(conn)
    settings.set_clock(conn, NOW)
    open_account(conn, "sortie", host="127.0.0.1", port=port, security="plain")
    save_contact(conn, customer="C-1", name="Ana", email="ana@dupont.example", roles=["dunning"], by="user:marie")
    save_customer(conn, number="C-2", name="Martin SA", email="martin@martin.example", by="user:marie")
    save_customer(conn, number="C-3", name="Sans Adresse", by="user:marie")
    invoice(conn, "FA-1", "100.00")
    invoice(conn, "FA-2", "50.50")
    invoice(conn, "FA-3", due_on=date(2026, 12, 15))
    invoice(conn, "FA-4")
    invoice(conn, "FA-5", customer="C-2")
    invoice(conn, "FA-6", customer="C-3")
    pay(conn, "FA-4")
    dispute(conn, company="NORD", number="FA-5", because="wrong price", by="user:marie", today=TODAY)
    save_tag(conn, title="Relance 1", by="user:marie")
    return open_rule(conn)


def open_rule(conn: Connection, title: str = RULE, level: int = 0, **changes: object) -> SavedRule:
    definition = {
        "title": title,
        "filter": {
            "all": [{"field": "level", "op": "=", "value": level}, {"field": "days_overdue", "op": ">=", "value": 15}]
        },
        "texts": {"fr": TEXTS},
        "tags": ["Relance 1"],
        "on_test_instance": True,
    }
    saved = save_rule(conn, definition | changes, company="NORD", account="sortie", by="user:marie", now=NOW)
    return next(rule for rule in rules.saved(conn) if rule.id == saved.id)


def pay(conn: Connection, number: str, amount: str = "100.00", *, customer: str = "C-1") -> None:
    record_payment(
        conn,
        company="NORD",
        customer=customer,
        invoice=number,
        amount=amount,
        currency="EUR",
        received_on=TODAY,
        reference=f"VIR-{number}",
        by="user:marie",
        today=TODAY,
    )


def committed_chase(url: str, *, port: int = 2525) -> SavedRule:
    with connect(url) as conn:
        return open_chase(conn, port=port)


def decided_run(url: str, rule: SavedRule) -> int:
    """A run by hand whose candidates are all decided; its mails are due."""
    with connect(url) as conn:
        started = run_by_hand(conn, rule, by="user:marie")
    decide_run(url, started.run_id)
    return started.run_id


def decide_run(url: str, run_id: int) -> None:
    with pool(url, actor="test", size=2) as connections:
        office = Office(pool=connections, settings=Settings())
        open_run(office, run_id)
        with connections.connection() as conn:
            numbers = [row[0] for row in conn.execute("SELECT number FROM chunks WHERE run_id = %s AND open", [run_id])]
        for number in numbers:
            assert advance(office, run_id, number) == 0


def send_all(url: str, run_id: int) -> list[int]:
    """Let a worker's own sender send the run's due mails, and put on the tags."""
    with pool(url, actor="worker:test:1", size=4) as connections:
        office = Office(pool=connections, settings=Settings(answer_s=5))
        with connections.connection() as conn:
            ids = [row[0] for row in conn.execute("SELECT id FROM reminders WHERE run_id = %s ORDER BY id", [run_id])]
        sender = Sender(connections, office.settings, settle)
        sender.start()
        try:
            send_reminders(office, sender, ids)
        finally:
            sender.stop()
        apply_effects(office, ids)
    return ids


def doubt(conn: Connection, reminder_id: int) -> None:
    """The mail was armed and nobody has heard of it since: what a worker's death leaves, found by the sweep."""
    conn.execute(
        "UPDATE reminders SET state = 'armed', fence = fence + 1, armed_at = clock_timestamp(),"
        " lease_until = clock_timestamp() - interval '1 s' WHERE id = %s",
        [reminder_id],
    )
    assert outcomes.doubt_lapsed(conn) == 1


def fail(conn: Connection, reminder_id: int, error: str = "554 5.7.1 not wanted") -> None:
    """The server refused it for good."""
    conn.execute(
        "UPDATE reminders SET state = 'claimed', fence = fence + 1, lease_until = clock_timestamp() + interval '1 min'"
        " WHERE id = %s",
        [reminder_id],
    )
    fence = one(conn, "SELECT fence FROM reminders WHERE id = %s", reminder_id)
    assert isinstance(fence, int)
    outcomes.end(conn, reminder_id, fence, state="failed", problem="refused", error=error, day=TODAY)


def one(conn: Connection, query: str, *parameters: object) -> object:
    row = conn.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def long_ago(conn: Connection, reminder_id: int, minutes: float) -> None:
    """All that was tried with this mail happened so much earlier; the ledger of attempts is append-only otherwise."""
    conn.execute("ALTER TABLE attempts DISABLE TRIGGER USER")
    conn.execute(
        "UPDATE attempts SET at = at - make_interval(mins => 1) * %s WHERE reminder_id = %s", [minutes, reminder_id]
    )
    conn.execute("ALTER TABLE attempts ENABLE TRIGGER USER")
    conn.commit()
