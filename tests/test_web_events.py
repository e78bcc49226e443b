"""POST /events: taken once they are in the database, however they are sent; refused in words otherwise."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from cloudevents.v1.conversion import to_binary, to_structured
from cloudevents.v1.http import CloudEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from operations.intake import drain
from store.connection import connect
from tests.telling import CUSTOMER, INVOICE, asked, event, outcomes
from tests.trade import open_trade
from web.app import make_app
from workers.settings import Settings
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping


SECRET, NEXT = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (7, 8))
STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json; charset=UTF-8"}


class Erp:
    """An invoicing system that sends events, signed by the library of Standard Webhooks."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        self.url = url
        self._client = client
        self._numbers = count(1)

    def sends(
        self,
        value: object,
        headers: Mapping[str, str] = STRUCTURED,
        *,
        secret: str = SECRET,
        delivery: str = "",
        at: float = 0,
    ) -> httpx.Response:
        body = value if isinstance(value, str) else json.dumps(value)
        delivery = delivery or f"msg_{next(self._numbers)}"
        now = datetime.fromtimestamp(at or time.time(), UTC)
        signed = {
            "webhook-id": delivery,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(delivery, now, body),
        }
        return self.posts(body.encode(), {**headers, **signed})

    def posts(self, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        return self._client.post("/events", content=body, headers=dict(headers))

    def kept(self) -> list[str]:
        with connect(self.url) as conn:
            return outcomes(conn)


@pytest.fixture
def erp(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Erp]:
    with connect(database_url) as conn:
        open_trade(conn)
    monkeypatch.setenv("ERP_SECRET", SECRET)
    monkeypatch.setenv("ERP_NEXT", NEXT)
    app = make_app(
        Settings(database_url=database_url, redis_url=redis_url, event_secrets="env:ERP_SECRET env:ERP_NEXT")
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", trust_env=False) as client:
                yield Erp(client, database_url)
        finally:
            server.should_exit = True
            thread.join()


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"]) == (status, status), answer.text
    assert problem["type"].startswith("urn:relance:problem:")
    assert problem["title"]
    assert problem["detail"]
    return problem


def test_an_event_is_in_the_database_once_it_is_taken_and_applied_after_a_death(erp: Erp) -> None:
    answer = erp.sends(event("customer.upserted", CUSTOMER, id="e-one"))
    assert answer.status_code == 202
    assert answer.json() == {"events": [{"source": "/erp", "id": "e-one", "outcome": "waiting"}]}
    with connect(erp.url) as conn:  # whoever took it may be dead by now
        drain(conn)
    assert erp.kept() == ["applied"]


def test_what_was_taken_outlives_the_process_that_took_it(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(database_url) as conn:
        open_trade(conn)
    named = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    monkeypatch.setenv("ERP_SECRET", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.main", "web", "--port", str(port)],
        env={**os.environ, **named, "RELANCE_EVENT_SECRETS": "env:ERP_SECRET"},
        stderr=subprocess.PIPE,
        text=True,
    ) as web:
        try:
            assert web.stderr is not None
            assert "events are taken at" in web.stderr.readline()
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
                erp = Erp(client, database_url)
                told = [event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE)]
                assert erp.sends(told, BATCH).status_code == 202
                web.kill()
        finally:
            web.kill()
    assert web.returncode == -signal.SIGKILL
    assert erp.kept() == ["waiting", "waiting"]
    with connect(database_url) as conn:
        drain(conn)
        assert outcomes(conn) == ["applied", "applied"]
        assert asked(conn, "SELECT number FROM invoices") == [(INVOICE["number"],)]


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_what_the_official_library_sends_is_taken(erp: Erp, mode: str) -> None:
    told = CloudEvent({"type": "customer.upserted", "source": "https://erp.example/nord"}, CUSTOMER)
    headers, body = to_structured(told) if mode == "structured" else to_binary(told)
    given_ = {"content-type": "application/json", **headers}
    assert erp.sends(body.decode(), given_).status_code == 202
    assert erp.kept() == ["waiting"]


def test_a_batch_is_taken_and_one_that_is_malformed_hinders_none(erp: Erp) -> None:
    answer = erp.sends([event("customer.upserted", CUSTOMER), {"id": 1}, event("invoice.issued", INVOICE)], BATCH)
    assert answer.status_code == 202
    assert [one["outcome"] for one in answer.json()["events"]] == ["waiting", "rejected", "waiting"]
    assert {"pointer": "/id", "detail": "must be a text that is not empty"} in answer.json()["events"][1]["errors"]
    assert erp.kept() == ["waiting", "rejected", "waiting"]


def test_a_request_that_is_played_again_is_refused(erp: Erp) -> None:
    told = event("customer.upserted", CUSTOMER)
    assert erp.sends(told, delivery="msg_x").status_code == 202
    refused(erp.sends(told, delivery="msg_x"), 409)
    assert erp.sends(told).json()["events"][0]["outcome"] == "duplicate"
    assert erp.kept() == ["waiting"]


def test_another_sender_may_number_its_requests_alike(erp: Erp) -> None:
    assert erp.sends(event("customer.upserted", CUSTOMER), delivery="msg_1").status_code == 202
    assert erp.sends(event("invoice.issued", INVOICE, source="/other"), delivery="msg_1").status_code == 202
    refused(erp.sends("[{}]", BATCH, delivery="msg_1"), 422)
    refused(erp.sends("[{}, {}]", BATCH, delivery="msg_1"), 422)
    assert erp.kept() == ["waiting", "waiting", "rejected", "rejected", "rejected"]


def test_a_request_that_was_rejected_may_be_sent_again_mended(erp: Erp) -> None:
    told = event("customer.upserted", CUSTOMER)
    refused(erp.sends(told | {"data": {}}, delivery="msg_x"), 422)
    assert erp.sends(told, delivery="msg_x").json()["events"][0]["outcome"] == "waiting"
    refused(erp.sends(told, delivery="msg_x"), 409)
    assert erp.kept() == ["waiting"]


def test_the_next_secret_signs_already_and_no_other_does(erp: Erp) -> None:
    assert erp.sends(event("customer.upserted", CUSTOMER), secret=NEXT).status_code == 202
    stranger = "whsec_" + base64.b64encode(bytes(32)).decode()
    refused(erp.sends(event("invoice.issued", INVOICE), secret=stranger), 401)
    refused(erp.sends(event("invoice.issued", INVOICE), at=time.time() - 302), 401)
    refused(erp.posts(b"{}", STRUCTURED), 401)
    assert erp.kept() == ["waiting"]


def test_what_is_wrong_with_an_event_is_told_by_its_place(erp: Erp) -> None:
    problem = refused(erp.sends(event("invoice.issued", INVOICE | {"total": 1.5, "due_date": "2026-01-01"})), 422)
    assert {one["pointer"] for one in problem["errors"]} == {"/data/due_date", "/data/total"}
    assert erp.kept() == ["rejected"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("{", STRUCTURED, 400),
        ("[" * 50_000, STRUCTURED, 400),
        ("{}", BATCH, 400),
        ("[]", BATCH, 400),
        (json.dumps([{}] * 101), BATCH, 413),
        ("x" * (256 * 1024 + 1), STRUCTURED, 413),
        ("{}", {"content-type": "application/json"}, 415),
        ("{}", {"content-type": "application/cloudevents+json; charset=latin-1"}, 415),
        ("{}", {"content-type": "application/json", "ce-id": "1", "ce-datacontenttype": "application/json"}, 400),
        ("[1, null]", BATCH, 422),
    ],
)
def test_what_cannot_be_taken_is_refused_in_words(erp: Erp, body: str, headers: dict[str, str], status: int) -> None:
    refused(erp.sends(body, headers), status)


HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "ce-id", "ce-type", "ce-source", "ce-specversion", "ce-time", "ce-x_y", "ce-"]),
    st.sampled_from(
        ["", "1.0", "a", "%ff%00", "%ud800", "application/json", BATCH["content-type"], *STRUCTURED.values()]
    ),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(st.text(max_size=20), st.sampled_from(["{}", "[{}]", '[{"id": "\\ud800"}]', '{"data": 1e999}'])),
    headers=HEADERS,
)
def test_no_request_makes_it_break(erp: Erp, body: str, headers: dict[str, str]) -> None:
    assert erp.sends(body, headers, delivery=f"msg_{time.monotonic_ns()}").status_code in {400, 413, 415, 422}


def test_without_a_secret_nothing_is_served() -> None:
    with pytest.raises(InvalidInput, match="RELANCE_EVENT_SECRETS"):
        make_app(Settings())


def test_what_is_thirty_days_old_is_forgotten_bit_by_bit(erp: Erp) -> None:
    with connect(erp.url) as conn:
        conn.execute(
            """INSERT INTO deliveries
               SELECT 'old' || n % 11, sha256(n::text::bytea), now() - interval '31 days'
                 FROM generate_series(1, 12) n"""
        )
    erp.sends(event("customer.upserted", CUSTOMER))
    with connect(erp.url) as conn:
        assert asked(conn, "SELECT count(*) FROM deliveries WHERE id LIKE 'old%'") == [(2,)]
