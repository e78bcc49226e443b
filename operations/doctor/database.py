"""The database: can it be reached, is it ours, and does it keep what it was told?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import psycopg

from operations.doctor.finding import Finding, guarded, verdict
from store import health, migrations, rules, settings
from store.connection import connect
from workers import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from store.connection import Connection

OLDEST_VERSION: Final = 15

# A scheduler's pool, and a worker's of four threads: workers/process.py.
_CONNECTIONS_OF_A_SCHEDULER: Final = 2
_CONNECTIONS_OF_A_WORKER: Final = 7
_SKEW_S: Final = 2.0
_GRAVE_SKEW_S: Final = 60.0


def database(url: str, now: Callable[[], datetime], instance: str = "") -> Iterator[Finding]:
    """All that the database tells; one finding where it does not answer. `now` is this machine's clock.

    `instance`: to which this host belongs, as the settings say it.
    """
    try:
        conn = connect(url)
    except psycopg.Error as error:
        yield Finding(
            check="database",
            verdict="error",
            found=f"cannot be reached: {_first_line(error)}",
            advice="start it, or correct DATABASE_URL: host, port, database, user, password",
        )
        return
    with conn:
        health.be_brief(conn)
        wanted, found = migrations.steps()[-1][0], migrations.version(conn)
        yield from guarded("database", "", lambda: _version(conn))
        yield _schema(found, wanted)
        yield from guarded("database", "durability", lambda: _durability(conn))
        yield from guarded("database", "connections", lambda: _connections(conn))
        yield from guarded("clock", "", lambda: _clock(conn, now))
        if found == wanted:
            for subject, look in (("rules", _rules), ("mail", _stopped)):
                yield from guarded("database", subject, lambda look=look: look(conn))  # type: ignore[misc]
            yield from guarded("database", "instance", lambda: _instance(conn, instance))
            yield from guarded("clock", "business", lambda: _business_clock(conn, now))
            yield from guarded("clock", "time zones", lambda: _zones(conn))


def _version(conn: Connection) -> Iterator[Finding]:
    told = health.parameters(conn)
    size_mb = health.size_bytes(conn) / 1e6
    old = int(told["server_version_num"]) < OLDEST_VERSION * 10_000
    foreign = told["server_encoding"] != "UTF8"
    advice = f"upgrade PostgreSQL to {OLDEST_VERSION} or newer" if old else ""
    yield Finding(
        check="database",
        verdict=verdict(error=old or foreign),
        found=f"PostgreSQL {told['server_version']}, {told['server_encoding']}, {size_mb:.1f} MB",
        advice="make the database with ENCODING 'UTF8'" if foreign and not old else advice,
        figures={"version": told["server_version"], "size_mb": round(size_mb, 1)},
    )


def _schema(found: int, wanted: int) -> Finding:
    advice = "run: relance migrate" if found < wanted else "upgrade relance on this machine"
    return Finding(
        check="database",
        subject="schema",
        verdict=verdict(error=found != wanted),
        found=f"at {found}, as this version wants it"
        if found == wanted
        else f"at {found}, this version wants {wanted}",
        advice="" if found == wanted else advice,
        figures={"schema": found, "wanted": wanted},
    )


def _durability(conn: Connection) -> Iterator[Finding]:
    """A promise that a crash forgets is broken: a mail that left would leave again."""
    told = health.parameters(conn)
    lost = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if told[name] == "off"]
    if lost:
        yield Finding(
            check="database",
            subject="durability",
            verdict="warning",
            found=f"{' and '.join(lost)} off: a crash may forget that a mail left, and it would leave again",
            advice=f"set {', '.join(f'{name} = on' for name in lost)} for this database",
        )
    isolation = told["default_transaction_isolation"]
    if isolation != "read committed":
        yield Finding(
            check="database",
            subject="isolation",
            verdict="warning",
            found=f"transactions are {isolation} by default: workers would fail on each other's rows",
            advice="set default_transaction_isolation = 'read committed' for this database and its user",
        )
    if not lost and isolation == "read committed":
        yield Finding(check="database", subject="durability", verdict="ok", found="what was committed outlives a crash")


def _connections(conn: Connection) -> Iterator[Finding]:
    told, used = health.parameters(conn), health.connections(conn)
    most = int(told["max_connections"])
    free = most - int(told["superuser_reserved_connections"]) - used
    workers = max(0, (free - _CONNECTIONS_OF_A_SCHEDULER) // _CONNECTIONS_OF_A_WORKER)
    yield Finding(
        check="database",
        subject="connections",
        verdict=verdict(warning=not workers),
        found=f"{used} of {most} are in use: room for a scheduler and {workers} more worker processes of 4 threads",
        advice="" if workers else "raise max_connections, or start fewer processes: each takes its threads + 3",
        figures={"max": most, "used": used, "free": free},
    )


def _rules(conn: Connection) -> Iterator[Finding]:
    unreadable = rules.unreadable(conn)
    for rule_id, problem in unreadable.items():
        yield Finding(
            check="rules",
            subject=str(rule_id),
            verdict="error",
            found=f"cannot be read, so it fires for nobody: {problem}",
            advice="save it again, or upgrade relance where a newer version wrote it",
        )
    if not unreadable:
        count = len(rules.saved(conn))
        yield Finding(check="rules", verdict="ok", found=f"{count} can be read", figures={"rules": count})


def _instance(conn: Connection, instance: str) -> Iterator[Finding]:
    here = settings.read(conn)
    foreign = identity.why_foreign(here, instance)
    kind = "a test instance" if here.test_instance else "production"
    redirected = f", all mail goes to {here.redirect_to}" if here.redirect_to else ""
    yield Finding(
        check="database",
        subject="instance",
        verdict=verdict(error=foreign is not None),
        found=f"{foreign}: nothing is mailed" if foreign else f"this host's, {kind}{redirected}",
        advice="relance instance show says what this is; relance instance adopt --because TEXT makes it this host's"
        if foreign
        else "",
        figures={"instance": here.instance_id, "host": identity.of_host(instance)},
    )


def _stopped(conn: Connection) -> Iterator[Finding]:
    here = settings.read(conn)
    if here.stopped_because:
        yield Finding(
            check="mail",
            verdict="warning",
            found=f"all mail is stopped since {here.stopped_at:%Y-%m-%d %H:%M} UTC: {here.stopped_because}",
            advice="once that is settled: relance resume --because TEXT",
        )


def _clock(conn: Connection, now: Callable[[], datetime]) -> Iterator[Finding]:
    """Leases and quarantines are counted on the database's clock, mails are dated by this machine's."""
    before = now()
    theirs = settings.database_now(conn)
    after = now()
    skew_s = (theirs - (before + (after - before) / 2)).total_seconds()
    apart = abs(skew_s)
    side = "ahead of" if skew_s > 0 else "behind"
    yield Finding(
        check="clock",
        verdict=verdict(error=apart > _GRAVE_SKEW_S, warning=apart > _SKEW_S),
        found=f"the database's is {apart:.1f} s {side} this machine's",
        advice="" if apart <= _SKEW_S else "let both machines follow a time server (chrony, systemd-timesyncd)",
        figures={"skew_s": round(skew_s, 3), "round_trip_s": round((after - before).total_seconds(), 3)},
    )


def _business_clock(conn: Connection, now: Callable[[], datetime]) -> Iterator[Finding]:
    here = settings.read(conn)
    if here.clock_is_set:
        days = (here.business_now - now()).total_seconds() / 86400
        yield Finding(
            check="clock",
            subject="business",
            verdict="ok",
            found=f"this test instance stands at {here.business_now:%Y-%m-%d %H:%M} UTC, {days:+.1f} days from today",
            figures={"days": round(days, 1)},
        )


def _zones(conn: Connection) -> Iterator[Finding]:
    missing = {code: zone for code, zone in health.zones(conn).items() if not _is_known(zone)}
    known = len(available_timezones())
    for code, zone in missing.items():
        yield Finding(
            check="clock",
            subject=f"company {code}",
            verdict="error",
            found=f"this machine knows no time zone {zone}",
            advice="install the system's time zone data (the package tzdata)",
        )
    if not missing:
        yield Finding(
            check="clock",
            subject="time zones",
            verdict=verdict(warning=not known),
            found=f"{known} are known here",
            advice="" if known else "install the system's time zone data (the package tzdata)",
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
