"""Made-up rows by the hundred thousand, straight into the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from workflow.filter_text import parse_text
from workflow.rules import Rule, Texts, rule_to_json

if TYPE_CHECKING:
    from store.connection import Connection

_COMPANY = """
INSERT INTO companies (code, name, siren, address, email, iban, bic, send_from, send_until, send_weekdays,
                       send_on_holidays, run_share_percent)
VALUES ('ACME', 'Atelier Acme', '732829320', E'1 rue de la Paix\n75002 Paris', 'compta@acme.example',
        'FR1420041010050500013M02606', 'PSSTFRPPPAR', '00:00', NULL, '{1,2,3,4,5,6,7}', true, NULL)
RETURNING id
"""
_ACCOUNT = """
INSERT INTO mail_accounts (name, company_id, from_name, from_address, host, port, security, max_connections)
VALUES ('acme', %(company)s, 'Atelier Acme', 'compta@acme.example', '127.0.0.1', %(port)s, 'plain', 64)
RETURNING id
"""
_CUSTOMERS = """
INSERT INTO customers (number, name, kind)
SELECT 'C' || n, 'Client ' || n, 'professional' FROM generate_series(1, %(count)s) AS n
"""
_CONTACTS = """
INSERT INTO contacts (customer_id, name, email, language)
SELECT id, 'Contact ' || id, 'contact' || id || '@client.example', 'fr' FROM customers
"""
_ROLES = """
UPDATE customers c SET dunning_contact_id = k.id FROM contacts k WHERE k.customer_id = c.id
"""
_INVOICES = """
INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on, due_on)
SELECT %(company)s, 1 + (n - 1) %% %(customers)s, 'FA-' || n, 'EUR', 100 + n %% 900, 100 + n %% 900,
       current_date - 60 - (n %% 30)::int, current_date - 20 - (n %% 30)::int
  FROM generate_series(1, %(count)s::bigint) AS n
"""

TEXTS = Texts(
    subject="Relance : {{ totals.count }} facture(s) en attente",
    header="Bonjour {{ contact.name }},\n\nSauf erreur de notre part, les factures ci-dessous **restent impayées**.",
    footer="Nous vous remercions de votre règlement.\n\n{{ company.name }}",
)


def fill(conn: Connection, *, invoices: int, customers: int, port: int, texts: Texts = TEXTS) -> int:
    """Make a company with this many open, overdue invoices at level 0 and an active rule over them. Returns its id."""
    company = conn.execute(_COMPANY).fetchone()
    parameters = {"company": company[0] if company else 0, "port": port, "count": customers, "customers": customers}
    account = conn.execute(_ACCOUNT, parameters).fetchone()
    conn.execute("ALTER TABLE customers DISABLE TRIGGER USER")
    conn.execute("ALTER TABLE contacts DISABLE TRIGGER USER")
    for statement in (_CUSTOMERS, _CONTACTS, _ROLES):
        conn.execute(statement, parameters)
    conn.execute("ALTER TABLE customers ENABLE TRIGGER USER")
    conn.execute("ALTER TABLE contacts ENABLE TRIGGER USER")
    conn.execute(_INVOICES, parameters | {"count": invoices})
    conn.execute("INSERT INTO users (login, name, email) VALUES ('bench', 'Bench', 'bench@acme.example')")
    conn.execute("INSERT INTO tags (title) VALUES ('Relance 1')")
    rule = Rule(
        title="Relance 1",
        filter=parse_text('level = 0 and days_overdue >= 15 and tag not in ("litige")'),
        texts={"fr": texts},
        tags=("Relance 1",),
    )
    conn.execute(
        "INSERT INTO rules (company_id, owner_id, title, inactive_since, counting_from)"
        " VALUES (%s, 1, 'Relance 1', NULL, now())",
        (parameters["company"],),
    )
    conn.execute(
        "INSERT INTO rule_versions (rule_id, version, definition, account_id) VALUES (1, 1, %s, %s)",
        (Jsonb(rule_to_json(rule)), account[0] if account else 0),
    )
    return 1


def analyze(conn: Connection) -> None:
    """What autovacuum would have done by the time a real ledger is this large."""
    conn.execute("ANALYZE")
