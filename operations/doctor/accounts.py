"""Each mail account, tried as a worker would: name, TLS, login, and a mail to somebody who waits for it if asked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final

from operations.doctor.finding import Finding, verdict
from operations.doctor.trial import trial
from workers.settings import secret
from workers.smtp import Refused, Unreachable, Unverified, connect, stuffed
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from store.companies import Account
    from store.health import AccountNote
    from workers.smtp import SmtpConnection

_PATIENCE_S: Final = 12.0
_ANSWER_S: Final = 10.0
_EXPIRES_SOON_DAYS: Final = 14

# OpenSSL's verify codes (x509_vfy.h) and what to do about each.
_CERTIFICATES: Final = {
    9: "look at this machine's clock: the certificate is not valid yet",
    10: "have the server's certificate renewed; if it was, look at this machine's clock",
    18: "get the server an authority's certificate, or save this one as a file and name that as the account's ca_file",
    19: "save the authority's certificate as a file and name that as the account's ca_file",
    20: "have the server send its whole chain, or name its authority's certificate as the account's ca_file",
    21: "have the server send its whole chain, or name its authority's certificate as the account's ca_file",
    62: "name the server in the account as its certificate does",
    64: "name the server in the account as its certificate does: by its host name",
}
_STEPS: Final = {
    "auth": "correct the account's username, or the secret behind its password reference; some providers want an"
    " app password",
    "mail": "let the provider allow this account to send from its from_address",
    "rcpt": "look at the address given with --to, and at what the provider lets this account send to",
}


def account(account: Account, note: AccountNote, *, to: str | None, now: datetime) -> Iterator[Finding]:
    """Try one account; `to` is where a mail goes through it, None for no mail. A held account is tried all the same."""
    if account.held_because:
        yield Finding(
            check="account",
            subject=account.name,
            verdict="warning",
            found=f"held since {note.held_at:%Y-%m-%d %H:%M} UTC: {account.held_because}",
            advice=f"once that is settled: relance release account {account.name!r} --because TEXT",
        )
    try:
        password = secret(account.password_ref) if account.password_ref else None
    except InvalidInput:
        yield Finding(
            check="account",
            subject=account.name,
            verdict="error",
            found=f"{account.password_ref} leads to no secret on this machine",
            advice="set it for every process that sends; a file must be readable by their user",
        )
        return
    yield asyncio.run(_tried(account, password, note, to, now))


async def _tried(account: Account, password: str | None, note: AccountNote, to: str | None, now: datetime) -> Finding:
    started = time.monotonic()
    where = f"{account.host}:{account.port}"
    try:
        async with asyncio.timeout(_PATIENCE_S):
            connection = await connect(account, password)
            took_ms = round((time.monotonic() - started) * 1000)
            try:
                until = connection.certificate_until
                said = await _mailed(connection, account, note, to, now) if to else ""
                await connection.quit()
            finally:
                connection.abort()
    except Unverified as error:
        return _failed(account, *_distrusted(error, where))
    except Refused as error:
        advice = _STEPS.get(error.step, "read what the server says; its postmaster knows more")
        return _failed(account, f"{where} refuses at {error.step}: {error.reply}", advice)
    except (Unreachable, TimeoutError) as error:
        return _failed(account, *_unreachable(error, where))
    days = (until - now).total_seconds() / 86400 if until else None
    soon = days is not None and days < _EXPIRES_SOON_DAYS
    parts = (
        f"{where} answers in {took_ms} ms",
        "without TLS, on this machine" if days is None else f"certificate valid for {days:.0f} days",
        f"logged in as {account.username}" if account.username else "no login",
        f"a mail to {to} was accepted: {said}" if to else "",
    )
    return Finding(
        check="account",
        subject=account.name,
        verdict=verdict(warning=soon),
        found=", ".join(filter(None, parts)),
        advice="have the server's certificate renewed now: without it no mail leaves" if soon else "",
        figures={
            "answer_ms": took_ms,
            "certificate_days": None if days is None else round(days),
            "security": account.security,
            "password": account.password_ref and "present",
            "mailed_to": to,
        },
    )


async def _mailed(connection: SmtpConnection, account: Account, note: AccountNote, to: str, now: datetime) -> str:
    mail = trial(account, to, note.language, now)
    await connection.upload(account.from_address, [to], stuffed(mail))
    return str(await connection.dot(_ANSWER_S))


def _failed(account: Account, found: str, advice: str) -> Finding:
    return Finding(
        check="account",
        subject=account.name,
        verdict="error",
        found=found,
        advice=advice,
        figures={"security": account.security, "password": account.password_ref and "present"},
    )


def _distrusted(error: Unverified, where: str) -> tuple[str, str]:
    """What is wrong with the server's TLS, and what to do. OpenSSL's own words are in the error behind the error."""
    behind = error.__context__
    if isinstance(behind, ssl.SSLCertVerificationError):
        advice = _CERTIFICATES.get(behind.verify_code, "have the server's certificate mended")
        return f"the certificate of {where} does not hold: {behind.verify_message}", advice
    if isinstance(behind, OSError) and not isinstance(behind, ssl.SSLError):
        return f"the account's ca_file cannot be read: {behind.strerror}", "correct the account's ca_file"
    advice = "look at the account's security and port: implicit-tls is most often 465, starttls-required 587"
    return f"{where} cannot be trusted: {error}", advice


def _unreachable(error: Exception, where: str) -> tuple[str, str]:
    match error.__context__:
        case socket.gaierror() | UnicodeError():
            return (
                f"no address is known for {where}",
                "correct the account's host, or look at this machine's name server",
            )
        case ConnectionRefusedError():
            return f"nobody listens at {where}", "correct the account's port, or start the mail server"
        case _:
            words = str(error) or f"no answer within {_PATIENCE_S:g} s"
            advice = "look at the account's host, port and security, and whether a firewall lets mail out"
            return f"{where}: {words}", advice
