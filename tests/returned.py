"""Mails as they come back: reports of mail systems about one of ours, complaints, automatic answers, people's own."""

from __future__ import annotations

from itertools import count

_NUMBERS = count(1)


def bounce(
    message_id: str,
    address: str,
    *,
    status: str = "5.1.1",
    said: str = "550 5.1.1 User unknown",
    own_id: str | None = None,
) -> bytes:
    """A delivery report (RFC 3464) with the returned mail's headers."""
    action = "failed" if status.startswith("5") else "delayed"
    return f"""Return-Path: <>
From: MAILER-DAEMON@relay.example (Mail Delivery System)
To: relance@nord.example
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
Message-ID: {own_id or _own_id()}
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b=_1"

--b=_1
Content-Type: text/plain; charset=utf-8

This is the mail system. Your message could not be delivered.

--b=_1
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example

Final-Recipient: rfc822; {address}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {said}

--b=_1
Content-Type: message/rfc822

From: relance@nord.example
To: {address}
Subject: Relance
Message-ID: {message_id}

Bonjour
--b=_1--
""".replace("\n", "\r\n").encode()


def full(message_id: str, address: str) -> bytes:
    """The mailbox is full today."""
    return bounce(message_id, address, status="4.2.2", said="452 4.2.2 mailbox full")


def complaint(message_id: str, address: str = "") -> bytes:
    """A feedback report (RFC 5965); providers often leave out who complained."""
    named = f"Original-Rcpt-To: {address}\n" if address else ""
    return f"""From: fbl@provider.example
To: relance@nord.example
Subject: FW: Relance
Message-ID: {_own_id()}
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b=_2"

--b=_2
Content-Type: text/plain

This is an email abuse report.

--b=_2
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Provider/1.0
Version: 1
{named}
--b=_2
Content-Type: message/rfc822

From: relance@nord.example
Subject: Relance
Message-ID: {message_id}

Bonjour
--b=_2--
""".replace("\n", "\r\n").encode()


def answer(message_id: str, sender: str, *, automatic: bool = False, body: str = "Je paie demain.") -> bytes:
    """Somebody answers, or their absence does."""
    auto = "Auto-Submitted: auto-replied\n" if automatic else ""
    return f"""From: Ana <{sender}>
To: relance@nord.example
Subject: Re: Relance
Message-ID: {_own_id()}
In-Reply-To: {message_id}
References: {message_id}
{auto}
{body}
""".replace("\n", "\r\n").encode()


def _own_id() -> str:
    return f"<{next(_NUMBERS)}.report@relay.example>"
