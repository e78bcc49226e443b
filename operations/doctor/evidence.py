"""Where an account's mails in doubt are looked for, tried as its policy would: can it be read, does it show mails?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from operations.doctor.finding import Finding, either, verdict
from store import doubts, health
from store import settings as stored
from store.connection import connect
from workers import evidence
from workers.imap import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.companies import Account
    from store.doubts import Witness
    from workflow.facts import Language

_LAST: Final = 5
# What left a moment ago may not have left its trace yet.
_FRESH: Final = timedelta(minutes=1)


def channel(url: str, account: Account, language: Language = "en") -> Iterator[Finding]:
    """Look for the last mails of an account that has evidence."""
    place = account.evidence or {}
    known = evidence.CHANNELS[place["kind"]]
    words, advice = known.words[language], known.advice[language]
    with connect(url) as conn:
        health.be_brief(conn)
        now = stored.database_now(conn)
        last, _ = doubts.witnesses_before(conn, account.id, now - _FRESH, since=None, limit=_LAST)
    wanted = {one.message_id: one.recipient for one in last}
    try:
        traces = evidence.look(place, wanted, min((one.armed_at for one in last), default=now))
    except Unreadable as unreadable:
        yield Finding(
            check="evidence",
            subject=account.name,
            verdict="error",
            found=either(
                language,
                en=f"{words} cannot be used: {unreadable}",
                fr=f"{words} : inutilisable : {unreadable}",
            ),
            advice=either(
                language,
                en=f"{advice}; until then its mails in doubt wait for a person",
                fr=f"{advice} ; d'ici là ses messages incertains attendent une personne",
            ),
        )
        return
    yield _found(account, words, last, {one.message_id for one in last if one.message_id in traces}, language)


def _found(account: Account, words: str, last: list[Witness], shown: set[str], language: Language) -> Finding:
    figures: dict[str, str | float | None] = {"mails": len(last), "shown": len(shown)}
    if not last:
        found = either(
            language,
            en=f"{words} can be read; no mail has left yet that it could show",
            fr=f"{words} : lisible ; aucun message n'est encore parti qui puisse s'y trouver",
        )
        return Finding(check="evidence", subject=account.name, verdict="ok", found=found, figures=figures)
    complete = len(shown) == len(last)
    latest = f"{last[0].armed_at:%Y-%m-%d %H:%M} UTC"
    advice = either(
        language,
        en="look whether every mail of this account leaves its trace there, and for how long it is kept; where the"
        " mails beside it are missing, one in doubt waits for a person",
        fr="vérifier que chaque message de ce compte y laisse une trace, et combien de temps elle est gardée ; là où"
        " ses voisins manquent, un message incertain attend une personne",
    )
    return Finding(
        check="evidence",
        subject=account.name,
        verdict=verdict(warning=not complete),
        found=either(
            language,
            en=f"{words} can be read and shows {len(shown)} of the account's last {len(last)} mails, the latest of"
            f" {latest}",
            fr=f"{words} : lisible ; s'y trouvent {len(shown)} des {len(last)} derniers messages du compte, le plus"
            f" récent de {latest}",
        ),
        advice="" if complete else advice,
        figures=figures,
    )
