"""The journal: whatever a decision reads is written down when it changes, with who; names and addresses never are."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from operations.acting import acting
from operations.customers import save_contact
from operations.invoices import attach_original
from operations.ledger import record_payment
from operations.pauses import pause, promise
from operations.rules import save_rule
from operations.tags import save_category, save_tag, tag, tag_customer
from store.connection import act
from store.outcomes import suppress
from tests.trade import TODAY, invoice, open_account, open_trade
from workflow.facts import Contact, CustomerFacts, InvoiceFacts, Pause

if TYPE_CHECKING:
    from store.connection import Connection

SET_INVOICE: LiteralString = "UPDATE invoices SET "
SET_CUSTOMER: LiteralString = "UPDATE customers SET "
SET_CONTACT: LiteralString = "UPDATE contacts SET "
SET_PAUSE: LiteralString = "UPDATE pauses SET "

# Each thing that can change, with the key under which the journal tells of it.
CHANGES: dict[str, tuple[LiteralString, str, str]] = {
    "invoices.company_id": (SET_INVOICE + "company_id = (SELECT max(id) FROM companies)", "invoice", "company_id"),
    "invoices.customer_id": (
        SET_INVOICE + "customer_id = (SELECT max(id) FROM customers), dunning_contact_id = NULL",
        "invoice",
        "customer_id",
    ),
    "invoices.number": (SET_INVOICE + "number = 'FA-2'", "invoice", "number"),
    "invoices.kind": (SET_INVOICE + "kind = 'credit_note'", "invoice", "kind"),
    "invoices.currency": (SET_INVOICE + "currency = 'CHF'", "invoice", "currency"),
    "invoices.total": (SET_INVOICE + "total = 1", "invoice", "total"),
    "invoices.balance": (SET_INVOICE + "balance = 1", "invoice", "balance"),
    "invoices.issued_on": (SET_INVOICE + "issued_on = '2026-01-01'", "invoice", "issued_on"),
    "invoices.due_on": (SET_INVOICE + "due_on = NULL", "invoice", "due_on"),
    "invoices.payment_method": (SET_INVOICE + "payment_method = 'LCR'", "invoice", "payment_method"),
    "invoices.factored": (SET_INVOICE + "factored = true", "invoice", "factored"),
    "invoices.dunning_contact_id": (SET_INVOICE + "dunning_contact_id = NULL", "invoice", "dunning_contact_id"),
    "invoices.billing_contact_id": (
        SET_INVOICE + "billing_contact_id = dunning_contact_id",
        "invoice",
        "billing_contact_id",
    ),
    "invoices.commercial_state": (SET_INVOICE + "commercial_state = 'disputed'", "invoice", "commercial_state"),
    "invoices.state": (SET_INVOICE + "state = 'level_0_sending'", "invoice", "state"),
    "invoices.before_settled": (
        SET_INVOICE + "state = 'settled', before_settled = 'level_0', commercial_state = 'cancelled'",
        "invoice",
        "before_settled",
    ),
    "invoices.level": (SET_INVOICE + "state = 'level_1'", "invoice", "level"),
    "invoices.cycle": (SET_INVOICE + "cycle = 2", "invoice", "cycle"),
    "invoices.last_reminded_on": (SET_INVOICE + "last_reminded_on = '2026-11-01'", "invoice", "last_reminded_on"),
    "invoices.held_because": (SET_INVOICE + "held_because = 'x', held_at = now()", "invoice", "held_because"),
    "taggings, added": (
        "INSERT INTO taggings SELECT i.id, max(t.id) FROM invoices i, tags t GROUP BY i.id",
        "invoice",
        "tag",
    ),
    "taggings, removed": ("DELETE FROM taggings", "invoice", "tag"),
    "customers.number": (SET_CUSTOMER + "number = 'C-2'", "customer", "number"),
    "customers.name": (SET_CUSTOMER + "name = 'Martin'", "customer", "name"),
    "customers.kind": (SET_CUSTOMER + "kind = 'consumer'", "customer", "kind"),
    "customers.language": (SET_CUSTOMER + "language = 'en'", "customer", "language"),
    "customers.email": (SET_CUSTOMER + "email = 'new@client.example'", "customer", "email"),
    "customers.postal_address": (SET_CUSTOMER + "postal_address = '1 rue Haute'", "customer", "postal_address"),
    "customers.country": (SET_CUSTOMER + "country = 'BE'", "customer", "country"),
    "customers.dunning_contact_id": (
        SET_CUSTOMER + "dunning_contact_id = NULL",
        "customer",
        "dunning_contact_id",
    ),
    "customers.billing_contact_id": (
        SET_CUSTOMER + "billing_contact_id = dunning_contact_id",
        "customer",
        "billing_contact_id",
    ),
    "customers.payment_terms_days": (SET_CUSTOMER + "payment_terms_days = 30", "customer", "payment_terms_days"),
    "customers.payment_method": (SET_CUSTOMER + "payment_method = 'LCR'", "customer", "payment_method"),
    "customers.excluded": (SET_CUSTOMER + "excluded = true", "customer", "excluded"),
    "customers.held_because": (SET_CUSTOMER + "held_because = 'x', held_at = now()", "customer", "held_because"),
    "customers.held_at": (SET_CUSTOMER + "held_because = 'x', held_at = now()", "customer", "held_at"),
    "customer_taggings, added": (
        "INSERT INTO customer_taggings SELECT c.id, max(t.id) FROM customers c, tags t GROUP BY c.id",
        "customer_tagging",
        "tag_id",
    ),
    "customer_taggings, removed": ("DELETE FROM customer_taggings", "customer_tagging", "tag_id"),
    "contacts.name": (SET_CONTACT + "name = 'Luc'", "contact", "name"),
    "contacts.email": (SET_CONTACT + "email = 'luc@client.example'", "contact", "email"),
    "contacts.language": (SET_CONTACT + "language = 'en'", "contact", "language"),
    "suppressed_addresses, added": (
        "INSERT INTO suppressed_addresses (email, because) VALUES ('zoe@client.example', '5.1.1')",
        "suppression",
        "email",
    ),
    "suppressed_addresses, removed": ("DELETE FROM suppressed_addresses", "suppression", "email"),
    "pauses, added": (
        "INSERT INTO pauses (invoice_id, reason, until_on) SELECT id, 'x', '2026-12-31' FROM invoices",
        "pause",
        "invoice_id",
    ),
    "pauses.reason": (SET_PAUSE + "reason = 'x'", "pause", "reason"),
    "pauses.until_on": (SET_PAUSE + "until_on = '2026-12-31'", "pause", "until_on"),
    "pauses.promise": (SET_PAUSE + "promise = NOT promise", "pause", "promise"),
    "pauses.lifted_at": (SET_PAUSE + "lifted_at = now()", "pause", "lifted_at"),
    "payments, added": (
        """
        INSERT INTO payments (company_id, customer_id, kind, reference, currency, amount, received_on)
        SELECT company_id, customer_id, 'payment', 'VIR-9', 'EUR', 5, '2026-11-24' FROM invoices
        """,
        "payment",
        "amount",
    ),
    "companies.code": ("UPDATE companies SET code = 'EST' WHERE code = 'NORD'", "company", "code"),
    "companies.zone": ("UPDATE companies SET zone = 'Indian/Reunion'", "company", "zone"),
    "companies.min_days_between_mails": (
        "UPDATE companies SET min_days_between_mails = 2",
        "company",
        "min_days_between_mails",
    ),
    "companies.payments_fresh_hours": (
        "UPDATE companies SET payments_fresh_hours = 24",
        "company",
        "payments_fresh_hours",
    ),
    "companies.after_bounce": (
        "UPDATE companies SET after_bounce = 'next_contact'",
        "company",
        "after_bounce",
    ),
    "tasks, added": (
        """
        INSERT INTO tasks (kind, company_id, customer_id, reminder_id, reason)
        SELECT 'complaint', company_id, customer_id, id, 'complained' FROM reminders
        """,
        "task",
        "kind",
    ),
    "tasks.done_at": ("UPDATE tasks SET done_at = now(), done_by = 'user:paul'", "task", "done_at"),
    "payment_sources.heard_at": (
        "INSERT INTO payment_sources (company_id, heard_at, heard_from) SELECT min(id), now(), 'import' FROM companies",
        "company",
        "heard_at",
    ),
    "tags.title": ("UPDATE tags SET title = 'Z' || title", "tag", "title"),
    "tags.category_id": ("UPDATE tags SET category_id = (SELECT min(id) FROM tag_categories)", "tag", "category_id"),
    "tag_categories.one_only": ("UPDATE tag_categories SET one_only = true", "tag_category", "one_only"),
    "rules' accounts": ("UPDATE mail_accounts SET host = 'smtp.other.example'", "account", "host"),
    "settings": ("UPDATE settings SET stopped_because = 'x', stopped_at = now()", "settings", "stopped_because"),
}

# Every fact that a decision is made from, and what in the database it stands for. A decision reads nothing else.
SOURCES: dict[str, tuple[str, ...]] = {
    "InvoiceFacts.number": ("invoices.number",),
    "InvoiceFacts.company": ("invoices.company_id", "companies.code"),
    "InvoiceFacts.customer": ("invoices.customer_id",),
    "InvoiceFacts.state": ("invoices.state", "invoices.before_settled"),
    "InvoiceFacts.level": ("invoices.level",),
    "InvoiceFacts.cycle": ("invoices.cycle",),
    "InvoiceFacts.commercial_state": ("invoices.commercial_state",),
    "InvoiceFacts.currency": ("invoices.currency",),
    "InvoiceFacts.total": ("invoices.total",),
    "InvoiceFacts.balance": ("invoices.balance",),
    "InvoiceFacts.issued_on": ("invoices.issued_on",),
    "InvoiceFacts.due_on": ("invoices.due_on",),
    "InvoiceFacts.last_reminded_on": ("invoices.last_reminded_on",),
    "InvoiceFacts.payment_method": ("invoices.payment_method",),
    "InvoiceFacts.factored": ("invoices.factored",),
    "InvoiceFacts.held_because": ("invoices.held_because",),
    "InvoiceFacts.pause": ("pauses, added", "pauses.lifted_at"),
    "InvoiceFacts.tags": ("taggings, added", "taggings, removed", "tags.title"),
    "InvoiceFacts.undelivered": ("tasks, added", "tasks.done_at"),
    "InvoiceFacts.interlocutors": ("invoices.dunning_contact_id", "invoices.billing_contact_id"),
    "CustomerFacts.number": ("customers.number",),
    "CustomerFacts.name": ("customers.name",),
    "CustomerFacts.kind": ("customers.kind",),
    "CustomerFacts.language": ("customers.language",),
    "CustomerFacts.excluded": ("customers.excluded",),
    "CustomerFacts.held_because": ("customers.held_because",),
    "CustomerFacts.pause": ("pauses, added", "pauses.lifted_at"),
    "CustomerFacts.contacts": ("customers.dunning_contact_id", "customers.billing_contact_id"),
    "CustomerFacts.address": ("customers.email",),
    "CustomerFacts.tags": ("customer_taggings, added", "customer_taggings, removed", "tags.title"),
    "CustomerFacts.unallocated": ("payments, added",),
    "CustomerFacts.min_days_between_mails": ("companies.min_days_between_mails",),
    "CustomerFacts.passes_over": ("companies.after_bounce",),
    "Contact.name": ("contacts.name",),
    "Contact.email": ("contacts.email",),
    "Contact.language": ("contacts.language",),
    "Contact.suppressed": ("suppressed_addresses, added", "suppressed_addresses, removed"),
    "Pause.reason": ("pauses.reason",),
    "InvoiceFacts.stale_payments": ("companies.payments_fresh_hours", "payment_sources.heard_at"),
    "Pause.until_on": ("pauses.until_on",),
    "Pause.promise": ("pauses.promise",),
}
# Names of rows, and what reminders and their ledger of attempts tell themselves.
NEVER_CHANGE = {"InvoiceFacts.id", "CustomerFacts.id", "Contact.id"}
TOLD_ELSEWHERE = {
    "InvoiceFacts.row_version", "CustomerFacts.row_version", "InvoiceFacts.rule_mailed_on", "InvoiceFacts.rule_live",
    "CustomerFacts.last_mail_on",
}  # fmt: skip
# Columns that no decision reads; `open` follows from others, the hour of an invoice's hold from its row in the journal.
BOOKKEEPING = {
    "invoices": {"id", "row_version", "created_at", "source_version", "open", "held_at"},
    "customers": {"id", "row_version", "created_at"},
}


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    save_contact(
        database, customer="C-1", name="Zoé Canari", email="zoe@client.example", roles=("dunning",), by="user:marie"
    )
    invoice(database, interlocutors={"dunning": "zoe@client.example"})
    save_category(database, title="Relances", by="user:marie")
    save_tag(database, title="Relance 1", by="user:marie")
    save_tag(database, title="Relance 2", by="user:marie")
    tag(database, company="NORD", invoices=["FA-1"], tags=["Relance 1"], by="user:marie")
    tag_customer(database, customer="C-1", tags=["Relance 1"], by="user:marie")
    pause(
        database, company="NORD", invoice="FA-1", until_on=TODAY, reason="Zoé Canari rappelle", today=TODAY, by="system"
    )
    return database


def a_mail_that_came_back(conn: Connection, *, with_task: bool) -> None:
    definition = {
        "title": "Relance 1",
        "filter": {"field": "level", "op": "=", "value": 0},
        "texts": {"fr": {"subject": "Relance", "header": "", "footer": ""}},
    }
    now = datetime(2026, 11, 24, 13, tzinfo=UTC)
    rule_id = save_rule(conn, definition, company="NORD", account="comptabilité", by="user:marie", now=now).id
    conn.execute("INSERT INTO runs (rule_id, rule_version, due_at) VALUES (%s, 1, now())", [rule_id])
    conn.execute(
        "INSERT INTO reminders"
        " (run_id, rule_id, rule_version, company_id, customer_id, currency, recipient, message_id)"
        " SELECT n.id, n.rule_id, 1, i.company_id, i.customer_id, 'EUR', 'zoe@client.example', '<1@nord.example>'"
        "   FROM runs n, invoices i"
    )
    if with_task:
        conn.execute(CHANGES["tasks, added"][0])


def test_every_fact_has_its_source_in_the_database() -> None:
    kinds = (InvoiceFacts, CustomerFacts, Contact, Pause)
    known = {f"{kind.__name__}.{field.name}" for kind in kinds for field in fields(kind)}
    assert known == SOURCES.keys() | NEVER_CHANGE | TOLD_ELSEWHERE
    assert {source for sources in SOURCES.values() for source in sources} <= CHANGES.keys()


@pytest.mark.parametrize("table", BOOKKEEPING)
def test_every_column_that_could_be_read_is_tried(conn: Connection, table: str) -> None:
    found = conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", [table]
    )
    tried = {change.removeprefix(f"{table}.") for change in CHANGES if change.startswith(f"{table}.")}
    assert {name for (name,) in found} == tried | BOOKKEEPING[table]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_journaled_with_who_why_and_when(conn: Connection, change: str) -> None:
    conn.execute("INSERT INTO companies (code, name) VALUES ('SUD', 'Sud')")
    if change == "invoices.customer_id":
        conn.execute("INSERT INTO customers (number, name) VALUES ('C-9', 'Autre')")
    if change.startswith("tasks"):
        a_mail_that_came_back(conn, with_task=change != "tasks, added")
    if change == "suppressed_addresses, removed":
        suppress(conn, "gone@client.example", "5.1.1")
    last = conn.execute("SELECT max(id) FROM journal").fetchone()
    act(conn, actor="user:paul", because="pour voir", today=TODAY)
    statement, subject, key = CHANGES[change]
    conn.execute(statement)
    said = conn.execute(
        "SELECT subject, actor, because, today, change -> %s FROM journal WHERE id > %s AND change ? %s",
        [key, last and last[0], key],
    ).fetchall()
    assert {row[:4] for row in said} == {(subject, "user:paul", "pour voir", TODAY)}
    assert all(old != new for *_, (old, new) in said)


def test_what_is_done_within_an_operation_is_journaled_with_its_reason_and_nothing_after_it_is(
    conn: Connection,
) -> None:
    last = conn.execute("SELECT max(id) FROM journal").fetchone()
    with acting(conn, by="user:paul", because="pour voir", today=TODAY):
        invoice(conn, "FA-8")
        conn.execute("UPDATE invoices SET payment_method = 'card' WHERE number = 'FA-8'")
    with acting(conn, by="user:marie"):
        conn.execute("UPDATE invoices SET payment_method = 'transfer' WHERE number = 'FA-8'")
    said = conn.execute(
        "SELECT actor, because, today FROM journal WHERE subject = 'invoice' AND id > %s ORDER BY id",
        [last and last[0]],
    ).fetchall()
    assert said[-2:] == [("user:paul", "pour voir", TODAY), ("user:marie", None, None)]
    assert {row[1] for row in said[:-1]} == {"pour voir"}


@pytest.mark.parametrize("statement", ["UPDATE journal SET actor = 'nobody'", "DELETE FROM journal"])
def test_nobody_changes_the_journal(conn: Connection, statement: LiteralString) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="journal is append-only"):
        conn.execute(statement)


def test_the_journal_holds_no_name_and_no_address(conn: Connection) -> None:
    save_contact(conn, customer="C-1", name="Luc Canari", email="luc@client.example", by="user:marie")
    open_account(conn, "autre", from_name="Zoé Canari", from_address="canari@nord.example")
    promise(conn, customer="C-1", paid_on=TODAY, reason="Zoé Canari l'a dit", today=TODAY, by="user:marie")
    record_payment(
        conn, company="NORD", customer="C-1", invoice="FA-1", amount="1.00", currency="EUR", received_on=TODAY,
        reference="VIR CANARI", by="user:marie",
    )  # fmt: skip
    attach_original(
        conn, company="NORD", number="FA-1", content=b"%PDF-", name="facture de Zoé Canari.pdf", by="user:marie"
    )
    suppress(conn, "zoe@client.example", "5.1.1")
    written = "\n".join(row for (row,) in conn.execute("SELECT j::text FROM journal j")).lower()
    assert "sha256:" in written
    for canary in ("canari", "dupont", "marie curie", "nord sas", "@", "zoé", "zoe"):
        assert canary not in written, canary
