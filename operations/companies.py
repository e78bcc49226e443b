"""The companies that invoice."""

from __future__ import annotations

import re
from datetime import date, time
from typing import TYPE_CHECKING, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import stdnum.bic
import stdnum.exceptions
import stdnum.fr.siren
import stdnum.iban

from letters.headers import check_address
from operations.acting import acting, lines, number, one_of, optional_line, person_name
from store.people import COMPANIES
from store.saving import save
from workflow.errors import InvalidInput
from workflow.facts import Language
from workflow.feedback import AfterBounce
from workflow.windows import MONDAY_TO_FRIDAY, SendWindow

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType

    from store.connection import Connection

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_COUNTRY = re.compile(r"[A-Z]{2}")


def save_company(
    conn: Connection,
    *,
    code: str,
    name: str,
    legal_line: str = "",
    siren: str | None = None,
    address: str = "",
    country: str = "FR",
    email: str | None = None,
    phone: str = "",
    web: str = "",
    iban: str | None = None,
    bic: str | None = None,
    language: Language = "fr",
    zone: str = "Europe/Paris",
    send_weekdays: Collection[int] = MONDAY_TO_FRIDAY,
    send_from: time = time(8),
    send_until: time | None = time(19),
    send_on_holidays: bool = False,
    min_days_between_mails: int | None = None,
    run_times_usual: int | None = 5,
    run_share_percent: int | None = 50,
    run_always_allowed: int = 200,
    payments_fresh_hours: int | None = None,
    domain_per_minute: int | None = None,
    after_bounce: AfterBounce = "task",
    because: str = "",
    by: str,
    today: date | None = None,
) -> int:
    """Save a company by code; what is not given takes its default. Returns the id. Raises InvalidInput.

    A run of more invoices than `run_times_usual` times what is usual for its rule, or than `run_share_percent` of all
    open ones, waits for a person, unless it has no more than `run_always_allowed`. `payments_fresh_hours`: how old
    payment data may be for second and third reminders. `domain_per_minute`: mails to one recipient's domain.
    `after_bounce`: what follows a mail that reached nobody, a task alone or the same reminder anew to the chain's next
    contact.
    """
    if not _CODE.fullmatch(code):
        raise InvalidInput(field="code", value=code, reason="must be letters, digits, dots, dashes, at most 32")
    check_country(country)
    one_of(language, get_args(Language), field="language")
    number(min_days_between_mails, range(1, 366), field="min_days_between_mails")
    number(run_times_usual, range(1, 1001), field="run_times_usual")
    number(run_share_percent, range(1, 101), field="run_share_percent")
    number(run_always_allowed, range(1_000_001), field="run_always_allowed")
    number(payments_fresh_hours, range(1, 8761), field="payments_fresh_hours")
    number(domain_per_minute, range(1, 100_001), field="domain_per_minute")
    one_of(after_bounce, get_args(AfterBounce), field="after_bounce")
    _check_window(zone, None if send_on_holidays else country, send_weekdays, send_from, send_until)
    values = {
        "code": code,
        "name": person_name(name, field="name"),
        "legal_line": optional_line(legal_line, field="legal_line"),
        "siren": _standard(stdnum.fr.siren, siren, field="siren"),
        "address": lines(address, field="address"),
        "country": country,
        "email": check_address(email, field="email") if email else "",
        "phone": optional_line(phone, field="phone"),
        "web": _web(web),
        "iban": _standard(stdnum.iban, iban, field="iban"),
        "bic": _standard(stdnum.bic, bic, field="bic"),
        "language": language,
        "zone": zone,
        "send_weekdays": sorted(set(send_weekdays)),
        "send_from": send_from,
        "send_until": send_until,
        "send_on_holidays": send_on_holidays,
        "min_days_between_mails": min_days_between_mails,
        "run_times_usual": run_times_usual,
        "run_share_percent": run_share_percent,
        "run_always_allowed": run_always_allowed,
        "payments_fresh_hours": payments_fresh_hours,
        "domain_per_minute": domain_per_minute,
        "after_bounce": after_bounce,
    }
    with acting(conn, by=by, because=because, today=today):
        return save(conn, COMPANIES, values)


def _web(text: str) -> str:
    written = optional_line(text, field="web")
    if written and not re.fullmatch(r"https?://[^\s<>\"]+", written):
        raise InvalidInput(field="web", value=text, reason="must be a whole address, such as https://example.org")
    return written


def check_country(country: str) -> None:
    """Raise InvalidInput for what is no country code of two capitals."""
    if not _COUNTRY.fullmatch(country):
        raise InvalidInput(field="country", value=country, reason="must be an ISO 3166-1 code, such as FR")


def _check_window(zone: str, country: str | None, weekdays: Collection[int], opens: time, closes: time | None) -> None:
    try:
        clock = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(field="zone", value=zone, reason="is no known time zone, such as Europe/Paris") from None
    try:
        SendWindow(zone=clock, country=country, weekdays=frozenset(weekdays), opens=opens, closes=closes)
    except InvalidInput as wrong:
        field = {"weekdays": "send_weekdays", "opens": "send_from", "closes": "send_until"}.get(
            wrong.field, wrong.field
        )
        raise InvalidInput(field=field, value=wrong.value, reason=wrong.reason) from None


def _standard(kind: ModuleType, value: str | None, *, field: str) -> str | None:
    """Return a number in its compact form, after its own check digits."""
    try:
        return kind.validate(value) if value else None
    except stdnum.exceptions.ValidationError as wrong:
        raise InvalidInput(field=field, value=value, reason=str(wrong)) from None
