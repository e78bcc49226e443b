"""What events do: through the operations everybody uses, in any order, each once."""

from __future__ import annotations

import random
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operations.events import replay
from operations.heartbeat import heartbeat
from operations.importing.imports import Said, import_file, recognise, understand
from operations.intake import drain
from operations.invoices import dispute, end_dispute, update
from operations.ledger import reverse
from operations.pauses import pause
from operations.telling import _TELLING, apply, moment
from store import inbox
from store.connection import connect
from tests.chasing import committed_chase, decided_run, open_chase, send_all
from tests.telling import (
    CONTACT,
    CUSTOMER,
    INVOICE,
    PAYMENT,
    REVERSAL,
    THIS,
    asked,
    event,
    outcomes,
    reasons,
    take,
    tell,
    tell_committed,
)  # fmt: skip
from tests.trade import TODAY, invoice, open_company, open_trade
from workflow.errors import InvalidInput
from workflow.event_types import TYPES

if TYPE_CHECKING:
    from store.connection import Connection


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    return database


def state(conn: Connection) -> list[tuple[Any, ...]]:
    return asked(conn, "SELECT number, commercial_state, balance, state FROM invoices ORDER BY number")


def test_every_type_does_something() -> None:
    assert set(_TELLING) == set(TYPES)


def test_a_customer_an_invoice_and_its_payment_are_told(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER), event("contact.upserted", CONTACT))
    tell(conn, event("invoice.issued", INVOICE), event("payment.recorded", PAYMENT | {"amount": "40.00"}))
    assert outcomes(conn) == ["applied"] * 4
    assert [row[1:3] for row in state(conn)] == [("open", 60)]
    ((name, dunning),) = asked(
        conn,
        "SELECT u.name, c.email FROM customers u JOIN contacts c ON c.id = dunning_contact_id WHERE number = 'C-7'",
    )
    assert (name, dunning) == ("Lefèvre SA", "eve@lefevre.example")
    actors = asked(conn, "SELECT DISTINCT actor FROM journal WHERE subject IN ('payment', 'contact')")
    assert actors == [("events:/erp",)]


def test_what_tells_of_an_unknown_invoice_waits_until_it_comes(conn: Connection) -> None:
    tell(conn, event("payment.reversed", REVERSAL), event("payment.recorded", PAYMENT))
    tell(conn, event("invoice.updated", {**THIS, "version": 2, "total": "120.00"}), event("invoice.issued", INVOICE))
    assert outcomes(conn) == ["parked"] * 4
    assert reasons(conn)[1] == "no invoice NORD/F-1 yet"
    tell(conn, event("customer.upserted", CUSTOMER))
    drain(conn)
    drain(conn)
    assert outcomes(conn) == ["applied"] * 5
    assert state(conn) == [("F-1", "open", 120, "level_0")]


def test_an_invoice_for_a_contact_that_is_not_here_yet_waits_for_it(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER))
    tell(conn, event("invoice.issued", INVOICE | {"interlocutors": {"dunning": "EVE@lefevre.example"}}))
    assert outcomes(conn) == ["applied", "parked"]
    tell(conn, event("contact.upserted", CONTACT))
    drain(conn)
    assert outcomes(conn) == ["applied"] * 3


def test_an_older_version_changes_nothing_and_the_same_is_a_duplicate(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER | {"version": 5}))
    tell(conn, event("customer.upserted", CUSTOMER | {"version": 4, "name": "Old"}))
    tell(conn, event("customer.upserted", CUSTOMER | {"version": 5, "name": "Other"}))
    assert outcomes(conn) == ["applied", "stale", "duplicate"]
    assert asked(conn, "SELECT name FROM customers WHERE number = 'C-7'") == [("Lefèvre SA",)]


def test_an_update_that_was_overtaken_still_tells_what_nobody_told_since(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    tell(conn, event("invoice.updated", {**THIS, "version": 3, "total": "120.00"}))
    tell(conn, event("invoice.updated", {**THIS, "version": 2, "total": "110.00", "due_on": "2026-11-30"}))
    ((total, due_on, version),) = asked(conn, "SELECT total, due_on::text, source_version FROM invoices")
    assert (total, due_on, version) == (120, "2026-11-30", 3)


def test_the_same_event_twice_is_one_and_counted(conn: Connection) -> None:
    told = event("customer.upserted", CUSTOMER)
    assert take(conn, told, told) == ["waiting", "duplicate"]
    assert take(conn, told) == ["duplicate"]
    drain(conn)
    assert asked(conn, "SELECT outcome, repeats FROM inbox") == [("applied", 2)]


def test_a_payment_told_by_two_events_is_booked_once(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    tell(conn, event("payment.recorded", PAYMENT), event("payment.recorded", PAYMENT))
    tell(conn, event("payment.reversed", REVERSAL), event("payment.reversed", REVERSAL))
    assert outcomes(conn)[2:] == ["applied", "duplicate", "applied", "duplicate"]
    assert [row[2] for row in state(conn)] == [100]


def test_a_disputed_invoice_whose_payment_is_taken_back_is_disputed_again(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    tell(conn, event("invoice.disputed", {**THIS, "version": 2, "because": "wrong price"}))
    tell(conn, event("payment.recorded", PAYMENT))
    assert [row[1] for row in state(conn)] == ["paid"]
    tell(conn, event("payment.reversed", REVERSAL))
    assert [row[1] for row in state(conn)] == ["disputed"]


def disputed_by_the_erp(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    tell(conn, event("invoice.disputed", {**THIS, "version": 2}))


def pay_and_take_back(conn: Connection) -> None:
    tell(conn, event("payment.recorded", PAYMENT))
    assert [row[1] for row in state(conn)] == ["paid"]
    reverse(conn, company="NORD", reference="VIR-1", reversed_on=TODAY, by="user:marie", today=TODAY)


def test_whoever_takes_a_payment_back_the_erps_dispute_is_not_forgotten(conn: Connection) -> None:
    disputed_by_the_erp(conn)
    pay_and_take_back(conn)
    assert [row[1:3] for row in state(conn)] == [("disputed", 100)]


def test_a_total_that_a_person_raises_brings_the_erps_dispute_back(conn: Connection) -> None:
    disputed_by_the_erp(conn)
    tell(conn, event("payment.recorded", PAYMENT))
    update(conn, company="NORD", number="F-1", total="120.00", by="user:marie", today=TODAY)
    assert [row[1:3] for row in state(conn)] == [("disputed", 20)]


def test_a_dispute_that_a_person_ended_is_not_made_again_by_a_correction(conn: Connection) -> None:
    disputed_by_the_erp(conn)
    end_dispute(conn, company="NORD", number="F-1", by="user:marie", today=TODAY)
    tell(conn, event("invoice.updated", {**THIS, "version": 3, "payment_method": "transfer"}))
    assert outcomes(conn)[-1] == "applied"
    assert [row[1] for row in state(conn)] == ["open"]
    pay_and_take_back(conn)
    assert [row[1] for row in state(conn)] == ["open"]


def test_a_persons_word_holds_until_the_erp_says_another(conn: Connection) -> None:
    disputed_by_the_erp(conn)
    end_dispute(conn, company="NORD", number="F-1", by="user:marie", today=TODAY)
    tell(conn, event("invoice.refused", {**THIS, "version": 3}))
    pay_and_take_back(conn)
    assert [row[1] for row in state(conn)] == ["refused"]


def test_a_list_that_ends_a_dispute_is_a_later_word_too(conn: Connection) -> None:
    disputed_by_the_erp(conn)
    content = b"client,number,date,total,currency,state\nC-7,F-1,2026-10-01,100.00,EUR,open\n"
    sheet, mapping = recognise(content, name="l.csv", kind="invoices", mapping=None, said=Said(company="NORD"))
    done = import_file(conn, understand(content, sheet, mapping, guessed=True), dry_run=False, by="user:marie")
    assert done.changed == 1
    pay_and_take_back(conn)
    assert [row[1] for row in state(conn)] == ["open"]


def test_a_dispute_of_a_persons_own_outlives_a_reversal(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    tell(conn, event("invoice.dispute_resolved", {**THIS, "version": 2}))
    tell(conn, event("payment.recorded", PAYMENT | {"amount": "10.00"}))
    dispute(conn, company="NORD", number="F-1", by="user:marie", today=TODAY)
    tell(conn, event("payment.reversed", REVERSAL))
    assert [row[1:3] for row in state(conn)] == [("disputed", 100)]


def test_resuming_ends_what_events_paused_and_leaves_what_a_person_did(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER))
    paused = {"customer": "C-7", "version": 1, "until_on": "2099-12-31", "because": "audit"}
    pause(conn, customer="C-7", until_on=TODAY.replace(year=2099), reason="mine", today=TODAY, by="user:marie")
    tell(conn, event("dunning.paused", paused), event("dunning.paused", paused | {"version": 2, "because": "again"}))
    assert asked(conn, "SELECT reason FROM pauses WHERE lifted_at IS NULL ORDER BY reason") == [("again",), ("mine",)]
    tell(conn, event("dunning.resumed", {"customer": "C-7", "version": 3}))
    assert asked(conn, "SELECT reason FROM pauses WHERE lifted_at IS NULL") == [("mine",)]


def test_resuming_leaves_a_persons_pause_that_says_the_same(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER))
    paused = {"customer": "C-7", "version": 1, "until_on": "2099-12-31", "because": "audit"}
    pause(conn, customer="C-7", until_on=date(2099, 12, 31), reason="audit", today=TODAY, by="user:marie")
    tell(conn, event("dunning.paused", paused), event("dunning.resumed", {"customer": "C-7", "version": 2}))
    assert outcomes(conn) == ["applied"] * 3
    assert asked(conn, "SELECT count(*) FROM pauses WHERE lifted_at IS NULL") == [(1,)]


HEARD = "SELECT heard_at::date::text FROM payment_sources"


def heartbeat_event() -> dict[str, Any]:
    return event("source.heartbeat", {"company": "NORD"}, time="2026-01-01T00:00:00Z")


def a_minute_passes(conn: Connection) -> None:
    conn.execute("UPDATE inbox SET decided_at = decided_at - interval '61 seconds' WHERE outcome = 'parked'")
    drain(conn)


def test_a_heartbeat_lets_payments_that_came_before_it_go_first(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    take(conn, event("payment.recorded", PAYMENT), heartbeat_event())
    *_, beat = inbox.waiting(conn)
    assert apply(conn, beat, moment(conn)) == "waiting"
    assert asked(conn, HEARD) == []
    drain(conn)
    assert outcomes(conn)[2:] == ["applied"] * 2
    assert asked(conn, HEARD) == [("2026-01-01",)]


def test_a_heartbeat_does_not_answer_for_a_payment_that_is_parked(conn: Connection) -> None:
    tell(conn, event("payment.recorded", PAYMENT), heartbeat_event())
    assert outcomes(conn) == ["parked"] * 2
    assert str(reasons(conn)[1]).startswith("payment NORD/VIR-1, told of before, is parked: event ")
    tell(conn, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    assert outcomes(conn) == ["applied"] * 4
    assert asked(conn, HEARD) == [("2026-01-01",)]


def trade_committed(url: str) -> None:
    with connect(url) as conn:
        open_trade(conn)
    tell_committed(url, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))


def ended(url: str) -> list[str]:
    """Outcomes of all but the customer and the invoice."""
    with connect(url) as conn:
        return outcomes(conn)[2:]


def without(data: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: one for key, one in data.items() if key != name}


@pytest.mark.parametrize(
    "payment",
    [
        PAYMENT | {"currency": "USD"},
        PAYMENT | {"amount": 100},
        without(PAYMENT, "company"),
        without(PAYMENT, "reference"),
    ],
)
def test_a_heartbeat_does_not_answer_for_a_payment_that_is_rejected_until_it_is_booked(
    conn: Connection, payment: dict[str, Any]
) -> None:
    tell(conn, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    told = event("payment.recorded", payment)
    tell(conn, told, heartbeat_event())
    assert outcomes(conn)[2:] == ["rejected", "parked"]
    tell(conn, told | {"data": PAYMENT})
    a_minute_passes(conn)
    assert outcomes(conn)[2:] == ["applied"] * 2
    assert asked(conn, HEARD) == [("2026-01-01",)]


def test_a_rejected_payment_that_comes_under_another_id_holds_no_heartbeat_back(database_url: str) -> None:
    trade_committed(database_url)
    tell_committed(database_url, event("payment.recorded", PAYMENT | {"amount": 100}))
    tell_committed(database_url, event("payment.recorded", PAYMENT), heartbeat_event())
    assert ended(database_url) == ["rejected", "applied", "applied"]


def test_a_payment_that_contradicts_one_that_is_booked_holds_heartbeats_back(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    tell(conn, event("payment.recorded", PAYMENT), event("payment.recorded", PAYMENT | {"amount": "1.00"}))
    tell(conn, heartbeat_event())
    assert outcomes(conn)[2:] == ["applied", "rejected", "parked"]


def test_a_reversal_that_is_rejected_holds_heartbeats_back_until_it_is_booked(database_url: str) -> None:
    trade_committed(database_url)
    wrong = event("payment.reversed", REVERSAL | {"reversal": 1})
    tell_committed(database_url, event("payment.recorded", PAYMENT), wrong, heartbeat_event())
    assert ended(database_url) == ["applied", "rejected", "parked"]
    tell_committed(database_url, event("payment.reversed", REVERSAL), heartbeat_event())
    assert ended(database_url) == ["applied", "rejected", "parked", "applied", "applied"]


def test_a_person_may_answer_for_a_payment_that_nobody_can_book(database_url: str) -> None:
    trade_committed(database_url)
    tell_committed(database_url, event("payment.recorded", PAYMENT | {"invoice": "F-9"}), heartbeat_event())
    assert ended(database_url) == ["parked", "parked"]
    with connect(database_url) as conn:
        heartbeat(conn, company="NORD", by="user:marie")
    tell_committed(database_url, heartbeat_event())
    assert ended(database_url) == ["parked", "parked", "applied"]


def test_a_payment_of_another_company_holds_no_heartbeat_back(conn: Connection) -> None:
    open_company(conn, "SUD")
    tell(conn, event("payment.recorded", PAYMENT | {"company": "SUD"}), heartbeat_event())
    assert outcomes(conn) == ["parked", "applied"]


def test_a_heartbeat_says_until_when_payments_are_told(conn: Connection) -> None:
    assert take(conn, event("source.heartbeat", {"company": "NORD"})) == ["rejected"]
    assert reasons(conn) == ["/time: is missing: it says until when all payments are told"]


def test_a_heartbeat_answers_for_nothing_that_came_after_it(database_url: str) -> None:
    trade_committed(database_url)
    tell_committed(database_url, event("source.heartbeat", {"company": "NORD"}, time="2999-01-01T00:00:00Z"))
    with connect(database_url) as conn:
        assert asked(conn, "SELECT heard_at = max(received_at) FROM payment_sources, inbox GROUP BY heard_at") == [
            (True,)
        ]


def test_what_is_made_without_events_wakes_a_payment_within_a_minute(conn: Connection) -> None:
    due = PAYMENT | {"customer": "C-1", "invoice": "FA-1"}
    tell(conn, event("payment.recorded", due))
    invoice(conn)
    drain(conn)
    assert outcomes(conn) == ["parked"]
    a_minute_passes(conn)
    assert outcomes(conn) == ["applied"]
    assert [row[1] for row in state(conn)] == ["paid"]


def test_of_the_same_event_twice_the_one_that_can_be_applied_counts(conn: Connection) -> None:
    told = event("customer.upserted", CUSTOMER)
    assert take(conn, told | {"data": {}}, told, told) == ["duplicate", "waiting", "duplicate"]
    drain(conn)
    assert asked(conn, "SELECT outcome, repeats FROM inbox") == [("applied", 2)]


@pytest.mark.parametrize(
    "told",
    [
        event("invoice.issued", INVOICE | {"issued_on": "0001-01-01"}),
        event("invoice.issued", INVOICE | {"due_on": "9999-12-31"}),
        event("payment.recorded", without(PAYMENT, "invoice") | {"received_on": "9999-12-31"}),
        event("credit_note.issued", without(without(PAYMENT, "invoice"), "received_on") | {"issued_on": "0001-01-01"}),
    ],
)
def test_a_day_that_nobody_means_is_rejected(conn: Connection, told: dict[str, Any]) -> None:
    tell(conn, event("customer.upserted", CUSTOMER), told)
    assert outcomes(conn) == ["applied", "rejected"]
    assert "must be from 1950 to 2100" in str(reasons(conn)[1])


def test_what_is_malformed_hinders_none_of_its_neighbours(conn: Connection) -> None:
    good = [event("customer.upserted", CUSTOMER | {"number": f"N-{n}"}) for n in range(2)]
    bad = ["{", "[]", "\x00", event("customer.upserted", {}), event("nothing", {}), '{"id": "\\ud800"}', "[" * 99_999]
    assert take(conn, good[0], *bad, good[1]) == ["waiting", *["rejected"] * len(bad), "waiting"]
    drain(conn)
    assert outcomes(conn) == ["applied", *["rejected"] * len(bad), "applied"]
    assert all(reason for reason in reasons(conn)[1:-1])


def test_a_refusal_leaves_nothing_half_done_and_may_be_tried_again(conn: Connection) -> None:
    told = event("customer.upserted", CUSTOMER | {"email": "not an address@x"})
    tell(conn, told)
    assert outcomes(conn) == ["rejected"]
    assert asked(conn, "SELECT * FROM told") == []
    found = replay(conn, because="look", dry_run=True, by="user:marie")
    assert [one.outcome for one in found.events] == ["rejected"] == outcomes(conn)
    replay(conn, because="look", dry_run=False, by="user:marie")
    assert outcomes(conn) == ["waiting"]
    drain(conn)
    assert outcomes(conn) == ["rejected"]


def test_a_rejected_event_sent_again_mended_takes_its_place(conn: Connection) -> None:
    bad = event("customer.upserted", CUSTOMER | {"country": "France"})
    assert take(conn, bad) == ["rejected"]
    assert take(conn, bad) == ["duplicate"]
    assert take(conn, bad | {"data": CUSTOMER}) == ["waiting"]
    drain(conn)
    assert outcomes(conn) == ["applied"]


def test_an_applied_event_is_not_replayed(conn: Connection) -> None:
    tell(conn, event("customer.upserted", CUSTOMER))
    ((number,),) = asked(conn, "SELECT id FROM inbox")
    with pytest.raises(InvalidInput, match="is applied"):
        replay(conn, ids=[number], because="x", dry_run=False, by="user:marie")


def test_an_unknown_company_is_rejected_in_words(conn: Connection) -> None:
    tell(conn, event("source.heartbeat", {"company": "SUD"}, time="2026-01-01T00:00:00Z"))
    assert outcomes(conn) == ["rejected"]
    assert "SUD" in str(reasons(conn)[0])


def test_a_payment_that_is_told_stops_a_reminder_that_is_queued(database_url: str) -> None:
    run_id = decided_run(database_url, committed_chase(database_url))
    due = {"company": "NORD", "customer": "C-1", "currency": "EUR", "received_on": "2026-11-24"}
    tell_committed(
        database_url,
        event("payment.recorded", due | {"invoice": "FA-1", "amount": "100.00", "reference": "V1"}),
        event("payment.recorded", due | {"invoice": "FA-2", "amount": "50.50", "reference": "V2"}),
    )
    send_all(database_url, run_id)
    with connect(database_url) as conn:
        assert outcomes(conn) == ["applied"] * 2
        assert asked(conn, "SELECT step, detail FROM attempts") == [("cancelled", "paid")]
        assert asked(conn, "SELECT DISTINCT state FROM reminders WHERE customer_id = 1") == [("cancelled",)]


def test_a_payment_raises_the_version_that_a_rendered_mail_is_compared_with(conn: Connection) -> None:
    open_chase_versions = "SELECT row_version FROM invoices WHERE number = 'F-1'"
    tell(conn, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    ((before,),) = asked(conn, open_chase_versions)
    tell(conn, event("payment.recorded", PAYMENT | {"amount": "1.00"}))
    ((after,),) = asked(conn, open_chase_versions)
    assert after > before


THIS_PAUSED = {"company": "NORD", "invoice": "F-1"}
NOTE = {name: one for name, one in PAYMENT.items() if name != "received_on"}
STORY = [
    event("customer.upserted", CUSTOMER),
    event("customer.upserted", CUSTOMER | {"version": 3, "name": "Lefèvre et fils"}),
    event("contact.upserted", CONTACT),
    event("contact.upserted", CONTACT | {"version": 4, "name": "Ève", "roles": []}),
    event("contact.upserted", CONTACT | {"version": 5, "email": "ida@lefevre.example", "name": "Ida"}),
    event("invoice.issued", INVOICE | {"interlocutors": {"billing": "ida@lefevre.example"}}),
    event("invoice.updated", {**THIS, "version": 2, "total": "130.00", "due_on": "2026-11-05"}),
    event("invoice.updated", {**THIS, "version": 4, "total": "120.00"}),
    event("invoice.disputed", {**THIS, "version": 3}),
    event("invoice.dispute_resolved", {**THIS, "version": 5}),
    event("invoice.refused", {**THIS, "version": 6}),
    event("payment.recorded", PAYMENT),
    event("payment.recorded", PAYMENT | {"reference": "VIR-2", "amount": "20.00"}),
    event("payment.reversed", REVERSAL),
    event("credit_note.issued", NOTE | {
        "issued_on": "2026-11-22", "reference": "AV-1", "amount": "5.00"}),
    event("dunning.paused", {"customer": "C-7", "version": 1, "until_on": "2099-12-31", "because": "audit"}),
    event("dunning.paused", THIS_PAUSED | {"version": 7, "until_on": "2099-01-31", "because": "y"}),
    event("dunning.resumed", {"customer": "C-7", "version": 2}),
    event("invoice.issued", INVOICE | {"number": "F-2", "version": 1}),
    event("invoice.cancelled", {"company": "NORD", "number": "F-2", "version": 2}),
    event("invoice.disputed", {"company": "NORD", "number": "F-2", "version": 3}),
]  # fmt: skip
# How often an invoice was settled and came back is its history, not its state: `cycle` is left out.
FACTS = (
    """SELECT number, c.name, kind, c.email, d.email
         FROM customers c LEFT JOIN contacts d ON d.id = c.dunning_contact_id ORDER BY 1""",
    "SELECT lower(email), name FROM contacts ORDER BY 1",
    """SELECT number, total, balance, due_on, commercial_state, state, before_settled, level, source_version,
              (SELECT email FROM contacts WHERE id = billing_contact_id) FROM invoices ORDER BY 1""",
    "SELECT reference, kind, amount FROM payments ORDER BY 1",
    "SELECT invoice_id IS NULL, until_on, reason FROM pauses WHERE lifted_at IS NULL ORDER BY 1, 2",
)


def told_in(conn: Connection, order: list[dict[str, Any]], pieces: int) -> list[Any]:
    """Tell the story in this order, in so many pieces, and look; nothing of it stays."""
    with conn.transaction(force_rollback=True):
        step = max(1, len(order) // pieces)
        for start in range(0, len(order), step):
            tell(conn, *order[start : start + step])
        for _ in range(5):
            drain(conn)
        left = asked(conn, "SELECT id, type, reason FROM inbox WHERE outcome NOT IN ('applied', 'stale', 'duplicate')")
        assert left == []
        return [asked(conn, query) for query in FACTS]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), repeats=st.integers(0, 8), pieces=st.integers(1, 21))
def test_in_any_order_and_however_often_events_end_in_the_same_state(
    conn: Connection, seed: int, repeats: int, pieces: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - an order, no secret
    order = [*STORY, *chance.choices(STORY, k=repeats)]
    chance.shuffle(order)
    facts = told_in(conn, order, pieces)
    assert facts == told_in(conn, STORY, 1)
    ((*_, commercial),) = [row[:5] for row in facts[2] if row[0] == "F-1"]
    assert commercial == "refused"


def test_what_was_taken_before_a_death_is_applied_after_it(database_url: str) -> None:
    with connect(database_url) as conn:
        open_chase(conn)
    with connect(database_url) as dying:
        take(dying, event("customer.upserted", CUSTOMER))
        dying.commit()
        take(dying, event("invoice.issued", INVOICE))
        dying.rollback()
    with connect(database_url) as conn:
        drain(conn)
        assert outcomes(conn) == ["applied"]


def test_one_hand_applies_at_a_time(database_url: str) -> None:
    with connect(database_url) as first, connect(database_url) as second:
        take(first, event("customer.upserted", CUSTOMER))
        first.commit()
        with first.transaction():
            first.execute("SELECT pg_advisory_lock(%s)", [0x52454C01])
        assert drain(second) == {}
        with first.transaction():
            first.execute("SELECT pg_advisory_unlock(%s)", [0x52454C01])
        assert drain(second) == {"applied": 1}
