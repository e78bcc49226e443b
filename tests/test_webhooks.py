"""Signatures of events: those of the specification hold, and nothing that merely looks like one does."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import InvalidInput
from workflow.webhooks import Unsigned, check, key, sign

VECTOR = Path(__file__).resolve().parents[2] / "shared" / "data" / "webhooks" / "vector.json"
OLD, NEW = (key("whsec_" + base64.b64encode(bytes([n]) * 32).decode()) for n in (1, 2))
NOW = 1_700_000_000
BODY = b'{"a": 1}'


def asked(
    signatures: str, *, delivery: str = "msg_1", timestamp: str = str(NOW), body: bytes = BODY, now_s: float = NOW
) -> None:
    check([OLD, NEW], delivery=delivery, timestamp=timestamp, signatures=signatures, body=body, now_s=now_s)


def signed(secret: bytes = NEW, delivery: str = "msg_1", timestamp: int = NOW) -> str:
    return sign(secret, delivery=delivery, timestamp=timestamp, body=BODY)


def test_the_published_vector_verifies() -> None:
    if not VECTOR.exists():
        pytest.skip("the published vector is not on this machine")
    told = json.loads(VECTOR.read_text())
    check(
        [key(told["secret_prefix"] + told["secret_base64"])],
        delivery=told["webhook-id"],
        timestamp=told["webhook-timestamp"],
        signatures=told["webhook-signature"],
        body=told["body"].encode(),
        now_s=int(told["webhook-timestamp"]),
    )


@pytest.mark.parametrize("signatures", [signed(OLD), signed(NEW), f"v1,AAAA {signed()}", f"v1a,x {signed(OLD)} v1,y"])
def test_either_secret_signs_while_they_are_changed(signatures: str) -> None:
    asked(signatures)


@pytest.mark.parametrize("away_s", [-300, 0, 300])
def test_five_minutes_either_way_are_now(away_s: int) -> None:
    asked(signed(), now_s=NOW + away_s)


@pytest.mark.parametrize("away_s", [-301, 301, 10**6])
def test_older_and_later_is_refused(away_s: int) -> None:
    with pytest.raises(Unsigned, match="five minutes"):
        asked(signed(), now_s=NOW + away_s)


@pytest.mark.parametrize(
    "signatures",
    [
        "", " ", "garbage", "v1,aa,bb", "v1,", "v1,not base64", "v1,\xe9", signed().replace("v1,", "v1a,"),
        signed(bytes(32)), " ".join([signed()] * 11),
    ],
)  # fmt: skip
def test_what_is_no_signature_is_refused_in_words(signatures: str) -> None:
    with pytest.raises(Unsigned):
        asked(signatures)


@pytest.mark.parametrize("timestamp", ["", "1.9", f" {NOW}", "1_700_000_000", "-1", "\u0661", "9" * 13, "soon"])
def test_a_time_is_whole_seconds(timestamp: str) -> None:
    with pytest.raises(Unsigned, match="timestamp"):
        asked(signed(), timestamp=timestamp)


@pytest.mark.parametrize("delivery", ["", "a.b", "é", "a b", "x" * 201])
def test_an_id_with_a_dot_could_hold_a_part_of_the_body(delivery: str) -> None:
    with pytest.raises(Unsigned, match="webhook-id"):
        asked(sign(NEW, delivery=delivery, timestamp=NOW, body=BODY), delivery=delivery)


@given(st.binary(max_size=20))
def test_another_body_is_another_signature(body: bytes) -> None:
    with pytest.raises(Unsigned):
        asked(signed(), body=b"x" + body)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "whsec_é", "whsec_" + "A" * 200])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        key(secret)
    assert not secret.removeprefix("whsec_") or secret not in str(refused.value)
