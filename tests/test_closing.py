"""A run's end and its report, over a real database and a real mail server's conversation."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from email import policy
from email.parser import BytesParser
from typing import TYPE_CHECKING, LiteralString

import pytest
from psycopg.types.json import Jsonb

from operations import instance
from scripts.sink import Answer, Behaviour, Sink
from store import hints, reports, runs
from store.connection import connect, pool
from workers.closing import close_run
from workers.office import Office
from workers.settings import Settings
from workflow.filter_text import parse_text
from workflow.rules import Rule, Texts, rule_to_json

if TYPE_CHECKING:
    from collections.abc import Generator
    from email.message import EmailMessage
    from pathlib import Path

    from store.connection import Connection

PEOPLE = """
INSERT INTO users (login, name, email, language) VALUES
    ('nadia', 'Nadia Petit', 'nadia@acme.example', 'fr'), ('john', 'John Hill', 'john@acme.example', 'en');
INSERT INTO companies (code, name) VALUES ('ACME', 'Atelier Acme');
INSERT INTO customers (number, name) SELECT 'C' || n, 'Client ' || n FROM generate_series(1, 9) AS n;
INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on, due_on)
SELECT 1, n, 'FA-' || n, CASE n WHEN 2 THEN 'CHF' ELSE 'EUR' END, 100 + n, 100 + n, '2026-01-01', '2026-02-01'
  FROM generate_series(1, 9) AS n;
"""
ACCOUNT = """
INSERT INTO mail_accounts (name, company_id, from_name, from_address, host, port, security)
VALUES (%(name)s, 1, 'Atelier Acme', %(from)s, '127.0.0.1', %(port)s, 'plain')
RETURNING id
"""
REMINDER = """
INSERT INTO reminders (run_id, rule_id, rule_version, company_id, customer_id, currency, level, recipient, message_id,
                       state, ended_at, lease_until, problem, last_error, waits_for, ever_in_doubt)
SELECT %(run)s, 1, 1, 1, i.customer_id, i.currency, 0, 'x@client.example', '<' || %(run)s || '.' || i.id || '@x>',
       %(state)s, CASE WHEN %(state)s IN ('sent', 'failed', 'cancelled') THEN now() END,
       CASE WHEN %(state)s IN ('claimed', 'armed') THEN now() END, %(problem)s, %(error)s, %(waits_for)s,
       %(state)s = 'in_doubt'
  FROM invoices i WHERE i.id = %(invoice)s
RETURNING id
"""
LISTED = """
INSERT INTO reminder_invoices (reminder_id, invoice_id, rule_id, run_id, counts, level, cycle, amount, outcome)
SELECT %(reminder)s, i.id, 1, %(run)s, true, 0, 1, i.balance, %(outcome)s FROM invoices i WHERE i.id = %(invoice)s
"""
OUTCOMES = {
    "sent": "accepted", "failed": "failed", "in_doubt": "in_doubt", "cancelled": "dropped",
    "due": "planned", "claimed": "planned", "armed": "planned",
}  # fmt: skip


class Books:
    """One rule with its runs, written row by row, and the office that closes them."""

    def __init__(self, conn: Connection, office: Office, sink: Sink) -> None:
        self.conn = conn
        self.office = office
        self.sink = sink

    def rule(self, *report_to: str) -> None:
        rule = Rule(
            title="Relance 1",
            filter=parse_text("level = 0"),
            texts={"fr": Texts(subject="s", header="h", footer="f")},
            report_to=report_to,
        )
        self.conn.execute(
            "INSERT INTO rules (company_id, owner_id, title, counting_from) VALUES (1, 1, 'Relance 1', now())"
        )
        self.conn.execute(
            "INSERT INTO rule_versions (rule_id, version, definition, account_id) VALUES (1, 1, %s, 1)",
            [Jsonb(rule_to_json(rule))],
        )

    def run(
        self, *, candidates: int = 0, state: str = "open", problem: str | None = None, key: str | None = None
    ) -> int:
        row = self.conn.execute(
            """
            INSERT INTO runs (rule_id, rule_version, due_at, candidates, state, problem, request_key, started_by,
                              opened_at, closed_at)
            VALUES (1, 1, '2026-03-02T08:00Z', %(candidates)s, %(state)s, %(problem)s, %(key)s,
                    CASE WHEN %(key)s::text IS NULL THEN 'scheduler:one:1' ELSE 'user:nadia' END,
                    CASE WHEN %(state)s = 'open' THEN now() END, CASE WHEN %(problem)s::text IS NOT NULL THEN now() END)
            RETURNING id
            """,
            {"candidates": candidates, "state": state, "problem": problem, "key": key},
        ).fetchone()
        assert row
        return int(row[0])

    def mail(
        self,
        run: int,
        invoice: int,
        state: str = "sent",
        *,
        problem: str | None = None,
        error: str | None = None,
        waits_for: str | None = None,
    ) -> int:
        values = {
            "run": run, "invoice": invoice, "state": state, "problem": problem, "error": error,
            "waits_for": waits_for, "outcome": OUTCOMES[state],
        }  # fmt: skip
        row = self.conn.execute(REMINDER, values).fetchone()
        assert row
        self.conn.execute(LISTED, values | {"reminder": row[0]})
        self.conn.execute("INSERT INTO candidates VALUES (%s, %s, 'reminded', NULL, %s)", (run, invoice, row[0]))
        return int(row[0])

    def left_out(self, run: int, invoice: int, reason: str, detail: str | None = None) -> None:
        self.conn.execute("INSERT INTO candidates VALUES (%s, %s, %s, %s)", (run, invoice, reason, detail))

    def later(self, run: int, hours: int) -> None:
        """Let hours pass for a run: its own instants move back, and hints may be given again."""
        self.conn.execute(
            "UPDATE runs SET opened_at = opened_at - %(hours)s * interval '1 hour',"
            " closed_at = closed_at - %(hours)s * interval '1 hour', hinted_until = '-infinity' WHERE id = %(run)s",
            {"hours": hours, "run": run},
        )

    def work(self) -> list[int]:
        """Give a round of closing hints and obey them, as relay and worker do."""
        settings = self.office.settings
        found = hints.closing_runs(self.conn, alive_s=settings.hint_s, patience_s=settings.close_s)
        for run_id in found:
            close_run(self.office, run_id)
        return found

    def of_run(self, run: int, columns: LiteralString) -> tuple[object, ...]:
        row = self.conn.execute(f"SELECT {columns} FROM runs WHERE id = %s", [run]).fetchone()
        assert row
        return row

    def letters(self) -> list[EmailMessage]:
        parser: BytesParser[EmailMessage] = BytesParser(policy=policy.default)
        return [parser.parsebytes(mail) for mail in self.sink.kept()]

    def subjects(self) -> list[tuple[str, str]]:
        return [(accepted.to[0], str(mail["Subject"]).replace("\u00a0", " "))
                for accepted, mail in zip(self.sink.mails(), self.letters(), strict=True)]  # fmt: skip


@contextmanager
def opened(url: str, folder: Path, behaviour: Behaviour | None = None) -> Generator[Books]:
    with (
        Sink(folder, behaviour=behaviour or Behaviour()) as sink,
        connect(url) as conn,
        pool(url, actor="worker:test:1", size=3) as connections,
    ):
        conn.autocommit = True
        conn.execute(PEOPLE)
        conn.execute(ACCOUNT, {"name": "rule", "from": "compta@acme.example", "port": sink.port})
        yield Books(conn, Office(pool=connections, settings=Settings(database_url=url)), sink)


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Generator[Books]:
    with opened(database_url, tmp_path / "sink") as books:
        yield books


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body
    return str(body.get_content()).replace("\r\n", "\n").replace("\u00a0", " ").replace("\u202f", " ")


def test_a_finished_run_is_closed_and_each_reader_gets_one_report_in_their_language(books: Books) -> None:
    books.rule("nadia", "john")
    run = books.run(candidates=2)
    books.mail(run, 1)
    books.mail(run, 2)
    assert books.work() == [run]
    assert books.of_run(run, "state, reported_at IS NOT NULL, supplement") == ("closed", True, False)
    assert books.subjects() == [
        ("nadia@acme.example", "Relance 1 du 2 mars 2026 : 2 courriels envoyés"),
        ("john@acme.example", "Relance 1, 2 March 2026: 2 mails sent"),
    ]
    close_run(books.office, run)
    assert books.work() == []
    assert len(books.sink.mails()) == 2


def test_the_report_counts_every_candidate_once(books: Books) -> None:
    books.rule("nadia")
    run = books.run(candidates=9)
    books.mail(run, 1)
    books.mail(run, 2)
    books.mail(run, 3, "failed", problem="refused", error="rcpt: 550 5.1.1 unknown")
    books.mail(run, 4, "cancelled", problem="paid")
    books.left_out(run, 5, "no_recipient")
    books.left_out(run, 6, "promised", "2026-12-01")
    books.left_out(run, 7, "error", "UniqueViolation")
    books.conn.execute("INSERT INTO chunks VALUES (%s, 0, '{8, 9}')", [run])
    summary = reports.summary(books.conn, run)
    assert sum(share.invoices for share in summary.shares) + summary.undecided == summary.candidates == 9
    assert summary.undecided == 2
    assert (summary.sent, summary.reminded, summary.levels()) == (2, 2, {1: 2})
    assert summary.amounts() == {"CHF": Decimal(102), "EUR": Decimal(101)}
    assert summary.left_out() == {"error": 1, "no_recipient": 1, "paid": 1, "promised": 1}
    assert [(one.kind, one.customer_number, one.invoices, one.detail) for one in summary.problems] == [
        ("error", "C7", ("FA-7",), "UniqueViolation"),
        ("no_recipient", "C5", ("FA-5",), ""),
        ("refused", "C3", ("FA-3",), "rcpt: 550 5.1.1 unknown"),
    ]


def test_an_invoice_taken_out_of_a_mail_that_left_is_neither_reminded_nor_lost(books: Books) -> None:
    books.rule("nadia")
    run = books.run(candidates=2)
    reminder = books.mail(run, 1)
    values = {"reminder": reminder, "run": run, "invoice": 2, "outcome": "dropped"}
    books.conn.execute(LISTED, values)
    books.conn.execute("INSERT INTO candidates VALUES (%s, 2, 'reminded', NULL, %s)", (run, reminder))
    summary = reports.summary(books.conn, run)
    assert (summary.reminded, summary.left_out()) == (1, {"withdrawn": 1})


def test_many_problems_are_counted_and_the_first_listed(books: Books) -> None:
    books.rule("nadia")
    run = books.run(candidates=1250)
    books.conn.execute("INSERT INTO customers (number, name) SELECT 'D' || n, 'D' FROM generate_series(1, 250) AS n")
    books.conn.execute(
        "INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on)"
        " SELECT 1, c.id, c.number || '-' || n, 'EUR', 1, 1, '2026-01-01' FROM customers c, generate_series(1, 12) AS n"
        " WHERE c.number LIKE 'D%%'"
    )
    books.conn.execute(
        "INSERT INTO candidates SELECT %s, id, 'suppressed' FROM invoices WHERE number LIKE 'D%%'", [run]
    )
    summary = reports.summary(books.conn, run)
    assert (len(summary.problems), summary.problem_count) == (200, 250)
    assert {(one.count, len(one.invoices)) for one in summary.problems} == {(12, 10)}


def test_a_run_whose_mails_still_wait_is_reported_after_two_hours_and_again_at_its_end(books: Books) -> None:
    books.rule("nadia")
    run = books.run(candidates=2)
    books.mail(run, 1)
    waiting = books.mail(run, 2, "due", waits_for="server", error="rcpt: 451 4.7.1 greylisted")
    books.later(run, 1)
    assert books.work() == []
    books.later(run, 2)
    assert books.work() == [run]
    assert books.of_run(run, "state, supplement") == ("open", True)
    books.later(run, 2)
    assert books.work() == []
    books.conn.execute("UPDATE reminders SET state = 'sent', ended_at = now() WHERE id = %s", [waiting])
    books.conn.execute("UPDATE reminder_invoices SET outcome = 'accepted' WHERE reminder_id = %s", [waiting])
    assert books.work() == [run]
    assert books.of_run(run, "state, reported_at IS NOT NULL") == ("closed", True)
    assert [subject for _, subject in books.subjects()] == [
        "Relance 1 du 2 mars 2026 (en cours) : 1 courriel envoyé, 1 en attente, 1 point à voir",
        "Relance 1 du 2 mars 2026 (suite et fin) : 2 courriels envoyés",
    ]
    first, second = (mail["Message-ID"] for mail in books.letters())
    assert first != second
    books.later(run, 48)
    assert books.work() == []


def test_a_mail_in_doubt_keeps_the_run_open_and_is_reported_as_to_be_checked(books: Books) -> None:
    books.rule("nadia")
    run = books.run(candidates=1)
    books.mail(run, 1, "in_doubt")
    close_run(books.office, run)
    assert (books.of_run(run, "state"), books.letters()) == (("open",), [])
    books.later(run, 3)
    books.work()
    (mail,) = books.letters()
    assert "C1 Client 1 : FA-1\n  À vérifier" in text_of(mail)
    assert "tant que des courriels sont à vérifier" in text_of(mail).replace("\n", " ")
    assert books.of_run(run, "state") == ("open",)


def test_a_run_that_is_not_opened_yet_is_not_closed(books: Books) -> None:
    books.rule("nadia")
    run = books.run(state="due")
    close_run(books.office, run)
    assert books.of_run(run, "state, reported_at") == ("due", None)


def test_a_run_with_undecided_candidates_is_not_closed(books: Books) -> None:
    books.rule("nadia")
    run = books.run(candidates=1)
    books.conn.execute("INSERT INTO chunks VALUES (%s, 0, '{1}')", [run])
    close_run(books.office, run)
    assert (books.of_run(run, "state"), books.letters()) == (("open",), [])


def test_a_run_refused_on_a_test_instance_is_reported_with_what_to_do(books: Books) -> None:
    books.rule("nadia")
    books.conn.execute("UPDATE settings SET test_instance = true")
    run = books.run(state="refused", problem="the rule may not run on a test instance")
    assert books.work() == [run]
    (mail,) = books.letters()
    assert mail["Subject"].startswith("[Test] ")
    assert "peut s'exécuter sur l'instance de test" in text_of(mail)


def test_a_run_that_failed_because_its_rule_cannot_be_read_is_reported(books: Books) -> None:
    books.rule("john")
    books.conn.execute("""UPDATE rule_versions SET definition = '{"title": "Relance 1", "report_to": ["john"]}'""")
    run = books.run(state="failed", problem="filter: is missing")
    assert books.work() == [run]
    (mail,) = books.letters()
    assert mail["Subject"] == "Relance 1, 2 March 2026: could not run"
    assert "filter: is missing" in text_of(mail)


def test_a_run_that_sent_nothing_says_why(books: Books) -> None:
    books.rule("nadia")
    books.run(candidates=0)
    books.work()
    (mail,) = books.letters()
    assert "n'a retenu aucune facture" in text_of(mail)


def test_a_run_by_hand_names_who_asked(books: Books) -> None:
    books.rule("john")
    books.run(key="once")
    books.work()
    (mail,) = books.letters()
    assert "hand, by Nadia Petit" in text_of(mail)


def test_a_run_without_readers_is_done_without_a_mail(books: Books) -> None:
    books.rule()
    run = books.run()
    books.work()
    assert books.of_run(run, "state, reported_at IS NOT NULL") == ("closed", True)
    assert books.letters() == []


def test_a_login_that_is_nobodys_is_said_and_stops_no_other(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    books.rule("gone", "nadia")
    run = books.run()
    books.work()
    assert [to for to, _ in books.subjects()] == ["nadia@acme.example"]
    assert ("report_readers_unknown", run) in [(line["event"], line["run"]) for line in logged(capsys)]


def test_the_kill_switch_does_not_stop_reports(books: Books) -> None:
    books.rule("nadia")
    books.conn.execute("UPDATE settings SET stopped_because = 'audit', stopped_at = now()")
    books.run()
    books.work()
    assert len(books.letters()) == 1


def test_reports_leave_by_the_instances_own_account_where_one_is_set(books: Books) -> None:
    books.rule("nadia")
    values = {"name": "reports", "from": "relance@acme.example", "port": books.sink.port}
    books.conn.execute(ACCOUNT, values)
    books.conn.execute("UPDATE mail_accounts SET held_because = 'password', held_at = now() WHERE name <> 'reports'")
    instance.send_reports_by(books.conn, "", "reports", because="so that we hear of it", by="user:nadia")
    books.run()
    books.work()
    assert [mail.sender for mail in books.sink.mails()] == ["relance@acme.example"]


def test_a_report_is_no_reminder(books: Books) -> None:
    books.rule("nadia")
    books.run()
    books.work()
    (mail,) = books.letters()
    assert "X-Relance-Reminder" not in mail
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Content-Language"] == "fr"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_a_refused_report_is_tried_again_later_and_only_where_it_was_refused(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing = threading.Event()
    refusing.set()

    def verdict(_sender: str, recipients: tuple[str, ...], step: str) -> str | None:
        again = step == "rcpt" and recipients[-1] == "nadia@acme.example" and refusing.is_set()
        return "451 4.2.1 mailbox busy" if again else None

    with opened(database_url, tmp_path / "sink", Behaviour(verdict=verdict)) as books:
        books.rule("nadia", "john")
        run = books.run()
        books.work()
        assert [to for to, _ in books.subjects()] == ["john@acme.example"]
        assert books.of_run(run, "state, reported_at, hinted_until > now() + interval '4 min'") == (
            "closed",
            None,
            True,
        )
        assert books.work() == []
        refusing.clear()
        books.later(run, 1)
        assert books.work() == [run]
        assert [to for to, _ in books.subjects()] == ["john@acme.example", "nadia@acme.example"]
        assert books.of_run(run, "reported_at IS NOT NULL") == (True,)
    failed = [line for line in logged(capsys) if line["event"] == "report_failed"]
    assert [(line["run"], line["user"], line["error"]) for line in failed] == [(run, 1, "rcpt 451")]


def test_a_report_whose_dot_nobody_answers_counts_as_told_and_keeps_nobody_from_theirs(
    database_url: str, tmp_path: Path
) -> None:
    def verdict(_sender: str, _recipients: tuple[str, ...], step: str) -> Answer | None:
        return Answer(drop=True) if step == "dot" else None

    with opened(database_url, tmp_path / "sink", Behaviour(verdict=verdict)) as books:
        books.rule("nadia", "john")
        run = books.run()
        books.work()
        assert books.of_run(run, "reported_at IS NOT NULL") == (True,)
        assert sorted(to for to, _ in books.subjects()) == ["john@acme.example", "nadia@acme.example"]


def test_a_report_that_nobody_takes_for_a_day_is_given_up_loudly(
    books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    books.rule("nadia")
    books.conn.execute("UPDATE mail_accounts SET port = 1")
    run = books.run()
    books.work()
    books.later(run, 23)
    books.work()
    assert books.of_run(run, "reported_at") == (None,)
    books.later(run, 2)
    books.work()
    assert books.of_run(run, "reported_at IS NOT NULL") == (True,)
    events = [(line["event"], line["level"]) for line in logged(capsys)]
    assert events.count(("report_failed", "warning")) == 3
    assert ("report_given_up", "error") in events
    assert books.letters() == []


def test_a_held_account_sends_no_report_until_it_is_released(books: Books) -> None:
    books.rule("nadia")
    books.conn.execute("UPDATE mail_accounts SET held_because = 'password', held_at = now()")
    run = books.run()
    books.work()
    assert books.letters() == []
    books.conn.execute("UPDATE mail_accounts SET held_because = NULL, held_at = NULL")
    books.later(run, 1)
    books.work()
    assert len(books.letters()) == 1


def test_two_workers_do_not_send_one_report_twice(books: Books) -> None:
    books.rule("nadia")
    run = books.run()
    with connect(books.office.settings.database_url) as other:
        assert reports.close(other, run)
        other.commit()
        assert reports.lock_unreported(other, run, patience_s=1)
        close_run(books.office, run)
        assert books.letters() == []
        other.rollback()
    workers = [threading.Thread(target=close_run, args=(books.office, run)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(books.letters()) == 1


def test_who_missed_the_early_report_is_told_the_end_together_with_the_others(
    database_url: str, tmp_path: Path
) -> None:
    refusing = threading.Event()
    refusing.set()

    def verdict(_sender: str, recipients: tuple[str, ...], step: str) -> str | None:
        return "451 later" if step == "rcpt" and recipients[-1][0] == "n" and refusing.is_set() else None

    with opened(database_url, tmp_path / "sink", Behaviour(verdict=verdict)) as books:
        books.rule("nadia", "john")
        run = books.run(candidates=1)
        waiting = books.mail(run, 1, "claimed")
        books.later(run, 3)
        books.work()
        assert [to for to, _ in books.subjects()] == ["john@acme.example"]
        refusing.clear()
        books.conn.execute(
            "UPDATE reminders SET state = 'sent', ended_at = now(), lease_until = NULL WHERE id = %s", [waiting]
        )
        close_run(books.office, run)
        assert [to for to, _ in books.subjects()[1:]] == ["nadia@acme.example", "john@acme.example"]
        assert all("suite et fin" in subject or "final" in subject for _, subject in books.subjects()[1:])


def test_who_was_told_is_in_the_journal_and_the_log_holds_ids_only(
    books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    books.rule("nadia")
    run = books.run(candidates=1)
    books.mail(run, 1, "failed", problem="refused", error="rcpt: 550 5.1.1 nobody")
    books.work()
    journal = books.conn.execute("SELECT subject_id, change FROM journal WHERE subject = 'run'").fetchall()
    assert journal == [(run, {"report_to": [None, 1]})]
    lines = json.dumps(logged(capsys))
    assert '"run_reported"' in lines
    for personal in ("@", "nadia", "Nadia", "Client", "550", "FA-"):
        assert personal not in lines


def test_the_report_is_dated_by_the_business_clock(books: Books) -> None:
    books.rule("nadia")
    books.conn.execute("UPDATE settings SET test_instance = true, business_now = '2026-03-02T09:00Z'")
    books.run()
    books.work()
    (mail,) = books.letters()
    assert mail["Date"].datetime == datetime(2026, 3, 2, 9, tzinfo=UTC)


def test_there_is_no_summary_of_a_run_that_never_was(database: Connection) -> None:
    with pytest.raises(LookupError, match="no run 404"):
        reports.summary(database, 404)


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]


def test_a_held_run_that_fails_once_it_is_released_has_a_supplement(books: Books) -> None:
    books.rule("nadia")
    run = books.run(state="due", candidates=1)
    books.conn.execute("UPDATE runs SET held_because = 'larger than usual', held_at = now()")
    books.work()
    assert runs.end(books.conn, run, state="failed", problem="the rule cannot be read")
    books.work()
    assert [("suite et fin" in subject, to) for to, subject in books.subjects()] == [
        (False, "nadia@acme.example"),
        (True, "nadia@acme.example"),
    ]
