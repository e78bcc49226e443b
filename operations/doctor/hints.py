"""Redis: it carries hints only, so nothing is lost with it but time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import redis

from operations.doctor.finding import Finding, guarded, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_S: Final = 5.0
_OLDEST_REDIS: Final = 7
_OLDEST_VALKEY: Final = 8
_NEARLY_FULL: Final = 0.9

# What Redis says of itself: names as INFO has them, values as the client reads them.
_Told = dict[str, Any]


def hints(url: str) -> Iterator[Finding]:
    """All that Redis tells; one finding where it does not answer."""
    try:
        with redis.Redis.from_url(url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S) as client:
            told: _Told = client.info()
            snapshots = _snapshots(client)
    except (redis.RedisError, ValueError, OSError) as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        yield Finding(
            check="redis",
            verdict="error",
            found=f"cannot be reached: {words[0]}",
            advice="start it, or correct REDIS_URL: host, port, password; until then nothing moves",
        )
        return
    yield from guarded("redis", "", lambda: _version(told))
    yield from guarded("redis", "persistence", lambda: _persistence(told, snapshots))
    yield from guarded("redis", "memory", lambda: _memory(told))


def _snapshots(client: redis.Redis) -> str | None:
    """When it writes a snapshot of itself; None where it does not tell (managed servers refuse CONFIG)."""
    try:
        answer = client.config_get("save")
    except redis.ResponseError:
        return None
    return str(answer.get("save", ""))


def _version(told: _Told) -> Iterator[Finding]:
    # Valkey tells its own version beside the one of the Redis that it began as.
    name, oldest = ("Valkey", _OLDEST_VALKEY) if "valkey_version" in told else ("Redis", _OLDEST_REDIS)
    version = str(told.get("valkey_version") or told.get("redis_version", "0"))
    old = int(version.partition(".")[0]) < oldest
    replica = told.get("role") in {"slave", "replica"}
    yield Finding(
        check="redis",
        verdict=verdict(error=old or replica),
        found=f"{name} {version}" + (", a replica, which takes no hints" if replica else ""),
        advice="name the primary in REDIS_URL" if replica else f"upgrade to {name} {oldest} or newer" if old else "",
        figures={"version": version},
    )


def _persistence(told: _Told, snapshots: str | None) -> Iterator[Finding]:
    appends = bool(told.get("aof_enabled"))
    failing = [
        what
        for what, key in (("the append-only file", "aof_last_write_status"), ("its snapshot", "rdb_last_bgsave_status"))
        if told.get(key, "ok") != "ok"
    ]
    advice = ""
    if failing:
        found = f"cannot write {' and '.join(failing)}: it may refuse all hints"
        advice = "give its disk room and its folder to its user; its log says which"
    elif appends:
        found = "an append-only file: hints outlive a restart"
    elif snapshots:
        found = f"snapshots (save {snapshots}): a restart forgets the latest hints, and they are given again"
    elif snapshots is None:
        found = "no append-only file, and it does not tell of snapshots"
    else:
        found = "none: a restart forgets all hints; they are rebuilt from the database, so mails are late, never lost"
        advice = "to save the delay: appendonly yes"
    yield Finding(
        check="redis",
        subject="persistence",
        verdict=verdict(error=bool(failing), warning=not appends and snapshots == ""),
        found=found,
        advice=advice,
        figures={"append_only": "yes" if appends else "no", "snapshots": snapshots},
    )


def _memory(told: _Told) -> Iterator[Finding]:
    used, most, policy = int(told["used_memory"]), int(told.get("maxmemory", 0)), str(told.get("maxmemory_policy", ""))
    evicts = most > 0 and policy != "noeviction"
    full = most > 0 and used > most * _NEARLY_FULL
    room = f" of {most / 1e6:.1f} MB" if most else ", without a limit"
    found = f"{used / 1e6:.1f} MB{room}"
    advice = ""
    if evicts:
        found += f"; {policy} drops hints when it is full: mails are late until they are given again"
        advice = "set maxmemory-policy noeviction, or give relance a Redis of its own"
    elif full:
        found += ": nearly full, and then it refuses hints"
        advice = "raise maxmemory, or see what else lives in this Redis"
    yield Finding(
        check="redis",
        subject="memory",
        verdict=verdict(warning=evicts or full),
        found=found,
        advice=advice,
        figures={"used_mb": round(used / 1e6, 1), "max_mb": round(most / 1e6, 1), "policy": policy},
    )
