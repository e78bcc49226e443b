"""The database: can it be reached, is it ours, and does it keep what it was told?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import psycopg

from operations.doctor.finding import Finding, either, guarded, verdict
from store import health, migrations, rules, settings
from store.connection import connect
from workers import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from store.connection import Connection
    from workflow.facts import Language

OLDEST_VERSION: Final = 15

# A scheduler's pool, and a worker's of four threads: workers/process.py.
_CONNECTIONS_OF_A_SCHEDULER: Final = 2
_CONNECTIONS_OF_A_WORKER: Final = 7
_SKEW_S: Final = 2.0
_GRAVE_SKEW_S: Final = 60.0


def database(url: str, now: Callable[[], datetime], instance: str = "", language: Language = "en") -> Iterator[Finding]:
    """All that the database tells; one finding where it does not answer. `now` is this machine's clock.

    `instance`: to which this host belongs, as the settings say it.
    """
    try:
        conn = connect(url)
    except psycopg.Error as error:
        yield Finding(
            check="database",
            verdict="error",
            found=either(
                language, en=f"cannot be reached: {_first_line(error)}", fr=f"injoignable : {_first_line(error)}"
            ),
            advice=either(
                language,
                en="start it, or correct DATABASE_URL: host, port, database, user, password",
                fr="la démarrer, ou corriger DATABASE_URL : hôte, port, base, utilisateur, mot de passe",
            ),
        )
        return
    with conn:
        health.be_brief(conn)
        wanted, found = migrations.steps()[-1][0], migrations.version(conn)
        looks: list[tuple[str, str, Callable[[], Iterable[Finding]]]] = [
            ("database", "", lambda: _version(conn, language)),
            ("database", "schema", lambda: _schema(found, wanted, language)),
            ("database", "durability", lambda: _durability(conn, language)),
            ("database", "connections", lambda: _connections(conn, language)),
            ("clock", "", lambda: _clock(conn, now, language)),
        ]
        if found == wanted:
            looks += [
                ("database", "rules", lambda: _rules(conn, language)),
                ("database", "mail", lambda: _stopped(conn, language)),
                ("database", "instance", lambda: _instance(conn, instance, language)),
                ("clock", "business", lambda: _business_clock(conn, now, language)),
                ("clock", "time zones", lambda: _zones(conn, language)),
            ]
        for check, subject, look in looks:
            yield from guarded(check, subject, look, language)


def _version(conn: Connection, language: Language) -> Iterator[Finding]:
    told = health.parameters(conn)
    size_mb = health.size_bytes(conn) / 1e6
    old = int(told["server_version_num"]) < OLDEST_VERSION * 10_000
    foreign = told["server_encoding"] != "UTF8"
    advice = ""
    if old:
        advice = either(
            language,
            en=f"upgrade PostgreSQL to {OLDEST_VERSION} or newer",
            fr=f"passer à PostgreSQL {OLDEST_VERSION} ou plus récent",
        )
    elif foreign:
        advice = either(language, en="make the database with ENCODING 'UTF8'", fr="créer la base avec ENCODING 'UTF8'")
    yield Finding(
        check="database",
        verdict=verdict(error=old or foreign),
        found=f"PostgreSQL {told['server_version']}, {told['server_encoding']},"
        f" {size_mb:.1f} {either(language, en='MB', fr='Mo')}",
        advice=advice,
        figures={"version": told["server_version"], "size_mb": round(size_mb, 1)},
    )


def _schema(found: int, wanted: int, language: Language) -> Iterator[Finding]:
    advice = ""
    if found < wanted:
        advice = either(language, en="run: relance migrate", fr="lancer : relance migrate")
    elif found > wanted:
        advice = either(language, en="upgrade relance on this machine", fr="mettre à jour relance sur cette machine")
    yield Finding(
        check="database",
        subject="schema",
        verdict=verdict(error=found != wanted),
        found=either(language, en=f"at {found}, as this version wants it", fr=f"à {found}, comme le veut cette version")
        if found == wanted
        else either(
            language,
            en=f"at {found}, this version wants {wanted}",
            fr=f"à {found}, cette version veut {wanted}",
        ),
        advice=advice,
        figures={"schema": found, "wanted": wanted},
    )


def _durability(conn: Connection, language: Language) -> Iterator[Finding]:
    """A promise that a crash forgets is broken: a mail that left would leave again."""
    told = health.parameters(conn)
    lost = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if told[name] == "off"]
    if lost:
        yield Finding(
            check="database",
            subject="durability",
            verdict="warning",
            found=either(
                language,
                en=f"{' and '.join(lost)} off: a crash may forget that a mail left, and it would leave again",
                fr=f"{' et '.join(lost)} à off : une panne peut oublier qu'un courriel est parti, et il repartirait",
            ),
            advice=either(language, en="set ", fr="mettre ")
            + ", ".join(f"{name} = on" for name in lost)
            + either(language, en=" for this database", fr=" pour cette base"),
        )
    isolation = told["default_transaction_isolation"]
    if isolation != "read committed":
        yield Finding(
            check="database",
            subject="isolation",
            verdict="warning",
            found=either(
                language,
                en=f"transactions are {isolation} by default: workers would fail on each other's rows",
                fr=f"les transactions sont {isolation} par défaut : les workers se gêneraient sur les mêmes lignes",
            ),
            advice=either(
                language,
                en="set default_transaction_isolation = 'read committed' for this database and its user",
                fr="mettre default_transaction_isolation = 'read committed' pour cette base et son utilisateur",
            ),
        )
    if not lost and isolation == "read committed":
        survives = either(
            language, en="what was committed outlives a crash", fr="ce qui a été validé survit à une panne"
        )
        yield Finding(check="database", subject="durability", verdict="ok", found=survives)


def _connections(conn: Connection, language: Language) -> Iterator[Finding]:
    told, used = health.parameters(conn), health.connections(conn)
    most = int(told["max_connections"])
    free = most - int(told["superuser_reserved_connections"]) - used
    workers = max(0, (free - _CONNECTIONS_OF_A_SCHEDULER) // _CONNECTIONS_OF_A_WORKER)
    yield Finding(
        check="database",
        subject="connections",
        verdict=verdict(warning=not workers),
        found=either(
            language,
            en=f"{used} of {most} are in use: room for a scheduler and {workers} more worker processes of 4 threads",
            fr=f"{used} sur {most} en service : place pour un scheduler et {workers} processus worker de 4 threads de"
            " plus",
        ),
        advice=""
        if workers
        else either(
            language,
            en="raise max_connections, or start fewer processes: each takes its threads + 3",
            fr="augmenter max_connections, ou lancer moins de processus : chacun prend ses threads + 3",
        ),
        figures={"max": most, "used": used, "free": free},
    )


def _rules(conn: Connection, language: Language) -> Iterator[Finding]:
    unreadable = rules.unreadable(conn)
    for rule_id, problem in unreadable.items():
        yield Finding(
            check="rules",
            subject=str(rule_id),
            verdict="error",
            found=either(
                language,
                en=f"cannot be read, so it fires for nobody: {problem}",
                fr=f"ne peut pas être lue, et ne passe donc pour personne : {problem}",
            ),
            advice=either(
                language,
                en="save it again, or upgrade relance where a newer version wrote it",
                fr="l'enregistrer de nouveau, ou mettre à jour relance si une version plus récente l'a écrite",
            ),
        )
    if not unreadable:
        count = len(rules.saved(conn))
        readable = either(language, en=f"{count} can be read", fr=f"{count} lisibles")
        yield Finding(check="rules", verdict="ok", found=readable, figures={"rules": count})


def _instance(conn: Connection, instance: str, language: Language) -> Iterator[Finding]:
    here = settings.read(conn)
    foreign = identity.why_foreign(here, instance)
    if foreign:
        found = either(language, en=f"{foreign}: nothing is mailed", fr=f"{foreign} : rien n'est envoyé")
    else:
        found = either(
            language,
            en=f"this host's, {'a test instance' if here.test_instance else 'production'}",
            fr=f"celle de cette machine, {'de test' if here.test_instance else 'de production'}",
        )
        if here.redirect_to:
            found += either(
                language,
                en=f", all mail goes to {here.redirect_to}",
                fr=f", tout courriel va à {here.redirect_to}",
            )
    yield Finding(
        check="database",
        subject="instance",
        verdict=verdict(error=foreign is not None),
        found=found,
        advice=either(
            language,
            en="relance instance show says what this is; relance instance adopt --because TEXT makes it this host's",
            fr="relance instance show dit ce que c'est ; relance instance adopt --because TEXTE en fait celle de cette"
            " machine",
        )
        if foreign
        else "",
        figures={"instance": here.instance_id, "host": identity.of_host(instance)},
    )


def _stopped(conn: Connection, language: Language) -> Iterator[Finding]:
    here = settings.read(conn)
    if here.stopped_because:
        yield Finding(
            check="mail",
            verdict="warning",
            found=either(
                language,
                en=f"all mail is stopped since {here.stopped_at:%Y-%m-%d %H:%M} UTC: {here.stopped_because}",
                fr=f"tout courriel est arrêté depuis le {here.stopped_at:%Y-%m-%d %H:%M} UTC : {here.stopped_because}",
            ),
            advice=either(
                language,
                en="once that is settled: relance resume --because TEXT",
                fr="une fois réglé : relance resume --because TEXTE",
            ),
        )


def _clock(conn: Connection, now: Callable[[], datetime], language: Language) -> Iterator[Finding]:
    """Leases and quarantines are counted on the database's clock, mails are dated by this machine's."""
    before = now()
    theirs = settings.database_now(conn)
    after = now()
    skew_s = (theirs - (before + (after - before) / 2)).total_seconds()
    apart = abs(skew_s)
    ahead = skew_s > 0
    yield Finding(
        check="clock",
        verdict=verdict(error=apart > _GRAVE_SKEW_S, warning=apart > _SKEW_S),
        found=either(
            language,
            en=f"the database's is {apart:.1f} s {'ahead of' if ahead else 'behind'} this machine's",
            fr=f"celle de la base {'avance' if ahead else 'retarde'} de {apart:.1f} s sur celle de cette machine",
        ),
        advice=""
        if apart <= _SKEW_S
        else either(
            language,
            en="let both machines follow a time server (chrony, systemd-timesyncd)",
            fr="faire suivre aux deux machines un serveur de temps (chrony, systemd-timesyncd)",
        ),
        figures={"skew_s": round(skew_s, 3), "round_trip_s": round((after - before).total_seconds(), 3)},
    )


def _business_clock(conn: Connection, now: Callable[[], datetime], language: Language) -> Iterator[Finding]:
    here = settings.read(conn)
    if here.clock_is_set:
        days = (here.business_now - now()).total_seconds() / 86400
        yield Finding(
            check="clock",
            subject="business",
            verdict="ok",
            found=either(
                language,
                en=f"this test instance stands at {here.business_now:%Y-%m-%d %H:%M} UTC, {days:+.1f} days from today",
                fr=f"cette instance de test en est au {here.business_now:%Y-%m-%d %H:%M} UTC, à {days:+.1f} jours"
                " d'aujourd'hui",
            ),
            figures={"days": round(days, 1)},
        )


def _zones(conn: Connection, language: Language) -> Iterator[Finding]:
    advice = either(
        language,
        en="install the system's time zone data (the package tzdata)",
        fr="installer les fuseaux horaires du système (le paquet tzdata)",
    )
    missing = {code: zone for code, zone in health.zones(conn).items() if not _is_known(zone)}
    known = len(available_timezones())
    for code, zone in missing.items():
        yield Finding(
            check="clock",
            subject=f"company {code}",
            verdict="error",
            found=either(
                language,
                en=f"this machine knows no time zone {zone}",
                fr=f"cette machine ne connaît pas le fuseau {zone}",
            ),
            advice=advice,
        )
    if not missing:
        yield Finding(
            check="clock",
            subject="time zones",
            verdict=verdict(warning=not known),
            found=either(language, en=f"{known} are known here", fr=f"{known} sont connus ici"),
            advice="" if known else advice,
            figures={"zones": known},
        )


def _is_known(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
