"""Signatures of Standard Webhooks 1.0.0: HMAC-SHA256 over id, time and body, by one of the secrets in force."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from workflow.errors import InvalidInput, RelanceError

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE_S: Final = 300
MOST_SIGNATURES: Final = 10

# A dot would let a part of the body pass for a part of the id.
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SHORTEST, _LONGEST = 24, 64


class Unsigned(RelanceError):  # noqa: N818 - a fact about a request
    """A request that nobody who knows a secret has signed just now."""


def key(secret: str) -> bytes:
    """The key that a secret (`whsec_` and base64) stands for. Raises InvalidInput, which never shows it."""
    try:
        found = base64.b64decode(secret.strip().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not _SHORTEST <= len(found) <= _LONGEST:
        reason = f"a secret must be whsec_ and {_SHORTEST} to {_LONGEST} bytes in base64"
        raise InvalidInput(field="RELANCE_EVENT_SECRETS", value=None, reason=reason)
    return found


def sign(key: bytes, *, delivery: str, timestamp: int, body: bytes) -> str:
    """The signature of a request."""
    signed = hmac.new(key, f"{delivery}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def check(keys: Sequence[bytes], *, delivery: str, timestamp: str, signatures: str, body: bytes, now_s: float) -> None:
    """Raise Unsigned unless one of the signatures is by one of the keys, and the time within five minutes of now.

    `delivery` is the webhook-id; whether it was seen before is another question.
    """
    if not _ID.fullmatch(delivery):
        raise Unsigned("webhook-id must be 1 to 200 letters, digits, _ and -")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise Unsigned("webhook-timestamp must be whole seconds since 1970")
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise Unsigned("webhook-timestamp is more than five minutes from now")
    given = signatures.split(" ")
    if len(given) > MOST_SIGNATURES:
        raise Unsigned(f"webhook-signature holds more than {MOST_SIGNATURES} signatures")
    known = [sign(one, delivery=delivery, timestamp=int(timestamp), body=body).encode() for one in keys]
    written = [one.encode("utf-8", "replace") for one in given]
    # Each is compared with each, whichever suits, so that time tells nothing.
    if not any([hmac.compare_digest(one, other) for one in known for other in written]):  # noqa: C419
        raise Unsigned("webhook-signature is by none of the secrets in force")
