"""Reports as JSON in a mail's text, as Amazon SES mails them through SNS ("Amazon SNS notification contents")."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from workers.bounce_words import reply_in, status_in
from workflow.bounces import Failure

_FOLDED: Final = "!\n "  # how sendmail breaks a line that is too long


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One recipient of a notice; without `failure` it is a complaint."""

    address: str
    failure: Failure | None


def read_notice(text: str) -> list[Notice]:
    """Each recipient that a notice tells of; empty for a text that is no notice."""
    begun = text.find('{"notificationType"')
    if begun < 0:
        return []
    try:
        told, _ = json.JSONDecoder().raw_decode(text[begun:].replace(_FOLDED, ""))
    except (ValueError, RecursionError):
        return []
    match told.get("notificationType"):
        case "Bounce":
            return [_bounced(one) for one in _each(told, "bounce", "bouncedRecipients")]
        case "Complaint":
            return [
                Notice(address=_text(one, "emailAddress"), failure=None)
                for one in _each(told, "complaint", "complainedRecipients")
            ]
        case "Delivery":
            delivery = told.get("delivery")
            addresses = delivery.get("recipients") if isinstance(delivery, dict) else None
            return [
                Notice(address=_whole(one), failure=Failure(action="delivered"))
                for one in (addresses if isinstance(addresses, list) else [])
                if isinstance(one, str)
            ]
        case _:
            return []


def _bounced(recipient: dict[str, Any]) -> Notice:
    said = _text(recipient, "diagnosticCode")
    failure = Failure(
        action=_text(recipient, "action"),
        status=status_in(said) or status_in(_text(recipient, "status")),
        reply=reply_in(said),
        diagnostic=said,
    )
    return Notice(address=_text(recipient, "emailAddress"), failure=failure)


def _each(told: dict[str, Any], kind: str, recipients: str) -> list[dict[str, Any]]:
    within = told.get(kind)
    found = within.get(recipients) if isinstance(within, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return _whole(value) if isinstance(value, str) else ""


def _whole(text: str) -> str:
    """Without half characters, which JSON can spell."""
    return text.encode("utf-8", "replace").decode("utf-8")
