"""The servers that tests run on: those that the environment names, or private ones, shared by all workers of a run.

Nothing that a named server holds is touched: databases are our own, created and dropped, and so is a logical database
of Redis, which must be empty.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis
from psycopg import sql

from scripts.embedded import attached
from store.connection import connect
from store.migrations import migrate
from tests.canaries import indiscretions
from tests.databases import Reused, administering, copied, drop, of_database
from workers.settings import read

if TYPE_CHECKING:
    from collections.abc import Generator

    from store.connection import Connection

FOLDER = "RELANCE_TEST_FOLDER"
pytest_plugins = ["pytester"]
OURS = "relance:tests"
REDIS_DATABASES = 16


def pytest_configure(config: pytest.Config) -> None:
    # The workers inherit the name; `throwaway` removes folders of this prefix that a killed run left behind.
    if not hasattr(config, "workerinput"):
        place = Path("/tmp" if os.geteuid() == 0 else tempfile.gettempdir())  # noqa: S108 - mkdtemp makes it private
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="relance-throwaway-tests-", dir=place)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        folder = Path(os.environ.pop(FOLDER))
        if (folder / ".s.PGSQL.5432").exists():  # a killed worker could not stop them
            with attached(folder):
                pass
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No test passes in which the product, or a process that it started, logged what no log may hold."""
    report = yield
    told = indiscretions(report.capstderr) if report.when == "teardown" else []  # which has all three parts' words
    if told:
        report.outcome = "failed"
        report.longrepr = "\n".join(("A log says whom a mail is for, or a secret:", *told))
    return report


@pytest.fixture(scope="session", autouse=True)
def instances_folder(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Where a test's host notes whose a named database is, which it would else do beside this user's own data."""
    folder = tmp_path_factory.mktemp("instances")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.caller._instances_folder", lambda: folder)
        yield folder


@pytest.fixture(scope="session")
def servers() -> Generator[tuple[str, str]]:
    """The PostgreSQL and the Redis that this run uses: two addresses, of databases that are not to be touched."""
    settings = read()
    if settings.embedded:
        with attached(Path(os.environ[FOLDER])) as private:
            yield private.database_url, private.redis_url
    else:
        yield settings.database_url, settings.redis_url


@pytest.fixture(scope="session")
def template(servers: tuple[str, str], testrun_uid: str, worker_id: str) -> Generator[str]:
    """The name of a migrated database from which this worker's others are made."""
    with administering(servers[0]) as server:
        name = f"relance_test_{testrun_uid[:12]}_{worker_id}"
        try:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            pytest.fail("the role of DATABASE_URL may not create databases: ALTER ROLE … CREATEDB", pytrace=False)
        try:
            with connect(of_database(servers[0], name)) as conn:
                migrate(conn)
            yield name
        finally:
            drop(server, name)


@pytest.fixture(scope="session")
def shared_database_url(servers: tuple[str, str], template: str) -> Generator[str]:
    """This worker's database of tests that roll back."""
    with administering(servers[0]) as server:
        yield from copied(server, servers[0], template, f"{template}_shared")


@pytest.fixture
def database(shared_database_url: str) -> Generator[Connection]:
    """A connection inside a transaction that is rolled back at the end: `conn.transaction()` is a savepoint in it."""
    with connect(shared_database_url) as conn, conn.transaction(force_rollback=True):
        yield conn  # a commit is refused: nothing of one test may be seen by another


@pytest.fixture(scope="session")
def own_database(servers: tuple[str, str], template: str) -> Generator[Reused]:
    with administering(servers[0]) as server:
        name = f"{template}_own"
        try:
            yield Reused(server, servers[0], template, name)
        finally:
            drop(server, name)


@pytest.fixture
def database_url(own_database: Reused) -> str:
    """A fresh, migrated database of the test's own, for more than one connection."""
    return own_database.fresh()


@pytest.fixture
def empty_database_url(servers: tuple[str, str], template: str) -> Generator[str]:
    """A fresh database without any schema."""
    with administering(servers[0]) as server:
        yield from copied(server, servers[0], "template1", f"{template}_empty")


@pytest.fixture
def redis_url(servers: tuple[str, str], worker_id: str) -> Generator[str]:
    """A logical database of Redis of this worker's own, empty."""
    with redis.Redis.from_url(servers[1]) as client:
        named = client.get_connection_kwargs().get("db", 0)
    free = [number for number in range(REDIS_DATABASES) if number != named]
    mine = free[int(worker_id.removeprefix("gw")) % len(free) if worker_id != "master" else 0]
    url = f"{servers[1].partition('?')[0]}?db={mine}"
    with redis.Redis.from_url(url) as client:
        if client.dbsize() and not client.exists(OURS):
            pytest.fail(
                f"the Redis database {mine} is not empty, and tests empty it: name another REDIS_URL", pytrace=False
            )
        client.flushdb()
        client.set(OURS, worker_id)
        yield url
        client.flushdb()
