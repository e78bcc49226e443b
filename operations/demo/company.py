"""The demo's company on the eve of its first day: office, rules, customers, and the invoices of the months before."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from letters.mail import default_texts
from operations import accounts, companies, customers, holds, ledger, levels, rules, tags, users
from operations.demo.days import BY, COMPANY, Books, issue, pay
from operations.demo.trade import FIRST_DAY
from store import companies as sellers
from store import settings
from store.shipped import shipped
from workflow.errors import RelanceError
from workflow.filter_text import parse_text
from workflow.filters import filter_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from operations.demo.trade import Customer, Invoice, Plan
    from store.connection import Connection

ACCOUNT: Final = "comptabilité"
ZONE: Final = ZoneInfo("Europe/Paris")
OPENING: Final = time(8, 5)
MORNING: Final = time(9, 5)
EVENING: Final = time(18)

_LOOPBACK: Final = "127.0.0.1"
_FILTERS: Final = (
    "level = 0 and (days_overdue >= 5 or due_on is empty)",
    "level = 1 and days_overdue >= 15 and days_since_reminder >= 8",
    "level = 2 and days_overdue >= 30 and days_since_reminder >= 10",
)
_COLOURS: Final = ("#2f855a", "#b7791f", "#c53030")


class NotTheSink(RelanceError):  # noqa: N818 - a fact about an account
    """A mail account of the demo does not lead to the demo's own sink."""

    def __init__(self, *, account: str, host: str, port: int) -> None:
        """Say where it leads."""
        self.account = account
        super().__init__(f"the account {account} leads to {host}:{port}, and the demo mails to its own sink only")


def at(day: date, clock: time) -> datetime:
    """An instant on the company's wall clock."""
    return datetime.combine(day, clock, tzinfo=ZONE)


def open_company(conn: Connection, plan: Plan, *, port: int) -> Books:
    """Make this database a test instance with the plan's company on its first day, in one transaction of the caller.

    Its only mail account leads to `port` on this machine, without a login.
    """
    settings.make_test_instance(conn)
    before = FIRST_DAY - timedelta(days=1)
    settings.set_clock(conn, at(before, EVENING))
    _open_office(conn, port)
    _open_rules(conn, at(before, EVENING))
    for customer in plan.customers:
        _open_customer(conn, customer)
    books = Books(ids={}, received=[])
    stock = plan.issued(None, before)
    issue(conn, plan, books, stock)
    _import_levels(conn, stock)
    customers.exclude(conn, customer=plan.excluded, because="sister company", by=BY, today=before)
    pay(conn, plan, books, stock, before, booked_late=True)  # before the story begins: no income of it
    _credit(conn, plan, before)
    return books


def require_sink_only(conn: Connection, *, port: int) -> None:
    """Raise NotTheSink unless every mail account leads to this port of this machine, in plain."""
    for account in sellers.accounts(conn).values():
        if (account.host, account.port, account.security) != (_LOOPBACK, port, "plain"):
            raise NotTheSink(account=account.name, host=account.host, port=account.port)


def hold_mails(conn: Connection) -> None:
    """The sink closes: what anyone starts in the demo afterwards waits, and no mail looks for a server."""
    holds.hold(conn, account=ACCOUNT, because="the demo is over and its mail sink is closed", by="system")


def _open_office(conn: Connection, port: int) -> None:
    users.save_user(
        conn,
        login="claire",
        name="Claire Vasseur",
        email="claire@atelier-vermeil.example",
        role="administrator",
        by="system",
    )
    users.save_user(conn, login="tom", name="Tom Barnes", email="tom@atelier-vermeil.example", language="en", by=BY)
    companies.save_company(
        conn,
        code=COMPANY,
        name="Atelier Vermeil",
        legal_line="SAS au capital de 40 000 € - RCS Nantes 732 829 320",
        siren="732829320",
        address="14 quai des Charpentiers\n44000 Nantes",
        email="compta@atelier-vermeil.example",
        phone="+33 2 99 00 12 34",
        iban="FR1420041010050500013M02606",  # ISO 13616's example for France
        bic="PSSTFRPPPAR",
        by=BY,
    )
    accounts.save_account(
        conn,
        name=ACCOUNT,
        company=COMPANY,
        from_name="Atelier Vermeil, comptabilité",
        from_address="compta@atelier-vermeil.example",
        host=_LOOPBACK,
        port=port,
        security="plain",
        by=BY,
    )
    tags.save_category(conn, title="Relances", collapsed=True, by=BY)
    for level, colour in enumerate(_COLOURS, 1):
        tags.save_tag(conn, title=f"Relance {level}", colour=colour, category="Relances", by=BY)


def _open_rules(conn: Connection, now: datetime) -> None:
    templates = shipped("templates") / "mail"
    for level, filter_ in enumerate(_FILTERS, 1):
        title = f"Relance {level}"
        texts = {lang: default_texts(templates, level=level, language=lang) for lang in ("fr", "en")}
        definition = {
            "title": title,
            "filter": filter_to_json(parse_text(filter_)),
            "texts": {
                language: {"subject": text.subject, "header": text.header, "footer": text.footer}
                for language, text in texts.items()
            },
            "schedule_lines": ["0 9 * * 1-5"],
            "attach_invoices": level > 1,
            "tags": [title],
            "report_to": ["claire", "tom"] if level == 3 else ["claire"],
            "on_test_instance": True,
        }
        rules.save_rule(conn, definition, company=COMPANY, account=ACCOUNT, by=BY, now=now)
        rules.activate(conn, rule=title, by=BY, now=now)


def _open_customer(conn: Connection, customer: Customer) -> None:
    customers.save_customer(
        conn,
        number=customer.number,
        name=customer.name,
        kind=customer.kind,
        language=customer.language,
        email=customer.email,
        postal_address=customer.postal_address,
        country=customer.country,
        payment_terms_days=customer.terms_days,
        payment_method="virement",
        by=BY,
    )
    for person in customer.people:
        customers.save_contact(
            conn, customer=customer.number, name=person.name, email=person.email, roles=person.roles, by=BY
        )


def _import_levels(conn: Connection, stock: Iterable[Invoice]) -> None:
    """What another system had reminded of before: one batch for each level and day, as a migration does it."""
    batches: dict[tuple[int, date], list[str]] = defaultdict(list)
    for one in stock:
        if one.imported_level and one.imported_reminded_on:
            batches[one.imported_level, one.imported_reminded_on].append(one.number)
    because = "reminded of by the former system"
    for (level, last), numbers in sorted(batches.items()):
        levels.correct(
            conn,
            company=COMPANY,
            invoices=numbers,
            level=level,
            last_reminded_on=last,
            because=because,
            by=BY,
            today=FIRST_DAY,
        )
        titles = [f"Relance {one}" for one in range(1, level + 1)]
        tags.tag(conn, company=COMPANY, invoices=numbers, tags=titles, because=because, by=BY, today=FIRST_DAY)


def _credit(conn: Connection, plan: Plan, today: date) -> None:
    """The customer has paid on account whatever it owes, and nobody has allocated it."""
    owed = sum((one.total for one in plan.invoices if one.customer == plan.credited), Decimal(0))
    currency = next(customer.currency for customer in plan.customers if customer.number == plan.credited)
    if owed:
        ledger.record_payment(
            conn,
            company=COMPANY,
            customer=plan.credited,
            amount=owed,
            currency=currency,
            received_on=today,
            reference="VIR-ACOMPTE",
            by="system",
            today=today,
        )
