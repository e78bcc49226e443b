"""A backup comes back whole or not at all, and nothing leaves by mail after it before a person has looked."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operations.backup import BackupUnusable, backup, check
from operations.holds import resume, stop
from operations.restore import DatabaseInUse, WouldLose, restore, would_lose
from operations.users import set_password
from scripts.embedded import attached
from scripts.main import cli
from store import settings as instance
from store.connection import connect
from store.migrations import require_current, steps
from store.tables import counts, freeze, rows_of, sequences, tables
from tests.chasing import committed_chase, decided_run, doubt, one
from tests.test_schema import catalogue
from tests.trade import TODAY, invoice, open_trade

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from click.testing import Result

    from operations.backup import Manifest
    from operations.restore import Restored

ROOM = 10**9
PASSWORD = "cheval agrafe pile"  # noqa: S105 - a test's


@pytest.fixture
def lived_in(database_url: str) -> str:
    """A database with a bit of everything: a run with a mail in doubt, accents, bytes, a user with a password."""
    decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as conn:
        reminder = one(conn, "SELECT min(id) FROM reminders")
        assert isinstance(reminder, int)
        doubt(conn, reminder)
        set_password(conn, login="marie", password=PASSWORD, by="system")
        conn.execute("UPDATE customers SET postal_address = E'3 rue \\\\N\\tÉtroite\\n\\\\.\\n' WHERE number = 'C-1'")
        conn.execute("INSERT INTO attachments VALUES (sha256('a'), 'application/pdf', '\\x0a5c2e0a00ff')")
    return database_url


def content(url: str) -> dict[str, bytes]:
    """Every row of every table but the settings', as text."""
    with connect(url) as conn:
        freeze(conn)
        return {table.name: b"".join(rows_of(conn, table)) for table in tables(conn) if table.name != "settings"}


def backed_up(url: str, path: Path) -> Manifest:
    with connect(url) as conn:
        return backup(conn, path)


def restored(url: str, path: Path, *, replace: bool = False, by: str = "system") -> Restored:
    manifest = check(path, room_bytes=ROOM)
    with connect(url) as conn:
        return restore(conn, path, manifest, replace=replace, by=by)


def changed(path: Path, change: Callable[[dict[str, Any]], None], members: dict[str, bytes] | None = None) -> Path:
    """The backup with another manifest, or other members: as if somebody had a hand in it."""
    forged = path.with_name("forged.backup")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(forged, "w", zipfile.ZIP_DEFLATED) as new:
        manifest = json.loads(old.read("manifest.json"))
        change(manifest)
        for name in old.namelist():
            if name != "manifest.json":
                new.writestr(name, (members or {}).get(name, old.read(name)))
        new.writestr("manifest.json", json.dumps(manifest))
    return forged


def entry(manifest: dict[str, Any], table: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in manifest["tables"] if one["name"] == table)
    return found


# ---------------------------------------------------------------- out and in


def test_a_backup_comes_back_whole(lived_in: str, empty_database_url: str, tmp_path: Path) -> None:
    with connect(lived_in) as conn:
        shape, stand = catalogue(conn), sequences(conn)
    before = content(lived_in)
    manifest = backed_up(lived_in, tmp_path / "a.backup")
    assert manifest.rows["invoices"] == 6
    restored(empty_database_url, tmp_path / "a.backup")
    after = content(empty_database_url)
    journal = after.pop("journal")
    assert journal.startswith(before.pop("journal"))
    assert after == before
    with connect(empty_database_url) as conn:
        require_current(conn)
        assert catalogue(conn) == shape
        assert {name: at for name, at in sequences(conn).items() if name != "journal_id_seq"} == {
            name: at for name, at in stand.items() if name != "journal_id_seq"
        }


def test_life_goes_on_after_a_restore(lived_in: str, empty_database_url: str, tmp_path: Path) -> None:
    """Ids go on, triggers journal, and what was written down stays."""
    backed_up(lived_in, tmp_path / "a.backup")
    restored(empty_database_url, tmp_path / "a.backup")
    with connect(empty_database_url) as conn:
        before = counts(conn)
        invoice(conn, "FA-7")
        conn.execute("UPDATE invoices SET factored = true WHERE number = 'FA-7'")
        assert counts(conn)["journal"] == before["journal"] + 1
        assert one(conn, "SELECT row_version FROM invoices WHERE number = 'FA-7'") == 2
        with pytest.raises(psycopg.errors.ForeignKeyViolation), conn.transaction():
            conn.execute("UPDATE invoices SET customer_id = 999 WHERE number = 'FA-7'")
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            conn.execute("DELETE FROM journal")


@pytest.mark.parametrize("was_stopped", [True, False])
def test_no_mail_leaves_after_a_restore_before_a_person_says_so(
    lived_in: str, empty_database_url: str, tmp_path: Path, *, was_stopped: bool
) -> None:
    if was_stopped:
        with connect(lived_in) as conn:
            stop(conn, because="wrong price list", by="user:marie", today=TODAY)
    made = backed_up(lived_in, tmp_path / "a.backup")
    done = restored(empty_database_url, tmp_path / "a.backup", by="user:marie")
    with connect(empty_database_url) as conn:
        here = instance.read(conn)
        assert here.stopped_because == done.stopped_because
        assert "a.backup" in done.stopped_because
        assert f"{made.made_at:%Y-%m-%d %H:%M}" in done.stopped_because
        assert one(conn, "SELECT actor FROM journal ORDER BY id DESC LIMIT 1") == "user:marie"
        assert resume(conn, because="looked", by="user:marie", today=TODAY)


def test_what_is_written_during_a_backup_is_in_it_whole_or_not_at_all(
    lived_in: str, empty_database_url: str, tmp_path: Path
) -> None:
    """Invoices are read late in the alphabet of tables, customers before them: one instant holds for both."""
    written: list[int] = []

    def meanwhile(_rows: int) -> None:
        if not written:
            with connect(lived_in) as other:
                written.append(invoice(other, "FA-8"))

    with connect(lived_in) as conn:
        manifest = backup(conn, tmp_path / "a.backup", advanced=meanwhile)
    assert written
    assert manifest.rows["invoices"] == 6
    restored(empty_database_url, tmp_path / "a.backup")


def test_a_backup_of_an_older_schema_is_brought_to_this_one(
    lived_in: str, empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up(lived_in, tmp_path / "a.backup")
    later = tmp_path / "0002_later.sql"
    later.write_text("CREATE TABLE later (id integer PRIMARY KEY);\nINSERT INTO later VALUES (1);\n", encoding="utf-8")
    known = [*steps(), (2, later)]
    monkeypatch.setattr("store.migrations.steps", lambda: known)
    done = restored(empty_database_url, tmp_path / "a.backup")
    assert done.migrated == ("0002_later",)
    with connect(empty_database_url) as conn:
        require_current(conn)
        assert one(conn, "SELECT count(*) FROM later") == 1


def test_every_table_has_a_key_by_which_a_backup_orders_it(database_url: str) -> None:
    with connect(database_url) as conn:
        assert all(table.key for table in tables(conn))
        conn.execute("CREATE TABLE keyless (id integer)")
        with pytest.raises(LookupError, match="keyless"):
            tables(conn)


def test_a_backup_is_its_owners_alone_and_never_written_over_another(lived_in: str, tmp_path: Path) -> None:
    path = tmp_path / "a.backup"
    backed_up(lived_in, path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(BackupUnusable, match="there already"):
        backed_up(lived_in, path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.backup"]


@pytest.mark.parametrize("name", ["nowhere/a.backup", "a\x00b", "\ud800", ""])
def test_a_file_that_cannot_be_written_is_named(database_url: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(BackupUnusable):
        backed_up(database_url, tmp_path / name)


def test_a_backup_that_fails_midway_leaves_no_file(lived_in: str, tmp_path: Path) -> None:
    def fail(_rows: int) -> None:
        raise KeyboardInterrupt

    with connect(lived_in) as conn, pytest.raises(KeyboardInterrupt):
        backup(conn, tmp_path / "a.backup", advanced=fail)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- what is refused, and changes nothing


def test_data_are_not_replaced_unless_somebody_says_so(lived_in: str, database_url: str, tmp_path: Path) -> None:
    backed_up(lived_in, tmp_path / "a.backup")
    before = content(lived_in)
    with pytest.raises(WouldLose) as refused:
        restored(lived_in, tmp_path / "a.backup")
    assert refused.value.rows["invoices"] == 6
    assert content(lived_in) == before
    with connect(lived_in) as conn:
        invoice(conn, "FA-9")
    restored(lived_in, tmp_path / "a.backup", replace=True)
    assert content(lived_in)["invoices"] == before["invoices"]


def test_a_fresh_database_has_nothing_to_lose(database_url: str) -> None:
    with connect(database_url) as conn:
        stop(conn, because="not yet", by="system")
        assert would_lose(conn) == {}
        open_trade(conn)
        assert would_lose(conn)["customers"] == 1


def test_a_database_in_use_is_not_replaced(lived_in: str, tmp_path: Path) -> None:
    backed_up(lived_in, tmp_path / "a.backup")
    with psycopg.connect(lived_in), pytest.raises(DatabaseInUse):
        restored(lived_in, tmp_path / "a.backup", replace=True)


def test_nobody_restores_in_the_name_of_somebody_the_backup_does_not_know(
    lived_in: str, empty_database_url: str, tmp_path: Path
) -> None:
    backed_up(lived_in, tmp_path / "a.backup")
    with pytest.raises(Exception, match="no user 'eve'"):
        restored(empty_database_url, tmp_path / "a.backup", by="user:eve")
    with connect(empty_database_url) as conn:
        assert tables(conn) == []


@pytest.fixture
def good(lived_in: str, tmp_path: Path) -> Path:
    backed_up(lived_in, tmp_path / "good.backup")
    return tmp_path / "good.backup"


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_a_backup_that_was_cut_short_is_refused(good: Path, kept: float) -> None:
    whole = good.read_bytes()
    good.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(BackupUnusable, match="cut short"):
        check(good, room_bytes=ROOM)


def test_a_changed_row_is_found_before_anything_changes(good: Path) -> None:
    with zipfile.ZipFile(good) as archive:
        text = archive.read("tables/customers.copy")
    forged = changed(good, lambda _: None, {"tables/customers.copy": text.replace(b"Dupont", b"Durand")})
    with pytest.raises(BackupUnusable, match="customers is not what was written"):
        check(forged, room_bytes=ROOM)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda m: m.update(format="another backup 9"), "another format", id="another format"),
        pytest.param(lambda m: m.pop("schema"), "cannot be read", id="no schema"),
        pytest.param(lambda m: m.update(made_at="2026-11-24T10:00:00"), "cannot be read", id="no time zone"),
        pytest.param(lambda m: m.update(schema=True), "cannot be read", id="a schema that is no number"),
        pytest.param(lambda m: entry(m, "users").update(name="../users"), "cannot be read", id="a path as a table"),
        pytest.param(lambda m: entry(m, "users").update(bytes=-1), "cannot be read", id="a negative size"),
        pytest.param(lambda m: entry(m, "users").update(bytes=1), "not as its manifest says", id="another size"),
        pytest.param(lambda m: entry(m, "users").update(rows=7), "not what was written", id="other rows"),
        pytest.param(lambda m: m["tables"].pop(), "other files", id="a table too few"),
        pytest.param(lambda m: m["tables"].append(m["tables"][0]), "other files", id="a table twice"),
    ],
)
def test_a_manifest_that_does_not_tell_the_truth_is_refused(
    good: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    with pytest.raises(BackupUnusable, match=reason):
        check(changed(good, change), room_bytes=ROOM)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(schema=999), "upgrade relance"),
        (lambda m: entry(m, "users")["columns"].__setitem__(2, "nickname"), "other tables"),
        (lambda m: m["sequences"].pop("users_id_seq"), "other sequences"),
        (lambda m: entry(m, "users")["columns"].reverse(), "does not fit together"),
    ],
    ids=["newer", "column", "sequence", "order"],
)
def test_a_backup_that_does_not_fit_the_schema_changes_nothing(
    good: Path, database_url: str, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    before = content(database_url)
    with pytest.raises(BackupUnusable, match=reason):
        restored(database_url, changed(good, change), replace=True)
    assert content(database_url) == before


def test_a_file_that_changes_after_it_was_checked_is_found_out_before_anything_is_kept(
    good: Path, lived_in: str
) -> None:
    manifest = check(good, room_bytes=ROOM)
    with zipfile.ZipFile(good) as archive:
        text = archive.read("tables/customers.copy")
    changed(good, lambda _: None, {"tables/customers.copy": text.replace(b"Dupont", b"Durand")}).replace(good)
    before = content(lived_in)
    with connect(lived_in) as conn, pytest.raises(BackupUnusable, match="came out otherwise"):
        restore(conn, good, manifest, replace=True, by="system")
    assert content(lived_in) == before


def test_rows_with_a_loose_end_are_refused_though_every_hash_is_right(good: Path, database_url: str) -> None:
    """A hash says that nothing was changed on the way, not that it makes sense: the database's own rules do."""

    def without_customers(manifest: dict[str, Any]) -> None:
        entry(manifest, "customers").update(rows=0, bytes=0, sha256=sha256().hexdigest())

    forged = changed(good, without_customers, {"tables/customers.copy": b""})
    before = content(database_url)
    with pytest.raises(BackupUnusable, match="does not fit together"):
        restored(database_url, forged, replace=True)
    assert content(database_url) == before


def test_a_small_file_that_unpacks_to_a_large_one_is_refused_before_it_is_unpacked(good: Path) -> None:
    zeros = bytes(50_000_000)

    def enlarge(manifest: dict[str, Any]) -> None:
        entry(manifest, "users").update(bytes=len(zeros))

    forged = changed(good, enlarge, {"tables/users.copy": zeros})
    assert forged.stat().st_size < 1_000_000
    unpacked: list[int] = []
    with pytest.raises(BackupUnusable, match="there is room for"):
        check(forged, room_bytes=10_000_000, advanced=unpacked.append)
    assert unpacked == []


@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_no_backup(tmp_path: Path, noise: bytes) -> None:
    (tmp_path / "noise").write_bytes(noise)
    with pytest.raises(BackupUnusable):
        check(tmp_path / "noise", room_bytes=ROOM)


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_backup_with_some_bytes_changed_is_refused_or_still_says_the_same(good: Path, data: st.DataObject) -> None:
    whole = bytearray(good.read_bytes())
    manifest = check(good, room_bytes=ROOM)
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of them near the end, where the archive's directory is.
        start = data.draw(st.sampled_from([0, max(0, len(whole) - 4000)]))
        whole[data.draw(st.integers(start, len(whole) - 1))] = data.draw(st.integers(0, 255))
    mutated = good.with_name("mutated")
    mutated.write_bytes(whole)
    try:
        found = check(mutated, room_bytes=ROOM)
    except BackupUnusable:
        return
    assert found.tables == manifest.tables


# ---------------------------------------------------------------- at the command line, on private servers


def test_servers_of_ones_own_are_left_to_their_own_tools(database_url: str, redis_url: str, tmp_path: Path) -> None:
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    for command, tool in (("backup", "pg_dump"), ("restore", "pg_restore")):
        result = CliRunner().invoke(cli, [command, str(tmp_path / "a")], env=servers)
        assert result.exit_code == 1
        assert tool in result.stderr


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[..., Result]]:
    """Run commands on private servers in a folder of the test's own, which run until the test ends."""
    # Under root, the servers' account may not enter pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="relance-test-", dir="/tmp"))
    monkeypatch.setattr("scripts.embedded.default_folder", lambda: folder)

    def run(*arguments: object, exit_code: int = 0) -> Result:
        environment = {"DATABASE_URL": "", "REDIS_URL": "", "COLUMNS": "80", "NO_COLOR": "1", "TZ": "UTC"}
        result = CliRunner().invoke(cli, [str(one) for one in arguments], env=environment)
        assert result.exit_code == exit_code, result.output
        return result

    with attached(folder):
        yield run
    shutil.rmtree(folder)


def test_a_private_database_is_backed_up_and_restored_in_a_terminal(
    at_home: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "a.backup"
    at_home("user", "add", "marie", "--name", "Marie", "--email", "marie@nord.example")
    assert json.loads(at_home("backup", file, "--json").stdout)["schema"] == steps()[-1][0]
    assert "there already" in at_home("backup", file, exit_code=1).stderr
    at_home("user", "add", "paul", "--name", "Paul", "--email", "paul@nord.example")

    looked = at_home("restore", file)
    assert "--yes --replace" in looked.stderr
    assert "would be lost" in looked.stdout
    assert "--replace" in at_home("restore", file, "--yes", exit_code=1).stderr
    assert len(json.loads(at_home("user", "list", "--json").stdout)) == 2

    assert "ALL MAIL IS STOPPED" in at_home("restore", file, "--yes", "--replace").stderr
    assert [user["login"] for user in json.loads(at_home("user", "list", "--json").stdout)] == ["marie"]
    assert json.loads(at_home("status", "--json").stdout)["stopped"]


@pytest.mark.parametrize("name", ["", ".", "nothing.here"])
def test_a_file_that_is_no_backup_is_refused_in_one_line(at_home: Callable[..., Result], name: str) -> None:
    result = at_home("restore", name, "--yes", exit_code=1)
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_backup_mails_nothing_on_another_host_until_it_is_adopted(
    at_home: Callable[..., Result], tmp_path: Path
) -> None:
    def foreign() -> str | None:
        told = json.loads(at_home("instance", "show", "--json").stdout)["foreign"]
        assert told is None or isinstance(told, str)
        return told

    file = tmp_path / "a.backup"
    at_home("backup", file)
    at_home("restore", file, "--replace", "--yes")
    assert foreign() is None, "the host that it is of goes on with it, once somebody has resumed mail"
    host = Path(json.loads(at_home("instance", "show", "--json").stdout)["host_setting"].removeprefix("file:"))
    host.write_text("2f1c5a52-3a86-4c5c-9a7e-6f3f0f8e2b11\n")
    assert "this host belongs to 2f1c5a52" in str(foreign())
    assert "NOTHING IS MAILED" in at_home("status").stdout
    at_home("instance", "adopt", "--because", "the old machine is gone")
    assert foreign() is None
