"""How an access token is shown to a mail server: OAUTHBEARER (RFC 7628), or XOAUTH2 as Google and Microsoft have it.

The same words for SMTP and IMAP. The token is made and renewed by a program of the administrator's; we read it afresh
at each login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

Bearer = Literal["OAUTHBEARER", "XOAUTH2"]

# What ends the exchange once the server has refused the token, so that it says so in its own protocol's words:
# RFC 7628 section 3.2.3 for one, an empty line for the other.
GIVE_UP: Final[dict[Bearer, bytes]] = {"OAUTHBEARER": b"\x01", "XOAUTH2": b""}


def bearer(offered: Collection[str]) -> Bearer | None:
    """The mechanism to use, the standard's first; None where the server takes no token."""
    if "OAUTHBEARER" in offered:
        return "OAUTHBEARER"
    return "XOAUTH2" if "XOAUTH2" in offered else None


def token_response(mechanism: Bearer, username: str, token: str, *, host: str, port: int) -> bytes:
    """The client's words, before base64."""
    if mechanism == "XOAUTH2":
        return f"user={username}\x01auth=Bearer {token}\x01\x01".encode()
    name = username.replace("=", "=3D").replace(",", "=2C")  # RFC 5801: a saslname
    return f"n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01".encode()
