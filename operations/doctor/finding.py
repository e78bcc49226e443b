"""What a check says, and how checks are run: side by side, each for a limited time, and none stops another."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from workflow.facts import Language

Verdict = Literal["ok", "warning", "error"]

LIMIT_S: Final = 15.0

_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found, in words and figures, and what to do; `advice` is empty where nothing is to be done.

    Words are in the reader's language; what a server says, and what a value is refused for, stay as they are.
    `subject` tells several of one check apart: an account's name, a rule's id.
    """

    check: str
    subject: str = ""
    verdict: Verdict
    found: str
    advice: str = ""
    figures: dict[str, str | float | None] = field(default_factory=dict)


def either(language: Language, *, en: str, fr: str) -> str:
    """The words of that language."""
    return {"en": en, "fr": fr}[language]


def verdict(*, error: bool = False, warning: bool = False) -> Verdict:
    """The gravest that holds."""
    return "error" if error else "warning" if warning else "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something to look at, under the name that its findings would have."""

    name: str
    subject: str = ""
    look: Callable[[], Iterable[Finding]]


def look_at_all(checks: Sequence[Check], *, language: Language = "en", limit_s: float = LIMIT_S) -> list[Finding]:
    """Run the checks, at most 16 at once, and return their findings in the order of the checks.

    A check that fails, or takes longer than `limit_s`, is a finding itself.
    """
    found: list[Finding] = []
    for start in range(0, len(checks), _AT_ONCE):
        found += _together(checks[start : start + _AT_ONCE], language, limit_s)
    return found


def guarded(
    name: str, subject: str, look: Callable[[], Iterable[Finding]], language: Language = "en"
) -> Iterator[Finding]:
    """What the check finds, its own failure included."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001 - a broken check must not hide what its neighbours find
        words = ": ".join((type(error).__name__, *str(error).strip().splitlines()[:1]))
        yield Finding(
            check=name,
            subject=subject,
            verdict="error",
            found=either(language, en=f"could not be looked at: {words}", fr=f"n'a pas pu être examiné : {words}"),
            advice=either(
                language,
                en="mend what it names; if nothing explains it, report it as a fault of relance",
                fr="réparer ce qu'il nomme ; si rien ne l'explique, le signaler comme un défaut de relance",
            ),
        )


def _together(checks: Sequence[Check], language: Language, limit_s: float) -> list[Finding]:
    found: list[list[Finding] | None] = [None] * len(checks)

    def run(place: int, check: Check) -> None:
        found[place] = list(guarded(check.name, check.subject, check.look, language))

    # Daemons: one that hangs, in a name server's answer say, must not keep the process from its end.
    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(checks)]
    for thread in threads:
        thread.start()
    give_up_at = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, give_up_at - time.monotonic()))
    return [
        finding
        for check, findings in zip(checks, found, strict=True)
        for finding in (
            findings
            if findings is not None
            else [
                Finding(
                    check=check.name,
                    subject=check.subject,
                    verdict="error",
                    found=either(
                        language,
                        en=f"gave no answer within {limit_s:g} s",
                        fr=f"n'a pas répondu en {limit_s:g} s",
                    ),
                    advice=either(
                        language,
                        en="look whether a firewall swallows what is sent there, then try again",
                        fr="vérifier qu'aucun pare-feu n'avale ce qui y est envoyé, puis réessayer",
                    ),
                )
            ]
        )
    ]
