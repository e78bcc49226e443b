"""The negative control: how it is usually written. "If not sent: send; mark sent", a queue that is acknowledged late.

It works on the same customers and invoices, against the same mail server, under the same faults.
"""

from __future__ import annotations

import json
import smtplib
import time
from email.message import EmailMessage
from typing import TYPE_CHECKING, Final

import psycopg
import redis

from store.connection import connect
from store.settings import read as instance

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.connection import Connection
    from workers.settings import Settings

STEPS: Final = ("taken", "checked", "mailed", "marked")
WATCHERS: Final[list[Callable[[str], None]]] = []

TABLE: Final = """
CREATE TABLE naive_reminders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint, level int, invoices bigint[], day date,
    sent boolean NOT NULL DEFAULT false, UNIQUE (customer_id, level, day)
)
"""
_PLAN: Final = """
INSERT INTO naive_reminders (customer_id, level, invoices, day)
SELECT i.customer_id, s.level, array_agg(i.id ORDER BY i.id), %(today)s::date
  FROM invoices i
  JOIN customers c ON c.id = i.customer_id AND c.email IS NOT NULL
 CROSS JOIN LATERAL (SELECT count(*)::int AS level FROM naive_reminders n
                      WHERE n.sent AND n.customer_id = i.customer_id AND i.id = ANY(n.invoices)) AS s
 WHERE i.balance > 0 AND i.commercial_state = 'open' AND i.due_on <= %(today)s::date - 3 AND s.level < 3
   AND NOT EXISTS (SELECT FROM naive_reminders n WHERE n.customer_id = i.customer_id AND n.day = %(today)s::date
                      AND i.id = ANY(n.invoices))
 GROUP BY i.customer_id, s.level
ON CONFLICT DO NOTHING
"""
_UNSENT: Final = "SELECT id FROM naive_reminders WHERE NOT sent ORDER BY id"
_READ: Final = """
SELECT n.sent, n.level, coalesce(k.email, c.email), array_agg(i.number ORDER BY i.number)
  FROM naive_reminders n
  JOIN customers c ON c.id = n.customer_id
  LEFT JOIN contacts k ON k.id = c.dunning_contact_id
  JOIN invoices i ON i.id = ANY(n.invoices) AND i.balance > 0
 WHERE n.id = %(id)s
 GROUP BY n.id, n.sent, n.level, k.email, c.email
"""
_ACCOUNT: Final = "SELECT host, port, from_address FROM mail_accounts WHERE name = 'sortie'"
_QUEUE, _TAKEN = "naive:queue", "naive:taken"
_CRON_S = 1.0


def _reached(step: str) -> None:
    for watcher in WATCHERS:
        watcher(step)


def cron(settings: Settings) -> None:
    """Every so often: plan what is due, enqueue what is not sent and not queued."""
    while True:
        try:
            with connect(settings.database_url) as conn, redis.Redis.from_url(settings.redis_url) as queue:
                conn.execute(_PLAN.encode(), {"today": instance(conn).business_now.date()})
                conn.commit()
                # Only an empty queue is filled again, as a careful person would.
                if not queue.llen(_QUEUE):
                    for (reminder_id,) in conn.execute(_UNSENT):
                        queue.lpush(_QUEUE, json.dumps(reminder_id))
        except (psycopg.Error, redis.RedisError, OSError):
            pass
        time.sleep(_CRON_S)


def work(settings: Settings) -> None:
    """Take one, check, send, mark, acknowledge; what fails is tried again."""
    while True:
        try:
            with connect(settings.database_url) as conn, redis.Redis.from_url(settings.redis_url) as queue:
                while True:
                    message = queue.blmove(_QUEUE, _TAKEN, 1, "RIGHT", "LEFT")
                    if message:
                        _reached("taken")
                        _send(conn, int(json.loads(message)))
                        queue.lrem(_TAKEN, 1, message.decode())
        except (psycopg.Error, redis.RedisError, OSError, smtplib.SMTPException):
            time.sleep(0.2)


def _send(conn: Connection, reminder_id: int) -> None:
    row = conn.execute(_READ.encode(), {"id": reminder_id}).fetchone()
    account = conn.execute(_ACCOUNT.encode()).fetchone()
    conn.commit()
    if row is None or row[0] or account is None:
        return
    _reached("checked")
    message = EmailMessage()
    message["From"], message["To"] = account[2], row[2]
    message["Subject"] = f"Relance {row[1] + 1}"
    message["Message-ID"] = f"<naive.{reminder_id}@nord.example>"
    message["X-Relance-Reminder"] = str(reminder_id)
    message.set_content("".join(f"{number}\n" for number in row[3]))
    with smtplib.SMTP(account[0], account[1], timeout=5) as server:
        server.send_message(message)
    _reached("mailed")
    conn.execute("UPDATE naive_reminders SET sent = true WHERE id = %s", [reminder_id])
    conn.commit()
    _reached("marked")
