"""Schedule lines: five-field crons on the company's wall clock, the instants they give, and how they read in words."""

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from heapq import merge
from itertools import dropwhile, groupby, islice, takewhile
from typing import Final, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from workflow.errors import InvalidInput

Language = Literal["fr", "en"]

# Counting what a machine slept through is for the report's sentence alone: past this many it says "at least".
COUNTED_INSTANTS: Final = 1000

# All minutes, hours, dates, months and weekdays spelled out are shorter.
_LONGEST_LINE: Final = 500
# A leap year's first day: the rarest day a line can ask for (a fifth Monday of February) comes within 28 years.
_ANY_START: Final = datetime(2000, 1, 1, tzinfo=UTC)
_END_OF_TIME: Final = datetime.max.replace(tzinfo=UTC)


class ScheduleError(InvalidInput):
    """A schedule line that is no five-field cron, or that never fires."""

    def __init__(self, *, line: str, reason: str) -> None:
        super().__init__(field="schedule line", value=line, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What came due in an interval: the last instant, and how many there were (or at least that many)."""

    due_at: datetime
    count: int
    at_least: bool


def check_line(line: str) -> None:
    """Raise ScheduleError for what is no cron, has not five fields, or never fires (30 February)."""
    _fixed(line)


def due_instants(line: str, zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the UTC instants in (after, until] at which a schedule line fires, in order.

    Counted on the company's wall clock: nine o'clock stays nine o'clock across a clock change, an hour that does not
    exist fires at the next one, and an hour that occurs twice fires once. A line of every hour follows elapsed time
    instead, so that it fires in both. Raises ScheduleError for a line that is no cron, ValueError for naive instants.
    """
    if after.tzinfo is None or until.tzinfo is None:
        raise ValueError("instants must be aware of their time zone")
    instants = (local.astimezone(UTC) for local in CronSim(_fixed(line), after.astimezone(zone)))
    # In the second of two equal hours cronsim starts over from the first.
    later = dropwhile(lambda instant: instant <= after, instants)
    return takewhile(lambda instant: instant <= until, later)


def latest_due(lines: Sequence[str], zone: ZoneInfo, after: datetime, until: datetime) -> Missed | None:
    """Return the last instant in (after, until] over all lines and the count of distinct ones; None without any.

    A machine that slept over three instants makes one run, for the last. Quick over years of an every-minute line.
    """
    counted = list(islice(_all_instants(lines, zone, after, until), COUNTED_INSTANTS + 1))
    if not counted:
        return None
    if len(counted) <= COUNTED_INSTANTS:
        return Missed(due_at=counted[-1], count=len(counted), at_least=False)
    low, high = counted[-1], until.astimezone(UTC)
    while high - low > timedelta(hours=1):
        middle = low + (high - low) / 2
        if next(_all_instants(lines, zone, middle, high), None) is None:
            high = middle
        else:
            low = middle
    last = max(_all_instants(lines, zone, low, high), default=low)
    return Missed(due_at=last, count=COUNTED_INSTANTS, at_least=True)


def next_instants(lines: Sequence[str], zone: ZoneInfo, after: datetime, count: int = 5) -> list[datetime]:
    """Return the next distinct UTC instants over all lines; empty for a rule without lines (manual only)."""
    return list(islice(_all_instants(lines, zone, after, _END_OF_TIME), count))


def _all_instants(lines: Sequence[str], zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    ordered = merge(*(due_instants(line, zone, after, until) for line in lines))
    return (instant for instant, _ in groupby(ordered))


def in_words(line: str, language: Language) -> str:
    """Return how a person would say the line: "tous les lundis à 9 h 00", "on the 1st of each month at 9:00".

    Said from what the line fires on, never from its spelling, so that the two cannot differ. The spaces within a
    French hour do not break. Raises ScheduleError.
    """
    cron = CronSim(_fixed(line), _ANY_START)
    weekdays = {day or 7 for day in cron.weekdays if isinstance(day, int)}
    nth_weekdays = {(day[0] or 7, day[1]) for day in cron.weekdays if not isinstance(day, int)}
    return _Reading(
        language=language,
        minutes=sorted(cron.minutes),
        hours=sorted(cron.hours),
        dates=sorted(day for day in cron.days if day > 0),
        last_day=CronSim.LAST in cron.days,
        last_working_day=CronSim.LAST_WEEKDAY in cron.days,
        months=sorted(cron.months),
        weekdays=sorted(weekdays),
        nth_weekdays=sorted(nth for nth in nth_weekdays if nth[0] not in weekdays),
        both_must_match=cron.day_and,
    ).sentence()


@lru_cache(maxsize=1024)
def _fixed(line: str) -> str:
    """Return the line with hours and minutes spelled out, all hours as a star; ScheduleError when it is no line.

    For cronsim, as for Debian's cron, a field that begins with a star has no part in the handling of clock changes:
    "*/30 2 * * *" would not fire at all on the day without a two o'clock. Spelled out, only "every hour" is a star.
    """
    fields = line.split()
    if len(line) > _LONGEST_LINE or len(fields) != 5:
        raise ScheduleError(line=line, reason="must have five fields: minute, hour, day of month, month, weekday")
    try:
        cron = CronSim(line, _ANY_START)
    except CronSimError as wrong:
        part = str(wrong).lower().replace("-", " ")
        raise ScheduleError(line=line, reason=f"{part}: unreadable, or a day that never comes") from wrong
    if next(cron, None) is None:
        raise ScheduleError(line=line, reason="never fires")
    minutes = ",".join(map(str, sorted(cron.minutes)))
    hours = "*" if len(cron.hours) == 24 else ",".join(map(str, sorted(cron.hours)))
    return " ".join((minutes, hours, *fields[2:]))


# Each phrase in French and in English; adding a language is adding a column.
_PHRASES: Final[dict[str, dict[Language, str]]] = {
    "weekday": {
        "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
        "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    },
    "month": {
        "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "en": "January February March April May June July August September October November December",
    },
    "nth": {"fr": "premier deuxième troisième quatrième cinquième", "en": "first second third fourth fifth"},
    "and": {"fr": "et", "en": "and"},
    "or": {"fr": "ou", "en": "or"},
    "clock": {
        "fr": "{hour}\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}{minute:02d}",
        "en": "{hour}:{minute:02d}",
    },
    "at": {"fr": "à {times}", "en": "at {times}"},
    "every minute": {"fr": "toutes les minutes", "en": "every minute"},
    "every n minutes": {"fr": "toutes les {n} minutes", "en": "every {n} minutes"},
    "every hour": {"fr": "toutes les heures", "en": "every hour"},
    "every n hours": {"fr": "toutes les {n} heures", "en": "every {n} hours"},
    "from to": {"fr": "{pace} de {first} à {last}", "en": "{pace} from {first} to {last}"},
    "minute of": {"fr": "à la minute {minutes} de {hours}", "en": "at minute {minutes} of {hours}"},
    "minutes of": {"fr": "aux minutes {minutes} de {hours}", "en": "at minutes {minutes} of {hours}"},
    "each hour": {"fr": "chaque heure", "en": "every hour"},
    "an hour": {"fr": "{hour}\N{NO-BREAK SPACE}h", "en": "hour {hour}"},
    "range": {"fr": "{first} à {last}", "en": "{first} to {last}"},
    "every day": {"fr": "tous les jours", "en": "every day"},
    "weekday run": {"fr": "du {first} au {last}", "en": "{first} to {last}"},
    "each weekday": {"fr": "tous les {names}", "en": "every {names}"},
    "plural": {"fr": "{name}s", "en": "{name}"},
    "nth weekday": {"fr": "le {nth} {name}", "en": "the {nth} {name}"},
    "last weekday": {"fr": "le dernier {name}", "en": "the last {name}"},
    "a weekday": {"fr": "un {name}", "en": "a {name}"},
    "one date": {"fr": "le {dates}", "en": "the {dates}"},
    "some dates": {"fr": "les {dates}", "en": "the {dates}"},
    "date run": {"fr": "du {first} au {last}", "en": "the {first} to the {last}"},
    "last day": {"fr": "le dernier jour", "en": "the last day"},
    "last working day": {"fr": "le dernier jour de semaine", "en": "the last weekday"},
    "on": {"fr": "{days} {month}", "en": "on {days} {month}"},
    "of each month": {"fr": "de chaque mois", "en": "of each month"},
    "of each month with it": {"fr": "de chaque mois qui en a un", "en": "of each month that has one"},
    "of the month": {"fr": "du mois", "en": "of the month"},
    "of date month": {"fr": "{months}", "en": "of {months}"},
    "of one month": {"fr": "du mois de {months}", "en": "of {months}"},
    "of months": {"fr": "des mois de {months}", "en": "of {months}"},
    "in months": {"fr": "en {months}", "en": "in {months}"},
    "only if": {"fr": "{dates}, seulement si c'est {names},", "en": "{dates}, only if it is {names},"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What a line fires on, as sorted values: ISO weekdays, (weekday, nth) pairs, dates apart from last days."""

    language: Language
    minutes: list[int]
    hours: list[int]
    dates: list[int]
    last_day: bool
    last_working_day: bool
    months: list[int]
    weekdays: list[int]
    nth_weekdays: list[tuple[int, int]]
    both_must_match: bool

    def sentence(self) -> str:
        every_date, every_weekday = len(self.dates) == 31, len(self.weekdays) == 7
        all_year = len(self.months) == 12
        season = "" if all_year else ", " + self.say("in months", months=self.join(self.names("month", self.months)))
        each_month = self.say("of each month" if all_year else "of the month")
        if (every_date and every_weekday) or ((every_date or every_weekday) and not self.both_must_match):
            days = self.say("every day")
        elif every_date and self.weekdays:
            days = self.on_weekdays(each_month)
        elif every_date:
            days, season = self.on_weekdays(self.of_months(each_month)), ""
        elif every_weekday:
            days, season = self.on_dates(self.of_months(each_month)), ""
        elif self.both_must_match:
            days = self.say("only if", dates=self.on_dates(each_month), names=self.join(self.a_weekday(), "or"))
        else:
            days = self.join([self.on_dates(each_month), self.on_weekdays(each_month)])
        return self.with_times(days) + season

    def say(self, phrase: str, **values: object) -> str:
        return _PHRASES[phrase][self.language].format(**values)

    def join(self, parts: Sequence[str], last: str = "and") -> str:
        if len(parts) == 1:
            return parts[0]
        return f"{', '.join(parts[:-1])} {self.say(last)} {parts[-1]}"

    def names(self, phrase: str, numbers: Sequence[int]) -> list[str]:
        known = self.say(phrase).split()
        return [known[number - 1] for number in numbers]

    def with_times(self, days: str) -> str:
        pace = self.pace()
        if pace is None:
            times = [self.clock(hour, minute) for hour in self.hours for minute in self.minutes]
            return f"{days} {self.say('at', times=self.join(times))}"
        if len(self.hours) == 24 and days == self.say("every day"):
            return pace
        return f"{pace}, {days}"

    def pace(self) -> str | None:
        """Return how often the line fires within a day, or None when its few times of day are better listed."""
        fires_a_day = len(self.minutes) * len(self.hours)
        if fires_a_day <= 4:
            return None
        step_minutes = 60 // len(self.minutes)
        is_even = self.minutes == list(range(0, 60, step_minutes))
        first, last = self.hours[0], self.hours[-1]
        step_hours = self.hours[1] - first if len(self.hours) > 1 else 1
        if is_even and len(self.hours) == 24:
            return self.every("hour", 1) if step_minutes == 60 else self.every("minute", step_minutes)
        if len(self.hours) < 24 and self.hours == list(range(first, last + 1, step_hours)):
            start, end = self.clock(first, self.minutes[0]), self.clock(last, self.minutes[-1])
            if len(self.minutes) == 1:
                return self.say("from to", pace=self.every("hour", step_hours), first=start, last=end)
            if is_even and step_hours == 1:
                return self.say("from to", pace=self.every("minute", step_minutes), first=start, last=end)
        if fires_a_day <= 12:
            return None
        each_hour = len(self.hours) == 24
        return self.say(
            "minute of" if len(self.minutes) == 1 else "minutes of",
            minutes=self.join(self.ranges(self.minutes)),
            hours=self.say("each hour") if each_hour else self.join([self.say("an hour", hour=h) for h in self.hours]),
        )

    def every(self, unit: Literal["minute", "hour"], step: int) -> str:
        return self.say(f"every {unit}") if step == 1 else self.say(f"every n {unit}s", n=step)

    def clock(self, hour: int, minute: int) -> str:
        return self.say("clock", hour=hour, minute=minute)

    def ranges(self, numbers: list[int]) -> list[str]:
        runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), key=lambda at: at[1] - at[0])]
        return [
            said
            for run in runs
            for said in ([self.say("range", first=run[0], last=run[-1])] if len(run) > 2 else map(str, run))
        ]

    def on_dates(self, month: str) -> str:
        parts = []
        ordinals = [self.ordinal(day) for day in self.dates]
        if _is_run(self.dates):
            parts.append(self.say("date run", first=ordinals[0], last=ordinals[-1]))
        elif ordinals:
            parts.append(self.say("one date" if len(ordinals) == 1 else "some dates", dates=self.join(ordinals)))
        if self.last_day:
            parts.append(self.say("last day"))
        if self.last_working_day:
            parts.append(self.say("last working day"))
        return self.say("on", days=self.join(parts), month=month)

    def ordinal(self, day: int) -> str:
        if self.language == "fr":
            return "1er" if day == 1 else str(day)
        suffixes = {1: "st", 2: "nd", 3: "rd"}
        return f"{day}{'th' if day in {11, 12, 13} else suffixes.get(day % 10, 'th')}"

    def on_weekdays(self, month: str) -> str:
        parts = []
        names = self.names("weekday", self.weekdays)
        if _is_run(self.weekdays):
            parts.append(self.say("weekday run", first=names[0], last=names[-1]))
        elif names:
            parts.append(self.say("each weekday", names=self.join([self.say("plural", name=name) for name in names])))
        if self.nth_weekdays:
            parts.append(self.say("on", days=self.join(self.nths()), month=month))
        return self.join(parts)

    def nths(self) -> list[str]:
        said = []
        for weekday, nth in self.nth_weekdays:
            (name,) = self.names("weekday", [weekday])
            if nth == CronSim.LAST:
                said.append(self.say("last weekday", name=name))
            else:
                said.append(self.say("nth weekday", nth=self.names("nth", [nth])[0], name=name))
        return said

    def a_weekday(self) -> list[str]:
        plain = [self.say("a weekday", name=name) for name in self.names("weekday", self.weekdays)]
        return plain + [f"{nth} {self.say('of the month')}" for nth in self.nths()]

    def of_months(self, each_month: str) -> str:
        """Return the months of dates or of nth weekdays alone, without those that have no such day."""
        dates = [] if len(self.dates) == 31 else self.dates
        is_last = self.last_day or self.last_working_day
        if len(self.months) == 12:
            rare = (len(dates) == 1 and dates[0] > 28 and not is_last) or {nth for _, nth in self.nth_weekdays} == {5}
            return self.say("of each month with it") if rare else each_month
        months = [month for month in self.months if is_last or not dates or dates[0] <= monthrange(2000, month)[1]]
        phrase = "of months" if len(months) > 1 else "of date month" if dates and not is_last else "of one month"
        return self.say(phrase, months=self.join(self.names("month", months)))


def _is_run(numbers: list[int]) -> bool:
    return len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
