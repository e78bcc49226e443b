"""Values to try a text on before any invoice exists: for the check when a rule is saved, previews and documentation."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Final

from letters.variables import Company, Contact, Customer, LetterValues, StatementLine

SAMPLE: Final = LetterValues(
    company=Company(
        name="Ateliers Morvan",
        legal_line="SAS au capital de 50\N{NARROW NO-BREAK SPACE}000\N{NO-BREAK SPACE}€ · RCS Nantes 732 829 320",
        siren="732 829 320",
        address="12 quai de la Fosse\n44000 Nantes",
        iban="FR7630006000011234567890189",
        bic="AGRIFRPP",
        email="compta@ateliers-morvan.example",
        phone="+33 2 40 00 00 00",
        web="https://ateliers-morvan.example",
    ),
    customer=Customer(number="C-0042", name="Menuiserie Le Goff", kind="professional"),
    contact=Contact(name="Anne Le Goff"),
    invoices=(
        StatementLine(
            number="FA-2026-0117",
            issued_on=date(2026, 8, 31),
            due_on=date(2026, 10, 1),
            total=Decimal("1234.50"),
            balance=Decimal("1034.50"),
        ),
        StatementLine(
            number="FA-2026-0131",
            issued_on=date(2026, 9, 15),
            due_on=date(2026, 10, 15),
            total=Decimal("12480.00"),
            balance=Decimal("12480.00"),
        ),
        StatementLine(
            number="FA-2026-0140",
            issued_on=date(2026, 9, 30),
            due_on=date(2026, 10, 31),
            total=Decimal("86.40"),
            balance=Decimal("86.40"),
        ),
    ),
    level=1,
    today=date(2026, 11, 24),
    language="fr",
    currency="EUR",
    rule_title="Relance 1",
)

# One invoice and several, in both languages, with and without what may be missing.
SAMPLES: Final = (
    SAMPLE,
    replace(SAMPLE, language="en", level=3),
    replace(
        SAMPLE,
        company=Company(name="Ateliers Morvan"),
        contact=Contact(),
        customer=replace(SAMPLE.customer, kind="unknown"),
        invoices=SAMPLE.invoices[:1],
    ),
)
