"""Every example that ends a command's help does what it says: each is run on a small prepared database.

A new command's examples are found here by themselves. What they need beforehand is prepared by how they begin, in
PREPARED: one line a command, a sub-command, or an example.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click
import pytest
from click.testing import CliRunner

from operations.customers import save_customer
from operations.rules import activate
from operations.tags import save_tag
from scripts.main import COMMANDS, cli
from scripts.sink import Sink
from store.connection import connect
from tests.chasing import RULE, decided_run, doubt, fail, open_chase, send_all
from tests.conftest import FOLDER
from tests.databases import administering, copied
from tests.einvoice_files import cii, pdf
from tests.returned import bounce
from tests.telling import event, tell
from tests.terminal import PATIENCE_S, command, environment, terminal
from tests.trade import invoice, open_account

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from click.testing import Result

    from store.rules import SavedRule

# The id that examples name.
TWELVE: Final = 12

# What is written once they can be used. They run until they are stopped.
RUNNING: Final = {
    "up": "relance is up",
    "worker": "4 x 8 workers",
    "scheduler": "a scheduler",
    "web": "events are taken at",
    "sink": '{"port": ',
    "status --watch": "mails sent today",
    "runs 12 --watch": "Run 12 of Relance 1",
}
# Minutes, and servers of its own.
LONG: Final = {"demo"}


@dataclass(slots=True)
class World:
    """The prepared database, the folder that the example is typed in, and what is typed when it asks."""

    url: str
    redis_url: str
    folder: Path
    rule: SavedRule
    stack: ExitStack
    environment: dict[str, str] = field(init=False)
    typed: str = ""

    def __post_init__(self) -> None:
        self.environment = {
            "DATABASE_URL": self.url,
            "REDIS_URL": self.redis_url,
            "RELANCE_INSTANCE": f"file:{self.folder}/instance",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "80",
            "ERP_SECRET": "whsec_" + "A" * 32,
            "RELANCE_EVENT_SECRETS": "env:ERP_SECRET",
        }

    def relance(self, *words: str) -> Result:
        return CliRunner().invoke(cli, words, env=self.environment)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(text, encoding="utf-8")

    def execute(self, statement: str) -> None:
        with connect(self.url) as conn:
            conn.execute(statement.encode())


# ------------------------------------------------------------------ what each needs beforehand


def twelfth_run(world: World) -> None:
    """Run 12 has one mail due, reminder 12."""
    for table in ("runs", "reminders"):
        world.execute(f"ALTER TABLE {table} ALTER id RESTART WITH {TWELVE}")
    assert decided_run(world.url, world.rule) == TWELVE


def a_sink(world: World) -> None:
    """All accounts send to a sink."""
    sink = world.stack.enter_context(Sink(world.folder / "sink"))
    world.execute(f"UPDATE mail_accounts SET host = '127.0.0.1', port = {sink.port}, security = 'plain'")


def twelve_sent(world: World) -> None:
    a_sink(world)
    twelfth_run(world)
    assert TWELVE in send_all(world.url, TWELVE)


def twelve_failed(world: World) -> None:
    twelfth_run(world)
    with connect(world.url) as conn:
        fail(conn, TWELVE)


def twelve_held(world: World) -> None:
    twelfth_run(world)
    held = world.relance("hold", "run", str(TWELVE), "--because", "x")
    assert held.exit_code == 0, held.output


def a_suppressed_address(world: World) -> None:
    world.execute("INSERT INTO suppressed_addresses (email, because) VALUES ('compta@grand.example', 'no_mailbox')")


def twelve_in_doubt(world: World) -> None:
    twelfth_run(world)
    with connect(world.url) as conn:
        doubt(conn, TWELVE)


def twelfth_batch(world: World) -> None:
    world.execute(f"ALTER TABLE batches ALTER id RESTART WITH {TWELVE}")
    done = world.relance("batch", "--invoices", "FA-1", "--add-tag", "litige", "--because", "x", "--yes")
    assert done.exit_code == 0, done.output


def a_rule_file(world: World) -> None:
    assert world.relance("rules", "export", "rules.yaml").exit_code == 0


def a_user(world: World) -> None:
    done = world.relance("user", "add", "claire", "--name", "Claire", "--email", "claire@nord.example")
    assert done.exit_code == 0, done.output


def a_user_who_types(world: World) -> None:
    """Her new password is asked for twice."""
    a_user(world)
    world.typed = "cheval agrafe pile\n" * 2


def at_home(world: World) -> None:
    """No servers are named: the private ones are used, in a folder of the test's."""
    folder = Path(tempfile.mkdtemp(prefix="relance-throwaway-", dir=Path(os.environ[FOLDER]).parent))
    for place in (folder, folder.with_name(f"{folder.name}-demo")):
        world.stack.callback(shutil.rmtree, place, ignore_errors=True)
    patched = world.stack.enter_context(pytest.MonkeyPatch.context())
    patched.setattr("scripts.embedded.default_folder", lambda: folder)
    world.environment |= {"DATABASE_URL": "", "REDIS_URL": ""}


def a_backup(world: World) -> None:
    at_home(world)
    done = world.relance("backup", "relance-2026-11-24.backup")
    assert done.exit_code == 0, done.output


def files_of_another_system(world: World) -> None:
    world.write("customers.csv", "numéro;nom;courriel\nC2001;Nouveau SARL;compta@nouveau.example\n")
    world.write(
        "invoices.csv",
        "société;client;numéro;date;échéance;total\n"
        "NORD;C1042;FA-2026-0100;2026-10-01;2026-10-31;120,00\nNORD;C1042;FA-2026-0101;2026-10-13;2026-11-12;60,50\n",
    )


def a_mapping(world: World) -> None:
    files_of_another_system(world)
    words = ("--kind", "invoices", "--currency", "EUR", "--save-mapping", "invoices.yaml")
    done = world.relance("import", "invoices.csv", *words)
    assert done.exit_code == 0, done.output


def some_mails(world: World) -> None:
    world.write("mails/1.eml", "From: a@client.example\nSubject: Merci\n\nBien reçu.\n")


def a_bounce(world: World) -> None:
    """The mail of the twelfth run came back, to a maildir that is read."""
    for name in ("new", "cur"):
        (world.folder / "mails" / name).mkdir(parents=True)
    with connect(world.url) as conn:
        place = {"maildir": str(world.folder / "mails")}
        open_account(conn, "sortie", host="127.0.0.1", port=2525, security="plain", mailbox=place)
    twelve_sent(world)
    with connect(world.url) as conn:
        message_id, address = conn.execute("SELECT message_id, recipient FROM reminders").fetchall()[0]
    (world.folder / "mails" / "new" / "1.relay").write_bytes(bounce(message_id, address))


def twelfth_task(world: World) -> None:
    world.execute(f"ALTER TABLE tasks ALTER id RESTART WITH {TWELVE}")
    a_bounce(world)
    done = world.relance("bounces", "read")
    assert done.exit_code == 0, done.output


def twelfth_event(world: World) -> None:
    """An event of a company that nobody has made."""
    world.execute(f"ALTER TABLE inbox ALTER id RESTART WITH {TWELVE}")
    with connect(world.url) as conn:
        tell(conn, event("source.heartbeat", {"company": "SUD"}, time="2026-11-24T12:00:00Z"))


def electronic_invoices(world: World) -> None:
    (world.folder / "FA-2026-0100.pdf").write_bytes(pdf({"factur-x.xml": cii(buyer_id="C1042", buyer="Grand Client")}))
    (world.folder / "FA-2026-0101.xml").write_bytes(cii(number="FA-2026-0101", buyer_id="C1042", buyer="Grand Client"))


PREPARED: Final[dict[str, Callable[[World], None]]] = {
    "demo": at_home,
    "runs": twelfth_run,
    "outbox": twelve_sent,
    "replay": twelve_failed,
    "resolve": twelve_in_doubt,
    "refuse-run": twelve_held,
    "unsuppress": a_suppressed_address,
    "undo": twelfth_batch,
    "rules check": a_rule_file,
    "rules import": a_rule_file,
    "user change": a_user,
    "user activate": a_user,
    "user deactivate": a_user,
    "user password": a_user_who_types,
    "backup": at_home,
    "restore": a_backup,
    "bounces classify": some_mails,
    "bounces read": a_bounce,
    "tasks": twelfth_task,
    "events": twelfth_event,
    "import": files_of_another_system,
    "import invoices.csv --mapping": a_mapping,
    "doctor": a_sink,
    "einvoice": electronic_invoices,
}

# ------------------------------------------------------------------ they are run


def commands(name: str) -> Iterator[tuple[str, click.Command]]:
    """A command and its sub-commands, by the words that are typed."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    yield from below(name, command)


def below(typed: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield typed, command
    for name, one in (command.commands if isinstance(command, click.Group) else {}).items():
        yield from below(f"{typed} {name}", one)


EXAMPLES: Final = [
    pytest.param(example, marks=pytest.mark.long if name in LONG else ())
    for name, entry in COMMANDS.items()
    for example in entry.examples
]


@pytest.fixture(scope="module")
def prepared(servers: tuple[str, str], template: str) -> Generator[tuple[str, SavedRule]]:
    """The name of a database with a chase in it, from which each example's is made."""
    with administering(servers[0]) as server:
        name = f"{template}_examples"
        made = copied(server, servers[0], template, name)
        url = next(made)
        with connect(url) as conn:
            rule = open_chase(conn)
            save_customer(conn, number="C1042", name="Grand Client", email="compta@grand.example", by="user:marie")
            invoice(conn, "FA-2026-0042", customer="C1042")
            save_tag(conn, title="litige", by="user:marie")
            activate(conn, rule=RULE, by="user:marie", now=datetime(2026, 11, 24, 13, tzinfo=UTC))
        yield name, rule
        made.close()


@pytest.fixture
def world(
    servers: tuple[str, str],
    prepared: tuple[str, SavedRule],
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Generator[World]:
    monkeypatch.chdir(tmp_path)
    template, rule = prepared
    with administering(servers[0]) as server:
        made = copied(server, servers[0], template, f"{template}_one")
        with ExitStack() as stack:
            yield World(url=next(made), redis_url=redis_url, folder=tmp_path, rule=rule, stack=stack)
        made.close()


Kept = TypeVar("Kept")


def of_example(kept: Mapping[str, Kept], example: str) -> Kept | None:
    """What is kept under the longest beginning of the example."""
    listed = [words for words in kept if f"{example} ".startswith(f"relance {words} ")]
    return kept[max(listed, key=len)] if listed else None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_does_what_it_says(world: World, example: str) -> None:
    words = shlex.split(example)
    assert words[0] == "relance"
    if prepare := of_example(PREPARED, example):
        prepare(world)
    if ready := of_example(RUNNING, example):
        run_until_ready(world, words[1:], ready)
        return
    typed, shell = (words[: words.index(">")], True) if ">" in words else (words, False)
    if world.typed:
        run_in_a_terminal(world, typed[1:])
        return
    result = world.relance(*typed[1:])
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes or (result.stderr and not shell), "something is said, and written where a file is named"


def run_in_a_terminal(world: World, words: list[str]) -> None:
    named = environment(world.url, world.redis_url) | world.environment
    with terminal(command(*words), named, stderr_apart=False) as shown:
        for line in world.typed.splitlines():
            shown.until(lambda seen: seen.rstrip().endswith(b":"))
            shown.type(f"{line}\n")
        assert shown.process.wait(PATIENCE_S) == 0, shown.written.decode()


def run_until_ready(world: World, words: list[str], ready: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    words = [port if word in {"2525", "8000"} else word for word in words]  # somebody may be there
    log = world.folder / "log"
    with log.open("wb") as file:
        running = subprocess.Popen(
            command(*words), stdout=file, stderr=file, env=environment(world.url, world.redis_url) | world.environment
        )
        try:
            give_up_at = time.monotonic() + PATIENCE_S
            while ready not in log.read_text():
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < give_up_at, log.read_text()
                time.sleep(0.05)
            running.send_signal(signal.SIGTERM)
            assert running.wait(PATIENCE_S) == 0, log.read_text()
        finally:
            running.kill()
            running.wait()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_the_examples_of_each_command_and_sub_command(name: str) -> None:
    for typed, _ in commands(name):
        result = CliRunner().invoke(cli, [*typed.split(), "--help"])
        assert result.exit_code == 0
        last = result.stdout.rstrip().rpartition("Example")[2]
        shown = re.findall(r"^ +(relance .*)$", last, re.MULTILINE)
        assert shown, f"relance {typed} has no example"
        assert all(f"{one} ".startswith(f"relance {typed} ") for one in shown)
        assert last.splitlines()[-1].strip() == shown[-1], "nothing follows them"


def test_nothing_is_prepared_for_what_is_no_example() -> None:
    examples = [f"{example} " for entry in COMMANDS.values() for example in entry.examples]
    for words in (*PREPARED, *RUNNING, *LONG):
        assert any(example.startswith(f"relance {words} ") for example in examples), words
