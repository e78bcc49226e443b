"""The `relance` command. Each command's file is loaded only when it is asked for, so that help comes at once."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import click

from scripts.caller import Caller
from scripts.exits import REFUSED
from scripts.printing import clean
from workflow.errors import RelanceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


# A NUL, and what Python makes of bytes that are no UTF-8.
_NO_CHARACTER = re.compile("[\0\ud800-\udfff]")
_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LOCKED = "55P03"  # lock_not_available: what store.connection's lock_timeout ends


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, what it does in a line, and the examples that end its help, its sub-commands' among them.

    tests/test_cli_examples.py runs each of them.
    """

    place: str
    summary: str
    examples: tuple[str, ...]


COMMANDS: Final[dict[str, Entry]] = {
    "demo": Entry("scripts.demo:demo", "Show the whole product at work in a minute.", ("relance demo",)),
    "up": Entry("scripts.commands.serving:up", "Run everything on this machine.", ("relance up --processes 2",)),
    "worker": Entry("scripts.commands.serving:worker", "Run workers.", ("relance worker --processes 4 --threads 8",)),
    "scheduler": Entry("scripts.commands.serving:scheduler", "Run a scheduler.", ("relance scheduler",)),
    "web": Entry("scripts.commands.serving:web", "Take in events by HTTP.", ("relance web --port 8000",)),
    "migrate": Entry("scripts.commands.serving:migrate", "Bring the database up to date.", ("relance migrate",)),
    "status": Entry(
        "scripts.commands.standing:status",
        "Show how everything stands.",
        ("relance status --json", "relance status --watch --every 5"),
    ),
    "rules": Entry(
        "scripts.commands.rules:rules",
        "Look at rules, check them, keep them in a file.",
        (
            "relance rules list",
            'relance rules show "Relance 1" --lang fr',
            "relance rules next --days 14",
            "relance rules export rules.yaml",
            "relance rules check rules.yaml",
            'relance rules import rules.yaml --because "firmer texts"',
            'relance rules activate "Relance 1"',
            'relance rules deactivate "Relance 1"',
        ),
    ),
    "preview": Entry(
        "scripts.commands.running:preview",
        "Show what a rule would send.",
        ('relance preview "Relance 1" --on 2026-12-01',),
    ),
    "run": Entry("scripts.commands.running:run", "Run a rule by hand.", ('relance run "Relance 1" --yes',)),
    "runs": Entry(
        "scripts.commands.running:runs", "List runs, or tell one.", ("relance runs 12", "relance runs 12 --watch")
    ),
    "explain": Entry(
        "scripts.commands.explaining:explain",
        "Say why an invoice is reminded, or why not.",
        ("relance explain FA-2026-0042 --lang fr",),
    ),
    "outbox": Entry(
        "scripts.commands.mailing:outbox", "Show each reminder as it left.", ("relance outbox 12 --eml > reminder.eml",)
    ),
    "replay": Entry(
        "scripts.commands.mailing:replay",
        "Send failed reminders again.",
        ('relance replay --error 554 --because "server mended" --max 100 --yes',),
    ),
    "resolve": Entry(
        "scripts.commands.mailing:resolve",
        "Settle a reminder in doubt.",
        ('relance resolve 12 --arrived --because "the customer has it" --yes',),
    ),
    "hold": Entry(
        "scripts.commands.holding:hold",
        "Hold back a rule, account, customer, invoice or run.",
        ('relance hold customer C1042 --because "being negotiated"',),
    ),
    "release": Entry(
        "scripts.commands.holding:release",
        "Let go of what is held.",
        ('relance release customer C1042 --because "agreed"',),
    ),
    "refuse-run": Entry(
        "scripts.commands.holding:refuse_run",
        "Let a held run end unsent.",
        ('relance refuse-run 12 --because "imported twice" --yes',),
    ),
    "stop": Entry(
        "scripts.commands.holding:stop", "Stop all mail at once.", ('relance stop --because "wrong price list"',)
    ),
    "resume": Entry(
        "scripts.commands.holding:resume", "Let mail leave again.", ('relance resume --because "corrected"',)
    ),
    "audit": Entry(
        "scripts.commands.auditing:audit",
        "Work out anew who should have been reminded.",
        ("relance audit --days 14",),
    ),
    "heartbeat": Entry(
        "scripts.commands.heartbeats:heartbeat",
        "Say that a company's payments are all here.",
        ("relance heartbeat NORD",),
    ),
    "instance": Entry(
        "scripts.commands.instances:instance",
        "Say whose data the database holds.",
        (
            "relance instance show",
            'relance instance adopt --because "moved to a new server, the old one is off"',
            'relance instance test on --redirect me@example.com --because "a copy to try rules with"',
            "relance instance test clock 2026-03-02T10:00",
            'relance instance reports comptabilité --because "one sender for all"',
            'relance instance test off --because "goes live"',
        ),
    ),
    "doctor": Entry(
        "scripts.commands.doctor:doctor",
        "Look everything over, and say what to do.",
        ("relance doctor --to me@example.com",),
    ),
    "user": Entry(
        "scripts.commands.users:user",
        "Say who works with relance.",
        (
            'relance user add claire --name "Claire Vasseur" --email claire@example.com --role administrator',
            "relance user change claire --role accountant --language en",
            "relance user password claire",
            "relance user list",
            "relance user deactivate claire",
            "relance user activate claire",
        ),
    ),
    "backup": Entry(
        "scripts.commands.backups:backup",
        "Write the private database to a file.",
        ("relance backup relance-2026-11-24.backup",),
    ),
    "restore": Entry(
        "scripts.commands.backups:restore",
        "Make the private database what a backup says.",
        ("relance restore relance-2026-11-24.backup", "relance restore relance-2026-11-24.backup --replace --yes"),
    ),
    "print-pile": Entry(
        "scripts.commands.posting:print_pile",
        "List who is to be reminded by post.",
        ("relance print-pile --csv letters.csv",),
    ),
    "posted": Entry(
        "scripts.commands.posting:posted",
        "Say that a reminder went by post.",
        ('relance posted FA-2026-0042 --on 2026-11-20 --because "registered letter 17"',),
    ),
    "batch": Entry(
        "scripts.commands.batching:batch",
        "Make the same change on many invoices.",
        (
            'relance batch --filter "level = 0" --set-level 2 --set-last-reminded 2026-11-02 --because "old system"',
            'relance batch --invoices FA-1,FA-2 --add-tag litige --pause 2026-12-31 --because "being checked" --yes',
        ),
    ),
    "batches": Entry("scripts.commands.batching:batches", "List the latest batches.", ("relance batches --limit 5",)),
    "undo": Entry(
        "scripts.commands.batching:undo", "Take a batch back.", ('relance undo 12 --because "wrong filter" --yes',)
    ),
    "unsuppress": Entry(
        "scripts.commands.addresses:unsuppress",
        "Let an address that refused have mail again.",
        ('relance unsuppress compta@grand.example --because "their server is mended"',),
    ),
    "bounces": Entry(
        "scripts.commands.bounces:bounces",
        "Read what comes back.",
        ("relance bounces classify mails --json", "relance bounces read --dry-run", "relance bounces read"),
    ),
    "tasks": Entry(
        "scripts.commands.tasks:tasks",
        "List what needs a person, and say that it is done.",
        ("relance tasks list", 'relance tasks done 12 --again --because "address corrected"'),
    ),
    "events": Entry(
        "scripts.commands.events:events",
        "List what the invoicing system has told.",
        (
            "relance events list --outcome rejected",
            "relance events show 12",
            'relance events replay 12 --because "the company was missing" --yes',
        ),
    ),
    "import": Entry(
        "scripts.commands.importing:import_",
        "Import customers, invoices, payments … from a CSV file.",
        (
            "relance import customers.csv --kind customers",
            "relance import invoices.csv --kind invoices --currency EUR --save-mapping invoices.yaml",
            "relance import invoices.csv --mapping invoices.yaml --only-good --bad refused.csv --yes",
        ),
    ),
    "einvoice": Entry(
        "scripts.commands.einvoices:einvoice",
        "Read electronic invoices, and save them.",
        (
            "relance einvoice read FA-2026-0100.pdf --json",
            "relance einvoice import FA-2026-0100.pdf FA-2026-0101.xml --company NORD",
            "relance einvoice import FA-2026-0100.pdf FA-2026-0101.xml --yes",
        ),
    ),
    "sink": Entry(
        "scripts.sink:main",
        "Take every mail on this machine, deliver none.",
        ("relance sink --port 2525 --folder mails",),
    ),
}


class Refused(click.ClickException):
    """What relance refuses or cannot do: one line, and exit code 1."""

    exit_code = REFUSED

    def show(self, file: Any = None) -> None:  # noqa: ANN401 - as click declares it
        """Write the line to stderr."""
        click.echo(clean(f"relance: {' '.join(self.message.split())}"), err=True, file=file)


class Commands(click.Group):
    """The commands of COMMANDS, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the table's order."""
        del ctx
        return [name for name, entry in COMMANDS.items() if find_spec(entry.place.partition(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command and end its help with its example."""
        if cmd_name not in self.list_commands(ctx):
            return None
        entry = COMMANDS[cmd_name]
        module, _, name = entry.place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        _end_with_examples(command, f"relance {cmd_name}", entry.examples)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them from the table, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Answer a name that is no command with the nearest one."""
        from workflow.spelling import did_you_mean  # noqa: PLC0415 - only for a mistyped command

        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            ctx.fail(f"no such command {args[0]!r}{did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what is no text, wherever it stands: neither a name, nor a reason, nor a file can be that."""
        for word in args:
            if found := _NO_CHARACTER.search(word):
                ctx.fail(f"{word[:60]!a}: U+{ord(found[0]):04X} is no character (what is typed must be UTF-8)")
        return super().parse_args(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:  # noqa: ANN401 - as click declares it
        """Read what stands before the command."""
        with _harmless():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click declares it
        """Turn what a person can act on into one line on stderr; anything else is a fault and keeps its trace."""
        with _harmless():
            return readable(lambda: super(Commands, self).invoke(ctx))


@contextmanager
def _harmless() -> Generator[None]:
    """Let nothing that was typed wrong, and is said again, obey the terminal. A help that stands in for it is ours."""
    try:
        yield
    except click.UsageError as error:
        if clean(error.message) == error.message or (error.ctx and error.message == error.ctx.get_help()):
            raise
        raise click.UsageError(clean(error.format_message()), ctx=error.ctx) from None


def _end_with_examples(command: click.Command, typed: str, examples: Sequence[str]) -> None:
    """End the help of a command, and of all below it, with those examples that begin with it."""
    command.epilog = _epilog([one for one in examples if f"{one} ".startswith(f"{typed} ")])
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            _end_with_examples(below, f"{typed} {name}", examples)


def _epilog(examples: Sequence[str]) -> str:
    return "\n".join((f"\b\nExample{'' if len(examples) == 1 else 's'}:", *(f"  {one}" for one in examples)))


def readable(action: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the action returns
    """Do it; raise Refused for a refusal, or for a database that cannot be reached."""
    try:
        return action()
    except RelanceError as error:
        raise Refused(str(error)) from error
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise Refused(str(error)) from error
    except Exception as error:
        psycopg = sys.modules.get("psycopg")
        if psycopg is None or not isinstance(error, psycopg.OperationalError):
            raise
        if error.sqlstate == _LOCKED:
            raise Refused("somebody else is changing the same rows, a large batch perhaps: try again later") from error
        # Without an SQLSTATE the server said nothing at all; with one it gave up: a time limit, a full disk.
        what = "gave up" if error.sqlstate else "does not answer"
        raise Refused(f"the database {what}: {str(error).strip().splitlines()[0]}") from error


def _login(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _LOGIN.fullmatch(value):
        raise click.BadParameter("is no login: lower case letters, digits, dots and dashes")
    return value


@click.group(cls=Commands, epilog=_epilog(COMMANDS["demo"].examples))
@click.option("--demo", is_flag=True, help="Work on the demo's own database.")
@click.option("--as", "login", metavar="LOGIN", callback=_login, help="Who acts: a user's login; else the system.")
@click.version_option(package_name="relance", prog_name="relance", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, login: str | None, *, demo: bool) -> None:
    """Chase unpaid invoices: rules fall due, reminders leave exactly once, every decision can be explained.

    Without DATABASE_URL and REDIS_URL a private PostgreSQL and Valkey are started for the time of the command. Exit
    codes: 0 done, 1 refused or failed, 2 wrong usage, 3 done in part.
    """
    ctx.obj = Caller(demo=demo, login=login)


def main() -> None:
    """Run the command that the arguments name."""
    cli(prog_name="relance")


if __name__ == "__main__":
    main()
