"""Each mail account, tried as a worker would: name, TLS, login, and a mail to somebody who waits for it if asked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final

from operations.doctor.finding import Finding, either, verdict
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
    from workflow.facts import Language

_PATIENCE_S: Final = 12.0
_ANSWER_S: Final = 10.0
_EXPIRES_SOON_DAYS: Final = 14

_NAME_CA: Final[dict[Language, str]] = {
    "en": "save the authority's certificate as a file and name that as the account's ca_file",
    "fr": "enregistrer le certificat de l'autorité dans un fichier, et le nommer comme ca_file du compte",
}
_CHAIN: Final[dict[Language, str]] = {
    "en": "have the server send its whole chain, or name its authority's certificate as the account's ca_file",
    "fr": "faire envoyer au serveur toute sa chaîne, ou nommer le certificat de son autorité comme ca_file du compte",
}
# OpenSSL's verify codes (x509_vfy.h) and what to do about each.
_CERTIFICATES: Final[dict[int, dict[Language, str]]] = {
    9: {
        "en": "look at this machine's clock: the certificate is not valid yet",
        "fr": "regarder l'horloge de cette machine : le certificat n'est pas encore valable",
    },
    10: {
        "en": "have the server's certificate renewed; if it was, look at this machine's clock",
        "fr": "faire renouveler le certificat du serveur ; s'il l'a été, regarder l'horloge de cette machine",
    },
    18: {
        "en": "get the server an authority's certificate, or save this one as a file and name that as the account's"
        " ca_file",
        "fr": "donner au serveur un certificat d'une autorité, ou enregistrer celui-ci dans un fichier et le nommer"
        " comme ca_file du compte",
    },
    19: _NAME_CA,
    20: _CHAIN,
    21: _CHAIN,
    62: {
        "en": "name the server in the account as its certificate does",
        "fr": "nommer le serveur dans le compte comme le fait son certificat",
    },
    64: {
        "en": "name the server in the account as its certificate does: by its host name",
        "fr": "nommer le serveur dans le compte comme le fait son certificat : par son nom d'hôte",
    },
}
_STEPS: Final[dict[str, dict[Language, str]]] = {
    "auth": {
        "en": "correct the account's username, or the secret behind its password reference; some providers want an"
        " app password",
        "fr": "corriger le nom d'utilisateur du compte, ou le secret derrière sa référence de mot de passe ; certains"
        " fournisseurs veulent un mot de passe d'application",
    },
    "mail": {
        "en": "let the provider allow this account to send from its from_address",
        "fr": "faire autoriser par le fournisseur l'envoi de ce compte depuis sa from_address",
    },
    "rcpt": {
        "en": "look at the address given with --to, and at what the provider lets this account send to",
        "fr": "regarder l'adresse donnée par --to, et à qui le fournisseur laisse ce compte envoyer",
    },
}


def account(
    account: Account, note: AccountNote, *, to: str | None, now: datetime, language: Language = "en"
) -> Iterator[Finding]:
    """Try one account; `to` is where a mail goes through it, None for no mail. A held account is tried all the same."""
    if account.held_because:
        yield Finding(
            check="account",
            subject=account.name,
            verdict="warning",
            found=either(
                language,
                en=f"held since {note.held_at:%Y-%m-%d %H:%M} UTC: {account.held_because}",
                fr=f"retenu depuis le {note.held_at:%Y-%m-%d %H:%M} UTC : {account.held_because}",
            ),
            advice=either(
                language,
                en=f"once that is settled: relance release account {account.name!r} --because TEXT",
                fr=f"une fois réglé : relance release account {account.name!r} --because TEXTE",
            ),
        )
    try:
        password = secret(account.password_ref) if account.password_ref else None
    except InvalidInput:
        yield Finding(
            check="account",
            subject=account.name,
            verdict="error",
            found=either(
                language,
                en=f"{account.password_ref} leads to no secret on this machine",
                fr=f"{account.password_ref} ne mène à aucun secret sur cette machine",
            ),
            advice=either(
                language,
                en="set it for every process that sends; a file must be readable by their user",
                fr="le donner à chaque processus qui envoie ; un fichier doit être lisible par leur utilisateur",
            ),
        )
        return
    yield asyncio.run(_tried(account, password, note, to=to, now=now, language=language))


async def _tried(
    account: Account, password: str | None, note: AccountNote, *, to: str | None, now: datetime, language: Language
) -> Finding:
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
        return _failed(account, *_distrusted(error, where, language))
    except Refused as error:
        return _failed(account, *_refused(error, where, language))
    except (Unreachable, TimeoutError) as error:
        return _failed(account, *_unreachable(error, where, language))
    days = (until - now).total_seconds() / 86400 if until else None
    soon = days is not None and days < _EXPIRES_SOON_DAYS
    parts = (
        either(language, en=f"{where} answers in {took_ms} ms", fr=f"{where} répond en {took_ms} ms"),
        either(language, en="without TLS, on this machine", fr="sans TLS, sur cette machine")
        if days is None
        else either(
            language, en=f"certificate valid for {days:.0f} days", fr=f"certificat valable encore {days:.0f} jours"
        ),
        either(language, en=f"logged in as {account.username}", fr=f"identifié comme {account.username}")
        if account.username
        else either(language, en="no login", fr="sans identification"),
        either(language, en=f"a mail to {to} was accepted: {said}", fr=f"un courriel à {to} a été accepté : {said}")
        if to
        else "",
    )
    return Finding(
        check="account",
        subject=account.name,
        verdict=verdict(warning=soon),
        found=", ".join(filter(None, parts)),
        advice=either(
            language,
            en="have the server's certificate renewed now: without it no mail leaves",
            fr="faire renouveler dès maintenant le certificat du serveur : sans lui aucun courriel ne part",
        )
        if soon
        else "",
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


def _refused(error: Refused, where: str, language: Language) -> tuple[str, str]:
    advice = _STEPS.get(
        error.step,
        {
            "en": "read what the server says; its postmaster knows more",
            "fr": "lire ce que dit le serveur ; son administrateur en sait plus",
        },
    )
    found = either(
        language,
        en=f"{where} refuses at {error.step}: {error.reply}",
        fr=f"{where} refuse à l'étape {error.step} : {error.reply}",
    )
    return found, advice[language]


def _distrusted(error: Unverified, where: str, language: Language) -> tuple[str, str]:
    """What is wrong with the server's TLS, and what to do. OpenSSL's own words are in the error behind the error."""
    behind = error.__context__
    if isinstance(behind, ssl.SSLCertVerificationError):
        mended = {"en": "have the server's certificate mended", "fr": "faire réparer le certificat du serveur"}
        found = either(
            language,
            en=f"the certificate of {where} does not hold: {behind.verify_message}",
            fr=f"le certificat de {where} ne tient pas : {behind.verify_message}",
        )
        return found, _CERTIFICATES.get(behind.verify_code, mended)[language]
    if isinstance(behind, OSError) and not isinstance(behind, ssl.SSLError):
        return either(
            language,
            en=f"the account's ca_file cannot be read: {behind.strerror}",
            fr=f"le ca_file du compte ne peut pas être lu : {behind.strerror}",
        ), either(language, en="correct the account's ca_file", fr="corriger le ca_file du compte")
    return either(
        language, en=f"{where} cannot be trusted: {error}", fr=f"on ne peut pas se fier à {where} : {error}"
    ), either(
        language,
        en="look at the account's security and port: implicit-tls is most often 465, starttls-required 587",
        fr="regarder la sécurité et le port du compte : implicit-tls est le plus souvent 465, starttls-required 587",
    )


def _unreachable(error: Exception, where: str, language: Language) -> tuple[str, str]:
    match error.__context__:
        case socket.gaierror() | UnicodeError():
            return either(
                language, en=f"no address is known for {where}", fr=f"aucune adresse n'est connue pour {where}"
            ), either(
                language,
                en="correct the account's host, or look at this machine's name server",
                fr="corriger l'hôte du compte, ou regarder le serveur de noms de cette machine",
            )
        case ConnectionRefusedError():
            return either(language, en=f"nobody listens at {where}", fr=f"personne n'écoute sur {where}"), either(
                language,
                en="correct the account's port, or start the mail server",
                fr="corriger le port du compte, ou démarrer le serveur de courriel",
            )
        case _:
            silent = either(
                language, en=f"no answer within {_PATIENCE_S:g} s", fr=f"pas de réponse en {_PATIENCE_S:g} s"
            )
            return f"{where}{either(language, en=':', fr=' :')} {str(error) or silent}", either(
                language,
                en="look at the account's host, port and security, and whether a firewall lets mail out",
                fr="regarder l'hôte, le port et la sécurité du compte, et si un pare-feu laisse sortir le courriel",
            )
