"""Whose data a database holds: a fresh one is its host's, a copied or restored one mails nothing until adopted."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from operations import instance
from operations.companies import save_company
from scripts.caller import with_instance
from scripts.embedded import default_folder
from scripts.main import cli
from scripts.sink import Sink
from store import settings
from store.connection import connect, pool
from tests.chasing import NOW, committed_chase, decided_run, one, send_all
from tests.databases import administering, copied
from workers import identity
from workers.office import Office
from workers.relay import relay
from workers.scheduler import ClockWatch, fire_unless_jumped
from workers.settings import Settings, read
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.connection import Connection

MARIE = "user:marie"
ELSEWHERE = "2f1c5a52-3a86-4c5c-9a7e-6f3f0f8e2b11"


@pytest.fixture
def host(tmp_path: Path) -> str:
    """Where this host keeps to which instance it belongs."""
    return f"file:{tmp_path / 'kept' / 'instance'}"


@pytest.fixture
def conn(database_url: str, host: str) -> Iterator[Connection]:
    committed_chase(database_url)
    with connect(database_url) as opened:
        instance.adopt_fresh(opened, host)
        opened.commit()
        yield opened


def foreign(conn: Connection, host: str) -> str | None:
    return instance.show(conn, host).foreign


def test_a_fresh_database_is_its_hosts_without_a_word(conn: Connection, host: str) -> None:
    shown = instance.show(conn, host)
    assert shown.instance_id == shown.host_instance_id == identity.of_host(host)
    assert shown.foreign is None


def test_a_database_that_has_an_instance_is_not_adopted_by_the_way(conn: Connection, tmp_path: Path) -> None:
    another_host = f"file:{tmp_path / 'another'}"
    assert instance.adopt_fresh(conn, another_host) is None
    assert "to which this host does not belong" in str(foreign(conn, another_host))


def test_a_host_of_another_instance_is_told_both(conn: Connection) -> None:
    why = str(foreign(conn, ELSEWHERE))
    assert ELSEWHERE in why
    assert str(settings.read(conn).instance_id) in why


def test_one_more_host_joins_by_its_environment(conn: Connection) -> None:
    assert foreign(conn, str(settings.read(conn).instance_id)) is None


def test_a_copy_within_one_server_is_known_for_one(conn: Connection, host: str, database_url: str) -> None:
    conn.close()
    with administering(database_url.replace("_own", "")) as server:
        name = one(server, "SELECT current_database()")
        for url in copied(server, database_url, f"{name}_own", f"{name}_copy"):
            with connect(url) as copy:
                assert "is a copy, or was restored" in str(foreign(copy, host))
                assert instance.adopt(copy, host, because="to try rules", by=MARIE).foreign is None
    with connect(database_url) as original:
        assert "belongs to" in str(foreign(original, host)), "the host belongs to the copy now"


def test_adopting_is_journaled_with_its_reason(conn: Connection) -> None:
    instance.adopt(conn, ELSEWHERE, because="moved to a new server", by=MARIE)
    found = conn.execute(
        "SELECT actor, because, change -> 'instance_id' ->> 1 FROM journal WHERE subject = 'settings' ORDER BY id DESC"
    ).fetchone()
    assert found == (MARIE, "moved to a new server", ELSEWHERE)


def test_an_id_that_came_along_with_the_copy_does_not_tell_it_apart(conn: Connection) -> None:
    copied_along = str(settings.read(conn).instance_id)
    with pytest.raises(InvalidInput, match="copied with it"):
        instance.adopt(conn, copied_along, because="a copy", by=MARIE)


def test_nothing_is_adopted_without_a_reason(conn: Connection, host: str) -> None:
    with pytest.raises(InvalidInput, match="because"):
        instance.adopt(conn, host, because=" ", by=MARIE)


def test_a_foreign_database_gets_no_runs_no_hints_and_no_work(conn: Connection, database_url: str) -> None:
    class Given(list[str]):
        def waiting(self, queue: str) -> int:
            del queue
            return 0

        def give(self, actor: str, *ids: object) -> None:
            del ids
            self.append(actor)

    conn.commit()
    given = Given()
    with pool(database_url, actor="scheduler:test:1", size=2) as connections, connections.connection() as watching:
        watch = ClockWatch(settings.database_now(watching))
        assert fire_unless_jumped(connections, watch, instance=ELSEWHERE) == []
        assert relay(connections, given, Settings(instance=ELSEWHERE)) == 0
        assert not Office(pool=connections, settings=Settings(instance=ELSEWHERE)).is_ours()
    assert given == []


def test_a_mail_that_was_on_its_way_when_the_database_became_anothers_does_not_leave(
    database_url: str, host: str, tmp_path: Path
) -> None:
    with Sink(tmp_path / "sink") as sink:
        run_id = decided_run(database_url, committed_chase(database_url, port=sink.port))
        with connect(database_url) as conn:
            instance.adopt_fresh(conn, host)
        send_all(database_url, run_id)  # by a worker that belongs to no instance
        assert sink.mails() == []
    with connect(database_url) as conn:
        assert one(conn, "SELECT array_agg(DISTINCT state) FROM reminders") == ["due"]
        assert one(conn, "SELECT array_agg(DISTINCT step) FROM attempts") == ["withdrawn"]


def test_a_test_instance_sends_no_mail_of_rules_that_may_not_run_on_one(database_url: str) -> None:
    rule = committed_chase(database_url)
    run_id = decided_run(database_url, rule)
    with connect(database_url) as conn:
        conn.execute("UPDATE rule_versions SET definition = definition || '{\"on_test_instance\": false}'::jsonb")
    send_all(database_url, run_id)
    with connect(database_url) as conn:
        assert one(conn, "SELECT array_agg(DISTINCT state || fence) FROM reminders") == ["due0"], "not even claimed"


def test_a_test_that_goes_live_has_no_clock_and_no_redirection_any_more(conn: Connection, host: str) -> None:
    instance.make_test(conn, host, redirect_to="test@nord.example", because="trying", by=MARIE)
    shown = instance.end_test(conn, host, because="goes live", by=MARIE)
    here = settings.read(conn)
    assert (shown.test_instance, shown.redirect_to, here.clock_is_set) == (False, None, False)


def test_where_a_tests_mail_goes_is_an_address_and_not_in_the_journal(conn: Connection, host: str) -> None:
    with pytest.raises(InvalidInput, match="redirect"):
        instance.make_test(conn, host, redirect_to="nobody", because="trying", by=MARIE)
    instance.make_test(conn, host, redirect_to="test@nord.example", because="trying", by=MARIE)
    assert one(conn, "SELECT count(*) FROM journal WHERE change::text LIKE '%%test@nord%%'") == 0
    assert one(conn, "SELECT count(*) FROM journal WHERE change ? 'redirect_to'") == 1


def test_only_a_test_redirects(conn: Connection, host: str) -> None:
    shown = instance.make_test(conn, host, redirect_to=None, because="trying", by=MARIE)
    assert (shown.test_instance, shown.redirect_to) == (True, None)
    assert settings.read(conn).business_now == NOW


def test_a_tests_clock_is_the_companies(conn: Connection, host: str) -> None:
    shown = instance.set_clock(conn, host, at=datetime.fromisoformat("2026-07-01T09:00"), by=MARIE)
    assert shown.clock == datetime.fromisoformat("2026-07-01T09:00+02:00")
    shown = instance.set_clock(conn, host, at=datetime.fromisoformat("2026-07-01T09:00Z"), by=MARIE)
    assert shown.clock == datetime.fromisoformat("2026-07-01T09:00Z")


def test_companies_with_several_clocks_ask_for_a_time_zone(conn: Connection, host: str) -> None:
    save_company(conn, code="OUEST", name="Ouest SAS", zone="Indian/Reunion", by=MARIE)
    with pytest.raises(InvalidInput, match="time zone"):
        instance.set_clock(conn, host, at=datetime.fromisoformat("2026-07-01T09:00"), by=MARIE)


def test_only_a_test_has_a_clock_of_its_own(conn: Connection, host: str) -> None:
    instance.end_test(conn, host, because="goes live", by=MARIE)
    with pytest.raises(InvalidInput, match="only a test instance"):
        instance.set_clock(conn, host, at=NOW, by=MARIE)


def test_reports_leave_by_one_account_and_by_each_rules_own_again(conn: Connection, host: str) -> None:
    shown = instance.send_reports_by(conn, host, "sortie", because="one sender", by=MARIE)
    assert shown.report_account == "sortie"
    assert instance.send_reports_by(conn, host, None, because="no more", by=MARIE).report_account is None
    with pytest.raises(InvalidInput, match="account"):
        instance.send_reports_by(conn, host, "nobody", because="one sender", by=MARIE)
    changes = "SELECT count(*) FROM journal WHERE change ? 'report_account_id' AND actor = %s"
    assert one(conn, changes, MARIE) == 2


@pytest.mark.parametrize("setting", ["prod", "file:instance", "env:INSTANCE"])
def test_what_is_no_instance_is_refused_at_start(setting: str) -> None:
    with pytest.raises(InvalidInput, match="RELANCE_INSTANCE"):
        read({"RELANCE_INSTANCE": setting})


def test_an_id_in_the_environment_goes_before_the_hosts_file() -> None:
    assert with_instance(Settings(instance=ELSEWHERE), Path("/var/lib/relance")).instance == ELSEWHERE


def test_each_database_of_named_servers_has_a_file_of_its_own_however_it_is_written() -> None:
    urls = ("postgresql://u@db/relance", "postgresql://u@db:5432/relance", "postgresql://u@db/essai")
    first, same, other = (with_instance(Settings(database_url=url), None).instance for url in urls)
    assert first == same != other


def test_a_file_that_cannot_be_read_is_no_instance(tmp_path: Path) -> None:
    assert identity.of_host(f"file:{tmp_path}") is None
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert identity.of_host(f"file:{tmp_path / 'binary'}") is None


@pytest.mark.parametrize("written", ["{}", "{{{}}}", "urn:uuid:{}", "\n  {}\n\n"])
def test_an_id_is_the_same_however_a_person_writes_it(conn: Connection, tmp_path: Path, written: str) -> None:
    known = str(settings.read(conn).instance_id)
    (tmp_path / "instance").write_text(written.format(known.upper()))
    assert identity.of_host(f"file:{tmp_path / 'instance'}") == known
    assert foreign(conn, f"file:{tmp_path / 'instance'}") is None


def test_no_test_leaves_a_file_where_this_host_keeps_its_own(
    empty_database_url: str, redis_url: str, instances_folder: Path
) -> None:
    """What is not said where to be kept, as in most tests, is kept in a folder of the tests."""
    before = set(instances_folder.iterdir())
    servers = {"DATABASE_URL": empty_database_url, "REDIS_URL": redis_url}
    assert CliRunner().invoke(cli, ["migrate"], env=servers).exit_code == 0
    (kept,) = set(instances_folder.iterdir()) - before
    own = default_folder()
    assert not (own.with_name(f"{own.name}-instances") / kept.name).exists()


@pytest.mark.parametrize("text", ["", "production", "2f1c5a52-3a86-4c5c-9a7e"])
def test_a_file_that_holds_no_id_lets_nothing_leave_and_says_so(conn: Connection, tmp_path: Path, text: str) -> None:
    (tmp_path / "instance").write_text(text)
    assert "holds no instance's id" in str(foreign(conn, f"file:{tmp_path / 'instance'}"))
    conn.execute("UPDATE settings SET instance_id = NULL, instance_place = NULL")
    assert foreign(conn, f"file:{tmp_path / 'instance'}"), "a database that is nobody's is not this host's either"


def test_what_a_person_wrote_is_not_written_over_by_a_fresh_database(conn: Connection, tmp_path: Path) -> None:
    (tmp_path / "instance").write_text("production")
    conn.execute("UPDATE settings SET instance_id = NULL, instance_place = NULL")
    with pytest.raises(InvalidInput, match="mend that file, or remove it"):
        instance.adopt_fresh(conn, f"file:{tmp_path / 'instance'}")
    assert (tmp_path / "instance").read_text() == "production"


def test_a_copy_of_the_private_servers_folder_on_the_same_host_is_known_for_one(conn: Connection, host: str) -> None:
    kept = Path(host.removeprefix("file:"))
    copy = Path(shutil.copytree(kept.parent, kept.parent.with_name("copy"))) / kept.name
    shown = instance.show(conn, f"file:{copy}")
    assert "is a copy" in str(shown.foreign)
    assert str(copy) in shown.host_problem
    moved = kept.parent.rename(kept.parent.with_name("moved")) / kept.name
    assert foreign(conn, f"file:{moved}") is None, "a folder that is moved is the same one"
    assert instance.adopt(conn, f"file:{copy}", because="the old one is off", by=MARIE).foreign is None


@pytest.mark.parametrize("written", ["{}", "{}\n", "\n  {{{}}}\n\n"])
def test_a_file_that_does_not_say_where_it_is_does_so_once_mail_may_leave(
    conn: Connection, tmp_path: Path, written: str
) -> None:
    here = settings.read(conn)
    kept, copy = tmp_path / "instance", tmp_path / "copy"
    kept.write_text(written.format(here.instance_id))
    assert identity.is_ours(here, f"file:{kept}")
    shutil.copy(kept, copy)
    identity._note_place.cache_clear()  # noqa: SLF001 - another process starts
    assert identity.is_ours(here, f"file:{kept}")
    assert identity.of_host(f"file:{kept}") == here.instance_id
    assert "is a copy" in str(foreign(conn, f"file:{copy}"))


def test_a_file_of_another_instance_is_left_as_it_is(conn: Connection, tmp_path: Path) -> None:
    (tmp_path / "instance").write_text(ELSEWHERE)
    assert not identity.is_ours(settings.read(conn), f"file:{tmp_path / 'instance'}")
    assert (tmp_path / "instance").read_text() == ELSEWHERE
