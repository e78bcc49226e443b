"""The mail that a trial sends: it says what it is, in the language of the account's company, and asks for nothing."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from markupsafe import escape

from letters.headers import Mailbox, check_address
from letters.mail import MailParts
from letters.mime import assemble

if TYPE_CHECKING:
    from datetime import datetime

    from store.companies import Account
    from workflow.facts import Language

_SUBJECT: Final[dict[Language, str]] = {"fr": "Essai d'envoi de relance", "en": "Trial mail of relance"}
_TEXT: Final[dict[Language, str]] = {
    "fr": "Ceci est un essai : le compte de messagerie « {account} » envoie bien les courriels.\n"
    "Il a été demandé par « relance doctor » et n'appelle aucune réponse.",
    "en": 'This is a trial: the mail account "{account}" does send.\n'
    "It was asked for with relance doctor and needs no answer.",
}


def trial(account: Account, to: str, language: Language, now: datetime) -> bytes:
    """One mail from the account to `to`. Raises InvalidInput for an account that no header can name."""
    text = _TEXT[language].format(account=account.name)
    paragraphs = "\n".join(f"<p>{escape(line)}</p>" for line in text.split("\n"))
    sender = Mailbox(name=account.from_name, address=check_address(account.from_address, field="from_address"))
    return assemble(
        MailParts(
            subject=_SUBJECT[language],
            text=f"{text}\n",
            html=f'<!doctype html>\n<html lang="{language}"><body>\n{paragraphs}\n</body></html>\n',
        ),
        message_id=f"<trial.{secrets.token_hex(12)}@{sender.address.rpartition('@')[2]}>",
        date=now,
        sender=sender,
        recipient=Mailbox(address=to),
        language=language,
        reminder_id=None,
    )
