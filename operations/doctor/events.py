"""The secrets that sign events, each tried as `relance web` would: does its reference lead to one that can be used?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations.doctor.finding import Finding, either
from workers.settings import secret
from workflow.errors import InvalidInput
from workflow.webhooks import key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workflow.facts import Language

_KINDS: Final = ("env:", "file:")


def event_secrets(references: Sequence[str], language: Language = "en") -> Iterator[Finding]:
    """Try each reference. What is no reference may be the secret itself: it is told by its place, never shown."""
    for place, reference in enumerate(references, 1):
        if not reference.startswith(_KINDS):
            yield _unusable(
                f"{place}",
                language,
                en="is no reference (env:NAME or file:PATH)",
                fr="n'est pas une référence (env:NOM ou file:CHEMIN)",
            )
            continue
        try:
            found = secret(reference)
        except InvalidInput:
            yield _unusable(
                reference,
                language,
                en="leads to no secret on this machine",
                fr="ne mène à aucun secret sur cette machine",
            )
            continue
        try:
            key(found)
        except InvalidInput as error:
            yield _unusable(
                reference,
                language,
                en=f"cannot be used: {error.reason}",
                fr=f"est inutilisable : {error.reason}",
            )
            continue
        leads = either(
            language, en="leads to a secret that signs events", fr="mène à un secret qui signe des événements"
        )
        yield Finding(check="events", subject=reference, verdict="ok", found=leads)


def _unusable(subject: str, language: Language, *, en: str, fr: str) -> Finding:
    return Finding(
        check="events",
        subject=subject,
        verdict="error",
        found=either(language, en=en, fr=fr),
        advice=either(
            language,
            en="correct it, or RELANCE_EVENT_SECRETS, where relance web runs: until then it does not start",
            fr="corriger cela, ou RELANCE_EVENT_SECRETS, là où tourne relance web : d'ici là il ne démarre pas",
        ),
    )
