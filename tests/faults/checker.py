"""The judge: what must hold after any fault (I1 to I8 of the design), from the sink's journal and append-only ledgers.

It reckons by itself who is to be reminded, from what the harness did, and asks our tables only for what they alone can
say: that a mail is failed or in doubt, visibly.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tests.faults.mailserver import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.faults.book import Book, Invoice, Round
    from tests.faults.ledgers import Ledgers, Taken
    from tests.faults.mailserver import Refusal
    from tests.faults.processes import Death

_LAST_LEVEL: Final = 3
_OVERDUE_DAYS: Final = 3
_CANARIES: Final = ("@client.example", "Canari")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """`what` happened, and the history of the reminder: who did what to it, and how they ended."""

    invariant: str
    what: str
    history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`duplicates`: mails that came once too often. `losses`: invoices that should have been reminded, and silence."""

    mails: int
    duplicates: int
    losses: int
    armed_after_payment: int
    due: int
    violations: tuple[Violation, ...]


class Judge:
    def __init__(self, book: Book, ledgers: Ledgers, refused: Sequence[Refusal], deaths: Sequence[Death]) -> None:
        self._book = book
        self._ledgers = ledgers
        self._refused = refused
        self._ends = {death.pid: death for death in deaths}
        # Each acceptance that an invoice is listed in, in the order of the sink's journal.
        self._of: dict[str, list[Taken]] = defaultdict(list)
        for taken in ledgers.taken:
            for number in taken.mail.invoices:
                self._of[number].append(taken)

    def judge(self, logs: Iterable[Path]) -> Verdict:
        twice = list(self._twice())
        late = list(self._armed_late())
        due, lost = self._completeness()
        others = [*self._levels(), *self._books_agree(), *self._effects(), *self._words(), *self._secrets(logs)]
        return Verdict(
            mails=len(self._ledgers.taken),
            duplicates=len(twice),
            losses=len(lost),
            armed_after_payment=len(late),
            due=due,
            violations=(*twice, *late, *lost, *others),
        )

    def _violation(self, invariant: str, what: str, reminder: int | None = None) -> Violation:
        return Violation(invariant=invariant, what=what, history=tuple(self._history(reminder)) if reminder else ())

    def _history(self, reminder: int) -> Iterator[str]:
        lines = []
        for one in self._ledgers.attempts.get(reminder, []):
            pid = one.actor.rpartition(":")[2]
            end = self._ends.get(int(pid)) if pid.isdecimal() else None
            how = f" (killed {end.at:%H:%M:%S.%f}: {end.step})" if end else ""
            lines.append((one.at, f"fence {one.fence} {one.step}: {one.detail or ''} by {one.actor}{how}"))
        lines += [
            (taken.at, f"accepted by the sink for {taken.mail.to[0]}, {taken.mail.invoices}")
            for taken in self._ledgers.taken
            if taken.mail.reminder == reminder
        ]
        for at, what in sorted(lines):
            yield f"{at:%H:%M:%S.%f} {what}"

    def _twice(self) -> Iterator[Violation]:
        """I1: one acceptance at most for (invoice, level, cycle), whoever the recipient."""
        seen: dict[tuple[str, int | None, int], Taken] = {}
        for taken in self._ledgers.taken:
            again = []
            for number in taken.mail.invoices:
                key = number, taken.mail.level, self._ledgers.cycle(number, taken.armed or taken.at)
                first = seen.setdefault(key, taken)
                if first is not taken:
                    again.append(f"{number} level {key[1]} cycle {key[2]}, first at {first.at:%H:%M:%S.%f}")
            if again:
                what = f"{taken.mail.message_id} at {taken.at:%H:%M:%S.%f}: {'; '.join(again)}"
                yield self._violation("I1", what, taken.mail.reminder)

    def _armed_late(self) -> Iterator[Violation]:
        """I3: nothing armed that had surely been paid, disputed or paused before; F1: nothing unarmed."""
        for taken in self._ledgers.taken:
            if taken.armed is None:
                yield self._violation("F1", f"{taken.mail.message_id} left without being armed", taken.mail.reminder)
                continue
            for number in taken.mail.invoices:
                invoice = self._book.invoices[number]
                for block in invoice.blocks if not invoice.unsure else ():
                    if block.surely_at(taken.armed):
                        what = f"{number} {block.kind} at {block.sure:%H:%M:%S.%f}, armed at {taken.armed:%H:%M:%S.%f}"
                        yield self._violation("I3", what, taken.mail.reminder)

    def _words(self) -> Iterator[Violation]:
        """I3 for what a mail says: the balance, and whom it is for, as they stood when it was armed."""
        for taken in self._ledgers.taken:
            if taken.armed is None or not taken.mail.invoices:
                continue
            customer = self._book.customers[self._book.invoices[taken.mail.invoices[0]].customer]
            if not customer.unsure and taken.mail.to[0] not in customer.address.possible(taken.armed, taken.at):
                what = f"{taken.mail.message_id} went to {taken.mail.to[0]}: {customer.address.entries}"
                yield self._violation("I3", what, taken.mail.reminder)
            for number in taken.mail.invoices:
                invoice = self._book.invoices[number]
                amounts = {f"{one:.2f}".replace(".", ",") for one in invoice.balance.possible(taken.armed, taken.at)}
                line = next(line for line in taken.mail.text.splitlines() if line.startswith(f"{number} "))
                said = "".join(line.split())
                if not invoice.unsure and not any(said.endswith(f"{amount}€") for amount in amounts):
                    what = f"{taken.mail.message_id} says {line!r}, the balance was {amounts}"
                    yield self._violation("I3", what, taken.mail.reminder)

    def _levels(self) -> Iterator[Violation]:
        """I4: 1, 2, 3, each once a cycle and none skipped; and the database has the same level, but for a doubt."""
        doubtful = {number for number, held in self._ledgers.outcomes.items() if ("in_doubt" in {o for _, o in held})}
        for number, level in self._ledgers.levels.items():
            reached = 0
            for taken in self._of.get(number, []):
                if taken.mail.level not in {reached, reached + 1}:
                    what = f"{number} was reminded as {taken.mail.level} when it stood at {reached}"
                    yield self._violation("I4", what, taken.mail.reminder)
                reached = max(reached, taken.mail.level or 0)
            if level != reached and not (number in doubtful and level == reached - 1):
                last = self._of[number][-1].mail.reminder if self._of.get(number) else None
                yield self._violation("I4", f"{number} is at level {level}, the sink took {reached}", last)

    def _books_agree(self) -> Iterator[Violation]:
        """I5: sent in the database if and only if the sink took it, or in doubt; F3: a 2xx that was noted was said."""
        taken = {one.mail.message_id for one in self._ledgers.taken}
        for reminder in self._ledgers.reminders.values():
            was_taken = reminder.message_id in taken
            if reminder.state != "in_doubt" and was_taken != (reminder.state == "sent"):
                what = f"{reminder.message_id} is {reminder.state}, the sink {'took' if was_taken else 'never saw'} it"
                yield self._violation("I5", what, reminder.id)
            noted = any(one.step == "accepted" for one in self._ledgers.attempts.get(reminder.id, []))
            if noted and not was_taken:
                yield self._violation("F3", f"{reminder.message_id} noted as accepted", reminder.id)

    def _effects(self) -> Iterator[Violation]:
        """I6: the tag of each level put on once, where its mail was taken, and nowhere else."""
        doubtful = {number for number, held in self._ledgers.outcomes.items() if ("in_doubt" in {o for _, o in held})}
        wanted = {
            (number, f"Relance {taken.mail.level}")
            for number, takes in self._of.items()
            for taken in takes
            if number not in doubtful
        }
        for (number, title), count in self._ledgers.tagged.items():
            if count > 1 or ((number, title) not in wanted and number not in doubtful):
                yield self._violation("I6", f"{number} got the tag {title} {count} times")
        for number, title in wanted - self._ledgers.tagged.keys():
            yield self._violation("I6", f"{number} was mailed and did not get the tag {title}")

    def _secrets(self, logs: Iterable[Path]) -> Iterator[Violation]:
        """I8: no name and no address in a log."""
        for log in logs:
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
                if any(canary in line for canary in _CANARIES):
                    yield self._violation("I8", f"{log.name}: {line[:200]}")

    # ------------------------------------------------------------ who should have been reminded

    def _completeness(self) -> tuple[int, list[Violation]]:
        """I2 and I7: in each round, everybody due was reminded once, or is failed or in doubt, visibly."""
        due = 0
        silent: list[Violation] = []
        levels: Counter[str] = Counter()
        for turn in self._book.rounds:
            taken_now: Mapping[str, list[Taken]] = {
                number: [one for one in takes if turn.start <= one.at <= turn.end] for number, takes in self._of.items()
            }
            for number, invoice in self._book.invoices.items():
                takes = taken_now.get(number, [])
                if self._is_due(invoice, levels[number], turn):
                    due += 1
                    if not takes and not self._visible(invoice, turn):
                        what = (
                            f"{number} was due on {turn.day} as reminder {levels[number] + 1}, and nothing came of it"
                        )
                        held = self._ledgers.outcomes.get(number)
                        silent.append(self._violation("I2", what, held[-1][0] if held else None))
                elif takes and not self._may_be_due(invoice, turn):
                    what = f"{number} was reminded on {turn.day} without being due"
                    silent.append(self._violation("I3", what, takes[-1].mail.reminder))
                levels[number] = max([levels[number], *(one.mail.level or 0 for one in takes)])
        return due, silent

    def _is_due(self, invoice: Invoice, level: int, turn: Round) -> bool:
        """Surely, for the whole of the round."""
        customer = self._book.customers[invoice.customer]
        issued = invoice.balance.entries[0][0]
        addresses = {value for begun, _, value in customer.address.entries if begun <= turn.end}
        refused = {one.to for one in self._refused if one.said == NOBODY and one.at <= turn.end}
        return (
            self._may_be_due(invoice, turn)
            and issued <= turn.start
            and level < _LAST_LEVEL
            and not invoice.unsure
            and not customer.unsure
            and not addresses & refused
            and not any(block.touches(turn.start, turn.end) for block in invoice.blocks)
        )

    def _may_be_due(self, invoice: Invoice, turn: Round) -> bool:
        customer = self._book.customers[invoice.customer]
        return (
            invoice.due_on is not None
            and turn.day - invoice.due_on >= timedelta(days=_OVERDUE_DAYS)
            and customer.address.now is not None
            and not customer.broken
        )

    def _visible(self, invoice: Invoice, turn: Round) -> bool:
        """Failed because the sink said so, or lost in the words of a person; or in doubt."""
        for reminder_id, outcome in self._ledgers.outcomes.get(invoice.number, []):
            reminder = self._ledgers.reminders[reminder_id]
            if not turn.start <= reminder.created_at <= turn.end:
                continue
            if outcome == "in_doubt" or (outcome == "failed" and reminder.problem == "lost"):
                return True
            said = any(turn.start <= one.at <= turn.end and one.said != NOBODY for one in self._refused_of(invoice))
            if outcome == "failed" and said:
                return True
        return False

    def _refused_of(self, invoice: Invoice) -> list[Refusal]:
        addresses = {value for _, _, value in self._book.customers[invoice.customer].address.entries}
        return [one for one in self._refused if one.to in addresses]
