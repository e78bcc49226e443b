"""How a story is told: days go by on the business clock, things happen, and the mailbox says what left.

A test instance on real PostgreSQL and Valkey, a worker with its threads, a mail server that journals. `on` sets the
clock to half past nine, when the rules of nine o'clock are due, and returns when everything has come to rest. Every
mail is unread until a story expects it; an unread one that nobody expected fails the story.
"""

from __future__ import annotations

import time as machine
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

import pytest

from operations import holds, ledger, levels, pauses
from operations import invoices as documents
from operations import replay as replaying
from operations.accounts import save_account
from operations.companies import save_company
from operations.customers import save_contact, save_customer
from operations.explain import explain
from operations.heartbeat import heartbeat
from operations.lookup import find_invoice, find_rule
from operations.refuse_run import refuse_run
from operations.resolve import resolve
from operations.rules import activate, deactivate, save_rule
from operations.run import run_by_hand, set_business_clock
from operations.tags import save_tag
from operations.users import save_user
from store import settings as instance
from store.claims import GATES, REACHABLE
from store.connection import connect
from store.hints import decidable
from store.replays import Which
from tests import witness
from workers.auditing import audit
from workers.broker import RedisHints
from workers.relay import relay
from workers.scheduler import ClockWatch, fire_unless_jumped
from workers.sweep import sweep
from workflow.filter_text import parse_text
from workflow.filters import filter_to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from operations.resolve import Answer as Answered
    from scripts.sink import Sink
    from scripts.sink_dialogue import Answer, Step
    from store.connection import Pool
    from tests.witness import Mail
    from workers.settings import Settings

PARIS = ZoneInfo("Europe/Paris")
OPENING_DAY = date(2026, 1, 2)
MARIE = "user:marie"
RULES = {
    "Relance 1": "level = 0 and days_overdue >= 3",
    "Relance 2": "level = 1 and days_since_reminder >= 10",
    "Relance 3": "level = 2 and days_since_reminder >= 10",
}
TEXTS = {
    "fr": {"subject": "Relance {{ level }}", "header": "Bonjour {{ contact.name }},", "footer": "Cordialement"},
}
PATIENCE_S = 20.0
# A story does everything within moments: its audit need not wait, nor doubt what came before what.
AT_ONCE = timedelta(0)

# Another instance's database is at rest once nothing of it is in a worker's hands.
_AT_HOME = "(SELECT instance_id IS NULL FROM settings)"
RESTLESS = f"""
SELECT 'run ' || id || ': ' || state FROM runs n
 WHERE {_AT_HOME}
   AND ((state = 'due' AND held_because IS NULL)
        OR (state = 'open' AND NOT EXISTS (SELECT FROM chunks c WHERE c.run_id = n.id AND c.open)
                           AND NOT EXISTS (SELECT FROM reminders r WHERE r.run_id = n.id AND r.open))
        OR ((closed_at IS NOT NULL OR (state = 'due' AND held_because IS NOT NULL)) AND reported_at IS NULL
            AND hinted_until < clock_timestamp() + interval '1 min'))
UNION ALL
SELECT 'chunk ' || number || ' of run ' || run_id FROM chunks
 WHERE open AND {_AT_HOME} AND EXISTS (SELECT FROM runs n WHERE n.id = run_id AND {decidable("n")})
UNION ALL
SELECT 'reminder ' || id || ': ' || state FROM reminders r
 WHERE state IN ('claimed', 'armed')
    OR (state = 'due' AND not_before <= clock_timestamp() AND {GATES} AND {REACHABLE} AND {_AT_HOME})
UNION ALL
SELECT 'effect of reminder ' || reminder_id FROM effects
 WHERE open AND not_before <= clock_timestamp() AND {_AT_HOME}
"""
MACHINE_TIME_GOES_ON = (
    """
    UPDATE reminders SET not_before = not_before - %(by)s::interval, deferred_at = deferred_at - %(by)s::interval
     WHERE open AND state = 'due'
    """,
    "UPDATE account_breakers SET probe_at = probe_at - %(by)s::interval, slowed_at = slowed_at - %(by)s::interval",
    "UPDATE account_tokens SET refilled_at = refilled_at - %(by)s::interval",
    "UPDATE domain_tokens SET refilled_at = refilled_at - %(by)s::interval",
    "UPDATE rules SET held_at = held_at - %(by)s::interval",
)


@dataclass(slots=True)
class Plan:
    step: Step
    to: str
    act: Callable[[], Answer | str | None]
    after: int = 0


class Server:
    """What the mail server of a story does besides being obliging: things planned, each for one moment."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.failures: list[BaseException] = []

    def verdict(self, _sender: str, recipients: tuple[str, ...], step: Step) -> Answer | str | None:
        to = recipients[-1] if recipients else ""
        for plan in self.plans:
            if plan.step == step and plan.to in {"", to}:
                plan.after -= 1
                if plan.after >= 0:
                    continue
                self.plans.remove(plan)
                try:
                    return plan.act()
                except BaseException as failure:  # noqa: BLE001 - told to the test, in whose thread it is not
                    self.failures.append(failure)
        return None


class Story:
    def __init__(
        self, *, database_url: str, redis_url: str, settings: Settings, pool: Pool, sink: Sink, server: Server
    ) -> None:
        self.url = database_url
        self.sink = sink
        self.today = OPENING_DAY
        self._settings = settings
        self._pool = pool
        self._server = server
        self._hints = RedisHints(redis_url)
        self._booked = 0
        self._seen: list[Mail] = []
        self._unread: list[Mail] = []
        with connect(self.url) as conn:
            self._watch = ClockWatch(instance.database_now(conn))

    # ------------------------------------------------------------ the stage

    def open(self, on: date = OPENING_DAY) -> Self:
        """Company NORD with marie, its account, customer C-1, and the tutorial's three rules, every day at nine."""
        self.today = on
        with connect(self.url) as conn:
            instance.make_test_instance(conn)
            instance.set_clock(conn, self.now)
            save_user(conn, login="marie", name="Marie Curie", email="marie@nord.example", by="system")
        self.company()
        self.account()
        self.customer("C-1", "ana@dupont.example")
        for title, filter_ in RULES.items():
            self.tag(title)
            self.rule(title, filter_, tags=[title])
        return self

    @property
    def now(self) -> datetime:
        return datetime.combine(self.today, time(9, 30), PARIS).astimezone(UTC)

    def company(self, **changes: Any) -> Self:  # noqa: ANN401 - as save_company takes them
        values: dict[str, Any] = {"code": "NORD", "name": "Nord SAS", "by": MARIE, "today": self.today}
        with connect(self.url) as conn:
            save_company(conn, **values | changes)
        return self

    def account(self, **changes: Any) -> Self:  # noqa: ANN401 - as save_account takes them
        values: dict[str, Any] = {
            "name": "sortie",
            "company": "NORD",
            "from_name": "Nord SAS",
            "from_address": "relance@nord.example",
            "host": "127.0.0.1",
            "port": self.sink.port,
            "security": "plain",
            "by": MARIE,
            "today": self.today,
        }
        with connect(self.url) as conn:
            save_account(conn, **values | changes)
        return self

    def customer(self, number: str, email: str | None = None) -> Self:
        """A customer, whose dunning contact has this address."""
        with connect(self.url) as conn:
            save_customer(conn, number=number, name=f"Client {number}", by=MARIE, today=self.today)
            if email:
                save_contact(
                    conn, customer=number, name="Ana", email=email, roles=["dunning"], by=MARIE, today=self.today
                )
        return self

    def tag(self, title: str) -> Self:
        with connect(self.url) as conn:
            save_tag(conn, title=title, by=MARIE, today=self.today)
        return self

    def rule(
        self,
        title: str,
        filter_: str | None = None,
        *,
        account: str = "sortie",
        company: str = "NORD",
        **changes: object,
    ) -> Self:
        """Save a rule, or save one of the three anew with changes, and let it fire every day at nine."""
        definition = {
            "title": title,
            "filter": filter_to_json(parse_text(filter_ or RULES[title])),
            "texts": TEXTS,
            "tags": [title] if title in RULES else [],
            "schedule_lines": ["0 9 * * *"],
            "on_test_instance": True,
        }
        with connect(self.url) as conn:
            save_rule(conn, definition | changes, company=company, account=account, by=MARIE, now=self.now)
            activate(conn, rule=title, by=MARIE, now=self.now)
        return self

    # ------------------------------------------------------------ what happens

    def on(self, day: str, at: str = "09:30") -> Self:
        """Let it be this moment of the business clock, and let everything come to rest."""
        self._nothing_unread(f"before {day}")
        self.today = date.fromisoformat(day)
        return self.clock(day, at).rest()

    def clock(self, day: str, at: str) -> Self:
        """Set the business clock and nothing else."""
        with connect(self.url) as conn:
            set_business_clock(conn, datetime.fromisoformat(f"{day}T{at}").replace(tzinfo=PARIS), by="system")
        return self

    def rest(self) -> Self:
        """Let scheduler, relay, sweep and worker work until nothing is left to do now."""
        fire_unless_jumped(self._pool, self._watch)
        until, next_sweep = machine.monotonic() + PATIENCE_S, 0.0
        while True:
            if machine.monotonic() >= next_sweep:
                sweep(self._pool)
                next_sweep = machine.monotonic() + 0.2
            given = relay(self._pool, self._hints, self._settings)
            with self._pool.connection() as conn:
                restless = [row[0] for row in conn.execute(RESTLESS.encode())]
            if self._server.failures:
                raise self._server.failures.pop()
            if not restless and not given:
                break
            if machine.monotonic() > until:
                pytest.fail(f"not at rest after {PATIENCE_S:g} s: {', '.join(restless[:20])}")
            machine.sleep(0.005)
        new = witness.mails(self.sink, len(self._seen))
        self._seen += new
        self._unread += new
        return self

    def minutes_later(self, minutes: float) -> Self:
        """Machine time goes on (back-off, tokens, held queues), business time stands still."""
        with connect(self.url) as conn:
            for statement in MACHINE_TIME_GOES_ON:
                conn.execute(statement.encode(), {"by": f"{minutes} minutes"})
        return self.rest()

    def when(self, step: Step, then: Callable[[], object], *, to: str = "", after: int = 0) -> Self:
        """While the next mail (to this address; after some others) is at this step, something happens."""

        def act() -> None:
            then()

        self._server.plans.append(Plan(step, to, act, after))
        return self

    def server_says(self, step: Step, answer: Answer | str, *, to: str = "") -> Self:
        """At this step of the next mail (to this address), the server says something unusual."""
        self._server.plans.append(Plan(step, to, lambda: answer))
        return self

    def issue(self, number: str, total: str, *, due: str | None, customer: str = "C-1", currency: str = "EUR") -> Self:
        with connect(self.url) as conn:
            documents.issue(
                conn, company="NORD", customer=customer, number=number, total=total, currency=currency,
                issued_on=self.today, due_on=date.fromisoformat(due) if due else None, by=MARIE, today=self.today,
            )  # fmt: skip
        return self

    def pay(self, number: str | None, amount: str, *, customer: str = "C-1", reference: str | None = None) -> Self:
        """A payment; without an invoice's number it is credit on account."""
        self._booked += 1
        with connect(self.url) as conn:
            ledger.record_payment(
                conn, company="NORD", customer=customer, invoice=number, amount=amount, currency="EUR",
                received_on=self.today, reference=reference or f"VIR-{self._booked}", by=MARIE, today=self.today,
            )  # fmt: skip
        return self

    def credit(self, number: str | None, amount: str, *, customer: str = "C-1") -> Self:
        self._booked += 1
        with connect(self.url) as conn:
            ledger.credit_note(
                conn, company="NORD", customer=customer, invoice=number, amount=amount, currency="EUR",
                issued_on=self.today, reference=f"AV-{self._booked}", by=MARIE, today=self.today,
            )  # fmt: skip
        return self

    def reverse(self, reference: str) -> Self:
        with connect(self.url) as conn:
            ledger.reverse(
                conn, company="NORD", reference=reference, reversed_on=self.today, because="sent back by the bank",
                by=MARIE, today=self.today,
            )  # fmt: skip
        return self

    def heartbeat(self) -> Self:
        """Whoever books the payments says that all are here."""
        with connect(self.url) as conn:
            heartbeat(conn, company="NORD", by=MARIE)
        return self

    def dispute(self, number: str) -> Self:
        with connect(self.url) as conn:
            documents.dispute(conn, company="NORD", number=number, because="wrong price", by=MARIE, today=self.today)
        return self

    def end_dispute(self, number: str) -> Self:
        with connect(self.url) as conn:
            documents.end_dispute(conn, company="NORD", number=number, by=MARIE, today=self.today)
        return self

    def pause(self, number: str, until: str) -> Self:
        with connect(self.url) as conn:
            pauses.pause(
                conn, company="NORD", invoice=number, until_on=date.fromisoformat(until), reason="on holiday",
                today=self.today, by=MARIE,
            )  # fmt: skip
        return self

    def promise(self, number: str, paid_on: str) -> Self:
        with connect(self.url) as conn:
            pauses.promise(
                conn, company="NORD", invoice=number, paid_on=date.fromisoformat(paid_on), today=self.today, by=MARIE
            )
        return self

    def attach(self, number: str, content: bytes) -> Self:
        with connect(self.url) as conn:
            documents.attach_original(
                conn, company="NORD", number=number, content=content, name=f"{number}.pdf", by=MARIE, today=self.today
            )
        return self

    def activate(self, rule: str) -> Self:
        with connect(self.url) as conn:
            activate(conn, rule=rule, by=MARIE, now=self.now)
        return self

    def deactivate(self, rule: str) -> Self:
        with connect(self.url) as conn:
            deactivate(conn, rule=rule, by=MARIE, now=self.now)
        return self

    def correct(self, number: str, *, level: int, last_reminded_on: str | None = None) -> Self:
        """Somebody sets the level, as a batch does."""
        with connect(self.url) as conn:
            found = levels.correct(
                conn, company="NORD", invoices=[number], level=level, because="as it was in the old system",
                last_reminded_on=date.fromisoformat(last_reminded_on) if last_reminded_on else None,
                by=MARIE, today=self.today,
            )  # fmt: skip
        assert found.changed == (number,)
        return self

    def run(self, rule: str) -> Self:
        """Somebody runs it by hand."""
        with connect(self.url) as conn:
            run_by_hand(conn, find_rule(conn, rule), by=MARIE)
        return self.rest()

    def hold(self, because: str = "being negotiated", **what: Any) -> Self:  # noqa: ANN401 - as holds takes it
        with connect(self.url) as conn:
            holds.hold(conn, **what, because=because, by=MARIE, today=self.today)
        return self

    def release(self, **what: Any) -> Self:  # noqa: ANN401 - as holds takes it
        with connect(self.url) as conn:
            holds.release(conn, **what, by=MARIE, today=self.today)
        return self.rest()

    def refuse(self, run_id: int, because: str = "imported twice") -> Self:
        """Somebody lets a held run end."""
        with connect(self.url) as conn:
            refuse_run(conn, run_id, because=because, dry_run=False, by=MARIE)
        return self.rest()

    def stop(self) -> Self:
        with connect(self.url) as conn:
            holds.stop(conn, because="wrong price list", by=MARIE, today=self.today)
        return self

    def resume(self) -> Self:
        with connect(self.url) as conn:
            holds.resume(conn, by=MARIE, today=self.today)
        return self.rest()

    def replay(self) -> Self:
        """Replay what failed, and let it come to rest."""
        with connect(self.url) as conn:
            replaying.replay(conn, Which(), because="address corrected", maximum=100, dry_run=False, by=MARIE)
        return self.rest()

    def resolve(self, answer: Answered) -> Self:
        """A person says what became of the mail in doubt, once its quarantine is over."""
        with connect(self.url) as conn:
            (reminder_id,) = self.all("SELECT id FROM reminders WHERE state = 'in_doubt'")
            resolve(conn, reminder_id, answer, because="asked by phone", quarantine_s=0, dry_run=False, by=MARIE)
        return self.rest()

    # ------------------------------------------------------------ what is seen

    def expect_mail(
        self,
        *numbers: str,
        level: int | None = None,
        says: int | None = None,
        to: str | None = None,
        saying: tuple[str, ...] = (),
    ) -> Self:
        """One unread mail claims exactly these invoices, as this reminder, and counts (`says`: it does not yet)."""
        found = [mail for mail in self._unread if set(mail.invoices) == set(numbers)]
        unread = [(mail.subject, mail.invoices, mail.to) for mail in self._unread]
        assert len(found) == 1, f"on {self.today} one mail about {numbers} was expected; unread are {unread}"
        (mail,) = found
        assert mail.level == (level or says)
        assert to is None or mail.to == (to,)
        for words in saying:
            assert words in mail.text.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ")
        if level is not None:
            assert [self.level(number) for number in numbers] == [level] * len(numbers)
        self._unread.remove(mail)
        return self

    def expect_no_mail(self) -> Self:
        self._nothing_unread(f"on {self.today}")
        return self

    def expect_report(self, *words: str, to: str = "marie@nord.example") -> Self:
        """One unread mail to one of our own people is a report that says this."""
        reports = [mail for mail in self._unread if mail.reminder is None and mail.to == (to,)]
        assert len(reports) == 1, f"unread reports: {[mail.subject for mail in reports]}"
        for each in words:
            assert each in reports[0].text
        self._unread.remove(reports[0])
        return self

    def unread(self) -> list[Mail]:
        return list(self._unread)

    def read_all(self) -> Self:
        self._unread.clear()
        return self

    def newest(self) -> Mail:
        """The last mail that arrived, read or not."""
        return self._seen[-1]

    def level(self, number: str) -> int:
        return int(str(self.ask("SELECT level FROM invoices WHERE number = %s", number)))

    def state(self, number: str) -> str:
        return str(self.ask("SELECT state FROM invoices WHERE number = %s", number))

    def tags(self, number: str) -> set[str]:
        return set(
            self.all(
                "SELECT t.title FROM taggings g JOIN tags t ON t.id = g.tag_id JOIN invoices i ON i.id = g.invoice_id"
                " WHERE i.number = %s",
                number,
            )
        )

    def why_not(self, number: str, rule: str) -> str:
        """What explain says of the invoice before a rule today; `reminded` where it would be."""
        with connect(self.url) as conn:
            found = explain(conn, find_invoice(conn, number), by="system", rule=rule)
        return found.rules[0].reason

    def verdicts(self, rule: str) -> dict[str, str]:
        """What the rule's newest run decided of each candidate."""
        with connect(self.url) as conn:
            return dict(
                conn.execute(
                    "SELECT i.number, c.reason FROM candidates c JOIN invoices i ON i.id = c.invoice_id"
                    " WHERE c.run_id ="
                    " (SELECT max(n.id) FROM runs n JOIN rules u ON u.id = n.rule_id WHERE u.title = %s)",
                    [rule],
                ).fetchall()
            )

    def mail_states(self) -> list[str]:
        """The state of every mail there ever was, oldest first."""
        return [str(each) for each in self.all("SELECT state FROM reminders ORDER BY id")]

    def ask(self, query: str, *parameters: object) -> object:
        """One value."""
        (value,) = self.all(query, *parameters)
        return value

    def all(self, query: str, *parameters: object) -> list[Any]:
        """One column."""
        with connect(self.url) as conn:
            return [row[0] for row in conn.execute(query.encode(), parameters)]

    def end(self, audited_days: int = 60) -> None:
        """Every mail was expected, and the promises were kept; the last days are audited."""
        self._nothing_unread("at the end")
        with connect(self.url) as conn:
            witness.check_promises(conn, self.sink, self._seen)
            conn.commit()
            found = audit(conn, since=self.now - timedelta(audited_days), grace=AT_ONCE, margin=AT_ONCE)
            assert found.findings == (), "the audit, which works it out by itself, misses nobody"

    def _nothing_unread(self, moment: str) -> None:
        unread = [(mail.subject, mail.invoices, mail.to) for mail in self._unread]
        assert unread == [], f"{moment}, nobody expected {unread}"
