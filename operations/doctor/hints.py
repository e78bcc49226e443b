"""Redis: it carries hints only, so nothing is lost with it but time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import redis

from operations.doctor.finding import Finding, either, guarded, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workflow.facts import Language

_PATIENCE_S: Final = 5.0
_OLDEST_REDIS: Final = 7
_OLDEST_VALKEY: Final = 8
_NEARLY_FULL: Final = 0.9

# What Redis says of itself: names as INFO has them, values as the client reads them.
_Told = dict[str, Any]


def hints(url: str, language: Language = "en") -> Iterator[Finding]:
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
            found=either(language, en=f"cannot be reached: {words[0]}", fr=f"injoignable : {words[0]}"),
            advice=either(
                language,
                en="start it, or correct REDIS_URL: host, port, password; until then nothing moves",
                fr="le démarrer, ou corriger REDIS_URL : hôte, port, mot de passe ; d'ici là rien n'avance",
            ),
        )
        return
    yield from guarded("redis", "", lambda: _version(told, language), language)
    yield from guarded("redis", "persistence", lambda: _persistence(told, snapshots, language), language)
    yield from guarded("redis", "memory", lambda: _memory(told, language), language)


def _snapshots(client: redis.Redis) -> str | None:
    """When it writes a snapshot of itself; None where it does not tell (managed servers refuse CONFIG)."""
    try:
        answer = client.config_get("save")
    except redis.ResponseError:
        return None
    return str(answer.get("save", ""))


def _version(told: _Told, language: Language) -> Iterator[Finding]:
    # Valkey tells its own version beside the one of the Redis that it began as.
    name, oldest = ("Valkey", _OLDEST_VALKEY) if "valkey_version" in told else ("Redis", _OLDEST_REDIS)
    version = str(told.get("valkey_version") or told.get("redis_version", "0"))
    old = int(version.partition(".")[0]) < oldest
    replica = told.get("role") in {"slave", "replica"}
    advice = ""
    if replica:
        advice = either(language, en="name the primary in REDIS_URL", fr="nommer le serveur primaire dans REDIS_URL")
    elif old:
        advice = either(
            language, en=f"upgrade to {name} {oldest} or newer", fr=f"passer à {name} {oldest} ou plus récent"
        )
    yield Finding(
        check="redis",
        verdict=verdict(error=old or replica),
        found=either(
            language,
            en=f"{name} {version}{', a replica, which takes no hints' if replica else ''}",
            fr=f"{name} {version}{', un réplica, qui ne prend aucune indication' if replica else ''}",
        ),
        advice=advice,
        figures={"version": version},
    )


def _persistence(told: _Told, snapshots: str | None, language: Language) -> Iterator[Finding]:
    appends = bool(told.get("aof_enabled"))
    failing = [
        what
        for what, key in (
            (either(language, en="the append-only file", fr="le fichier d'ajouts"), "aof_last_write_status"),
            (either(language, en="its snapshot", fr="son instantané"), "rdb_last_bgsave_status"),
        )
        if told.get(key, "ok") != "ok"
    ]
    advice = ""
    if failing:
        found = either(
            language,
            en=f"cannot write {' and '.join(failing)}: it may refuse all hints",
            fr=f"ne peut pas écrire {' ni '.join(failing)} : il refusera peut-être toute indication",
        )
        advice = either(
            language,
            en="give its disk room and its folder to its user; its log says which",
            fr="faire de la place sur son disque et donner son dossier à son utilisateur ; son journal dit lequel",
        )
    elif appends:
        found = either(
            language,
            en="an append-only file: hints outlive a restart",
            fr="un fichier d'ajouts : les indications survivent à un redémarrage",
        )
    elif snapshots:
        found = either(
            language,
            en=f"snapshots (save {snapshots}): a restart forgets the latest hints, and they are given again",
            fr=f"des instantanés (save {snapshots}) : un redémarrage oublie les dernières indications, qui sont"
            " redonnées",
        )
    elif snapshots is None:
        found = either(
            language,
            en="no append-only file, and it does not tell of snapshots",
            fr="aucun fichier d'ajouts, et il ne dit rien d'instantanés",
        )
    else:
        found = either(
            language,
            en="none: a restart forgets all hints; they are rebuilt from the database, so mails are late, never lost",
            fr="aucune : un redémarrage oublie toutes les indications ; la base de données les redonne, les courriels"
            " sont en retard, jamais perdus",
        )
        advice = either(language, en="to save the delay: appendonly yes", fr="pour éviter ce retard : appendonly yes")
    yield Finding(
        check="redis",
        subject="persistence",
        verdict=verdict(error=bool(failing), warning=not appends and snapshots == ""),
        found=found,
        advice=advice,
        figures={"append_only": "yes" if appends else "no", "snapshots": snapshots},
    )


def _memory(told: _Told, language: Language) -> Iterator[Finding]:
    used, most, policy = int(told["used_memory"]), int(told.get("maxmemory", 0)), str(told.get("maxmemory_policy", ""))
    evicts = most > 0 and policy != "noeviction"
    full = most > 0 and used > most * _NEARLY_FULL
    found = either(
        language,
        en=f"{used / 1e6:.1f} MB" + (f" of {most / 1e6:.1f} MB" if most else ", without a limit"),
        fr=f"{used / 1e6:.1f} Mo" + (f" sur {most / 1e6:.1f} Mo" if most else ", sans limite"),
    )
    advice = ""
    if evicts:
        found += either(
            language,
            en=f"; {policy} drops hints when it is full: mails are late until they are given again",
            fr=f" ; plein, {policy} jette des indications : les courriels attendent qu'elles soient redonnées",
        )
        advice = either(
            language,
            en="set maxmemory-policy noeviction, or give relance a Redis of its own",
            fr="mettre maxmemory-policy noeviction, ou donner à relance un Redis à lui",
        )
    elif full:
        found += either(
            language,
            en=": nearly full, and then it refuses hints",
            fr=" : presque plein ; il refuse alors les indications",
        )
        advice = either(
            language,
            en="raise maxmemory, or see what else lives in this Redis",
            fr="augmenter maxmemory, ou regarder ce qui vit d'autre dans ce Redis",
        )
    yield Finding(
        check="redis",
        subject="memory",
        verdict=verdict(warning=evicts or full),
        found=found,
        advice=advice,
        figures={"used_mb": round(used / 1e6, 1), "max_mb": round(most / 1e6, 1), "policy": policy},
    )
