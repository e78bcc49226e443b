"""The tutorial is typed as a newcomer types it, command by command, and shows what it says.

Every block of `sh` is typed into one shell, in a folder of the test's own. The block of `text` that follows is what all
of its commands write; `…` on a line of its own stands for any lines, within a line for any text. A command that ends in
`# exit code N` is refused, others are not.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from scripts.embedded import attached, in_use
from scripts.sink import read_journal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

ROOT: Final = Path(__file__).resolve().parents[1]
# The pages, and the language of the terminal in which each is read.
PAGES: Final = {"tutorial.md": "C.UTF-8", "tutoriel.md": "fr_FR.UTF-8"}
PLACE: Final = "/tmp/relance-tutorial"  # noqa: S108 - as the pages have it; the test has another
PATIENCE_S: Final = 60
LOOK_AGAIN_S: Final = 0.5
# Commands that only look: where something is still under way, a reader looks again.
LOOKING: Final = ("relance runs", "relance outbox", "relance status", "ls ")
DONE: Final = "the command has ended with"
OWN: Final = ("RELANCE_", "DATABASE_URL", "REDIS_URL", "LC_", "LANG", "COLUMNS", "NO_COLOR", "FORCE_COLOR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What is typed, and what is seen then where the page shows it; `line`: where it begins in the page."""

    line: int
    typed: str
    shown: str | None


def blocks(page: str) -> Iterator[Block]:
    """The page's blocks of `sh`, each with the block of `text` that follows it at once."""
    fenced = re.compile(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
    for found in fenced.finditer(page):
        yield Block(line=page.count("\n", 0, found.start()) + 2, typed=found[1], shown=found[2])


def commands(typed: str) -> Iterator[str]:
    """The block's commands, each with its here-document."""
    lines = iter(typed.splitlines())
    for line in lines:
        command = line
        if here := re.search(r"<<'(\w+)'", line):
            for more in lines:
                command += f"\n{more}"
                if more == here[1]:
                    break
        yield command


def as_typed(page: str) -> list[str]:
    """All that is typed, reasons and comments left out: they are in the page's language."""
    return [
        re.sub(r'--because "[^"]*"|#.*', "", command) for block in blocks(page) for command in commands(block.typed)
    ]


def pattern(shown: str) -> re.Pattern[str]:
    """What matches it: `…` is any text, a line of it any lines."""
    lines = [
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in plain(shown).split("\n")
    ]
    return re.compile("".join(lines))


def plain(text: str) -> str:
    """Without what cannot be seen: spaces at the ends of lines, empty lines around, and which kind of space it is."""
    return "\n".join(line.rstrip() for line in re.sub("[\u00a0\u202f]", " ", text).split("\n")).strip("\n")


class Shell:
    """The terminal of the page's reader."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        bash = shutil.which("bash")
        assert bash is not None
        self._process = subprocess.Popen(
            [bash, "--noprofile", "--norc"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def type(self, command: str) -> tuple[int, str]:
        """The command's exit code, and what was written until it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '{DONE} %d\\n' $?\n".encode())
        self._process.stdin.flush()
        seen, give_up_at = b"", time.monotonic() + PATIENCE_S
        while not (ended := re.search(rb"%s (\d+)\n" % DONE.encode(), seen)):
            left_s = give_up_at - time.monotonic()
            if not select.select([self._process.stdout], [], [], max(0.0, left_s))[0]:
                pytest.fail(f"{command}\ndoes not end; it wrote\n{seen.decode()}")
            more = os.read(self._process.stdout.fileno(), 65536)
            assert more, f"{command}\nended the shell: {seen.decode()}"
            seen += more
        return int(ended[1]), seen[: ended.start()].decode()

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.communicate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who types a page. `stand_ins`: what the test types instead of what the page has."""

    shell: Shell
    folder: Path
    stand_ins: Mapping[str, str]

    def follow(self, block: Block) -> str:
        """Type the block's commands and return what is seen; again, where they only look and it is not there yet."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            seen = "".join(self._type(command) for command in commands(block.typed))
            if block.shown is None or pattern(block.shown).fullmatch(f"{plain(seen)}\n"):
                return seen
            looks = all(command.startswith(LOOKING) for command in commands(block.typed))
            if not looks or time.monotonic() > give_up_at:
                pytest.fail(f"line {block.line} of the page shows\n{block.shown}\nand this is seen:\n{seen}")
            time.sleep(LOOK_AGAIN_S)

    def _type(self, command: str) -> str:
        typed = command
        for written, instead in self.stand_ins.items():
            typed = typed.replace(written, instead)
        expected = re.search(r"# exit code (\d)", command)
        code, seen = self.shell.type(typed)
        assert code == int(expected[1] if expected else 0), f"{command}\nexit code {code}:\n{seen}"
        return seen


@pytest.fixture
def folder() -> Generator[Path]:
    """Where the tutorial is lived through; under root, the servers' account may not enter pytest's own folders."""
    made = Path(tempfile.mkdtemp(prefix="relance-tutorial-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    if (made / "data").exists():  # the page was left half-way
        give_up_at = time.monotonic() + PATIENCE_S
        while in_use(made / "data") and time.monotonic() < give_up_at:
            time.sleep(0.1)
        with attached(made / "data"):
            pass
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def reader(request: pytest.FixtureRequest, folder: Path) -> Generator[Reader]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(OWN)},
        "LANG": PAGES[request.param],
        "TZ": "Europe/Paris",
        "COLUMNS": "80",
        "PYTHONUNBUFFERED": "1",  # what is written to a terminal appears in its order
    }
    shell = Shell(environment)
    programs = str(Path(sys.executable).parent)
    stand_ins = {"./run setup": "true", "$PWD/.venv/bin": programs, PLACE: str(folder), "2525": port}
    yield Reader(shell=shell, folder=folder, stand_ins=stand_ins)
    shell.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("reader", "page"),
    [("tutorial.md", "tutorial.md"), pytest.param("tutoriel.md", "tutoriel.md", marks=pytest.mark.long)],
    indirect=["reader"],
)
def test_a_newcomer_can_follow_the_page(reader: Reader, page: str) -> None:
    *steps, clearing_up = blocks((ROOT / "docs" / page).read_text(encoding="utf-8"))
    for block in steps:
        reader.follow(block)
    mails = list(read_journal(reader.folder / "mailbox" / "journal.jsonl"))
    reader.follow(clearing_up)
    assert not reader.folder.exists()
    assert sorted(address for mail in mails for address in mail.to if address != "marie@morel.example") == [
        "compta@valfleury.example", "compta@valfleury.example", "garage@etoile.example", "garage@etoile.example",
        "garage@etoile.example",
        "jeanne@lenoir.example", "jeanne@lenoir.example", "jeanne@lenoir.example",
    ]  # fmt: skip


def test_the_pages_type_the_same() -> None:
    english, french = (as_typed((ROOT / "docs" / page).read_text(encoding="utf-8")) for page in PAGES)
    assert english == french


@pytest.mark.parametrize("page", PAGES)
def test_no_block_of_a_page_is_left_out(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = list(blocks(text))
    assert len(found) == text.count("```sh\n") > 20
    assert sum(block.shown is not None for block in found) == text.count("```text\n") > 10
    assert text.count("```") == 2 * (text.count("```sh\n") + text.count("```text\n"))


def test_what_is_shown_is_held_against_what_is_seen() -> None:
    shown = pattern("run  rule\n…\n  1  Relance 1  …  closed")
    assert shown.fullmatch("run  rule\n  2  Relance 2\n  1  Relance 1  09:00  closed\n")
    assert shown.fullmatch("run  rule\n  1  Relance 1  09:00  closed\n")
    assert not shown.fullmatch("run  rule\n  1  Relance 1  09:00  open\n")
    assert not shown.fullmatch("run  rule\n  1  Relance 1  09:00  closed\n  0  Relance 0\n")
