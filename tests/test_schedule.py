import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workflow.errors import InvalidInput
from workflow.schedule import (
    COUNTED_INSTANTS,
    Language,
    Missed,
    ScheduleError,
    check_line,
    due_instants,
    in_words,
    latest_due,
    next_instants,
)

PARIS = ZoneInfo("Europe/Paris")
CLOCK_CHANGES = {
    "Europe/Paris": ("2026-03-29", "2026-10-25"),
    "America/Havana": ("2026-03-08", "2026-11-01"),
    "America/Santiago": ("2026-04-05", "2026-09-06"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def paris(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS).astimezone(UTC)


def due(line: str, after: str, until: str) -> list[datetime]:
    return list(due_instants(line, PARIS, utc(after), utc(until)))


@pytest.mark.parametrize(
    "line", ["0 9 * * 1-5", "*/15 8-18 1,15 JAN-MAR *", " 0\t9 * * sun ", "0 9 29 2 *", "0 9 L * 5L"]
)
def test_a_cron_of_five_fields_is_a_schedule_line(line: str) -> None:
    check_line(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "every Monday",
        "@daily",
        "0 9 * *",
        "0 0 9 * * 1",
        "60 9 * * *",
        "0 24 * * *",
        "0 9 0 * *",
        "0 9 * 13 *",
        "0 9 * * 8",
        "0 9 * * 5-1",
        "*/0 9 * * *",
        "-1 9 * * *",
        "0 9 30 2 *",
        "0 9 31 4,6,9,11 *",
        "0 9 */31 * 1#2",
        "0 \0 * * *",
        "٣ 9 * * *",
        "9" * 5000 + " 9 * * *",
    ],
    ids=range(19),
)
def test_what_is_no_cron_or_never_fires_is_refused(line: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        check_line(line)
    assert isinstance(refused.value, InvalidInput)
    assert (refused.value.field, refused.value.value) == ("schedule line", line)


@pytest.mark.parametrize(
    "question",
    [
        lambda line: due_instants(line, PARIS, utc("2026-01-01"), utc("2026-02-01")),
        lambda line: latest_due([line], PARIS, utc("2026-01-01"), utc("2026-02-01")),
        lambda line: next_instants([line], PARIS, utc("2026-01-01")),
        lambda line: in_words(line, "fr"),
    ],
    ids=["due_instants", "latest_due", "next_instants", "in_words"],
)
def test_no_question_is_answered_about_a_line_that_is_none(question: Callable[[str], object]) -> None:
    with pytest.raises(ScheduleError):
        question("0 9 30 2 *")


def test_nine_o_clock_stays_nine_o_clock_across_the_clock_changes() -> None:
    assert due("0 9 * * *", "2026-03-28", "2026-03-30") == [utc("2026-03-28 08:00"), utc("2026-03-29 07:00")]
    assert due("0 9 * * *", "2026-10-24", "2026-10-26") == [utc("2026-10-24 07:00"), utc("2026-10-25 08:00")]


@pytest.mark.parametrize("line", ["30 2 * * *", "0 2,3 * * *", "*/15 2 * * *", "10-20 2 * * *"])
def test_an_hour_that_does_not_exist_fires_once_at_the_next_one(line: str) -> None:
    assert due(line, "2026-03-29 00:00", "2026-03-29 01:30") == [utc("2026-03-29 01:00")]


@pytest.mark.parametrize(("line", "times"), [("30 2 * * *", 1), ("*/30 2 * * *", 2), ("0 */2 * * *", 1)])
def test_an_hour_that_occurs_twice_fires_once(line: str, times: int) -> None:
    first_hour = due(line, "2026-10-24 23:59", "2026-10-25 00:59")
    second_hour = due(line, "2026-10-25 00:59", "2026-10-25 01:59")
    assert (len(first_hour), len(second_hour)) == (times, 0)


def test_a_line_of_every_hour_follows_elapsed_time() -> None:
    for line in ("0 * * * *", "0 0-23 * * *"):
        assert due(line, "2026-03-28 23:00", "2026-03-29 02:00") == [utc(f"2026-03-29 0{hour}:00") for hour in range(3)]
        assert due(line, "2026-10-24 23:00", "2026-10-25 02:00") == [utc(f"2026-10-25 0{hour}:00") for hour in range(3)]


def test_the_interval_leaves_out_its_start_and_keeps_its_end() -> None:
    assert due("0 9 * * *", "2026-11-23 08:00", "2026-11-24 08:00") == [utc("2026-11-24 08:00")]
    assert due("0 9 * * *", "2026-11-23 07:59:59.999999", "2026-11-24 07:59:59.999999") == [utc("2026-11-23 08:00")]
    assert due("0 9 * * *", "2026-11-23 08:00:00.000001", "2026-11-24 07:00") == []


def test_a_day_and_a_weekday_mean_either_as_in_debian_unless_one_is_a_star() -> None:
    assert due("0 9 1 * 1", "2026-12-01", "2026-12-15") == [paris(f"2026-12-{day} 09:00") for day in ("01", "07", "14")]
    assert due("0 9 */13 * 1", "2026-12-01", "2026-12-31") == [paris("2026-12-14 09:00")]


def test_an_instant_without_a_zone_is_no_instant() -> None:
    naive = utc("2026-01-01").replace(tzinfo=None)
    for interval in ((naive, utc("2026-02-01")), (utc("2026-01-01"), naive)):
        with pytest.raises(ValueError, match="aware"):
            due_instants("0 9 * * *", PARIS, *interval)


def watched(
    minutes: tuple[int, ...], hours: tuple[int, ...], weekday: str, zone: ZoneInfo, start: datetime
) -> Iterator[datetime]:
    """The instants of the three days from start, by a person who watches the company's clock minute by minute."""

    def matches(wall: datetime) -> bool:
        return wall.minute in minutes and wall.hour in hours and weekday in {"*", str(wall.isoweekday())}

    before = start.astimezone(zone).replace(tzinfo=None)
    for elapsed in range(1, 3 * 24 * 60):
        at = start + timedelta(minutes=elapsed)
        local = at.astimezone(zone)
        shown = local.replace(tzinfo=None)
        if len(hours) == 24:
            fires = matches(shown)
        else:
            skipped = range(1, int((shown - before) / timedelta(minutes=1)))
            fires = any(matches(before + timedelta(minutes=gone)) for gone in skipped)
            fires = fires or (matches(shown) and local.fold == 0)
        if fires:
            yield at
        before = shown


@settings(deadline=None)  # minutes are walked one by one; a busy machine is no failure
@given(
    change=st.sampled_from([(zone, day) for zone, days in CLOCK_CHANGES.items() for day in days]),
    minutes=st.sampled_from([(0,), (30,), (59,), (0, 15, 30, 45), (5, 40), tuple(range(60))]),
    hours=st.sampled_from([(0,), (1,), (2,), (23,), (2, 3), (0, 1, 2), (1, 22, 23), tuple(range(24))]),
    weekday=st.sampled_from("*67"),
    interval=st.lists(st.integers(0, 3 * 24 * 60 - 1), min_size=2, max_size=2).map(sorted),
)
def test_instants_are_those_that_a_person_watching_the_clock_would_count(
    change: tuple[str, str], minutes: tuple[int, ...], hours: tuple[int, ...], weekday: str, interval: list[int]
) -> None:
    # On Lord Howe half an hour occurs twice: a line of every hour fires an hour apart, not at both half hours.
    assume(change[0] != "Australia/Lord_Howe" or len(hours) < 24)
    zone = ZoneInfo(change[0])
    start = utc(change[1]) - timedelta(days=1)
    after, until = (start + timedelta(minutes=elapsed) for elapsed in interval)
    line = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * {weekday}"
    expected = [at for at in watched(minutes, hours, weekday, zone, start) if after < at <= until]
    assert list(due_instants(line, zone, after, until)) == expected
    missed = latest_due([line], zone, after, until)
    if expected:
        counted = min(len(expected), COUNTED_INSTANTS)
        assert missed == Missed(due_at=expected[-1], count=counted, at_least=counted < len(expected))
    else:
        assert missed is None


def test_a_machine_that_slept_over_three_instants_makes_one_run_for_the_last() -> None:
    friday, tuesday = utc("2026-11-20 12:00"), utc("2026-11-25 12:00")
    assert latest_due(["0 9 * * 1-5"], PARIS, friday, tuesday) == Missed(
        due_at=paris("2026-11-25 09:00"), count=3, at_least=False
    )


def test_an_instant_of_two_lines_counts_once() -> None:
    lines = ["0 9 * * *", "0 9,14 * * 2", "0 9 * * *"]
    assert latest_due(lines, PARIS, utc("2026-11-23 12:00"), utc("2026-11-24 12:00")) == Missed(
        due_at=paris("2026-11-24 09:00"), count=1, at_least=False
    )
    assert latest_due(lines, PARIS, utc("2026-11-23 12:00"), utc("2026-11-24 13:00")) == Missed(
        due_at=paris("2026-11-24 14:00"), count=2, at_least=False
    )


def test_nothing_is_due_without_lines_or_between_two_instants() -> None:
    assert latest_due([], PARIS, utc("2026-01-01"), utc("2026-12-31")) is None
    assert latest_due(["0 9 * * *"], PARIS, utc("2026-11-24 08:00"), utc("2026-11-25 07:59")) is None


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        (["* * * * *"], "2026-11-24 12:34"),
        (["* * * 1 *", "0 9 30 1 *"], "2026-01-31 23:59"),
        (["0 9 1 * *", "*/5 * * * 0"], "2026-11-22 23:55"),
    ],
    ids=["every minute", "every minute of January", "every five minutes on Sundays"],
)
def test_a_machine_that_slept_for_ten_years_finds_the_last_instant_and_an_honest_count(
    lines: list[str], last: str
) -> None:
    missed = latest_due(lines, PARIS, paris("2016-11-24 12:34"), paris("2026-11-24 12:34:56"))
    assert missed == Missed(due_at=paris(last), count=COUNTED_INSTANTS, at_least=True)


def test_the_last_of_one_more_than_are_counted_is_still_found() -> None:
    after = utc("2026-11-24")
    until = after + timedelta(minutes=COUNTED_INSTANTS + 1)
    assert latest_due(["* * * * *"], PARIS, after, until) == Missed(due_at=until, count=COUNTED_INSTANTS, at_least=True)
    much_later = until + timedelta(days=30)
    assert latest_due(["0-59 0-17 24 11 *"], ZoneInfo("UTC"), after, much_later) == Missed(
        due_at=utc("2026-11-24 17:59"), count=COUNTED_INSTANTS, at_least=True
    )
    seventeen_hours = "0-59 0-16 24 11 *"
    assert latest_due([seventeen_hours], ZoneInfo("UTC"), utc("2026-11-24 00:18"), much_later) == Missed(
        due_at=utc("2026-11-24 16:59"), count=COUNTED_INSTANTS, at_least=True
    )


def test_the_next_five_instants_are_shown_over_all_lines() -> None:
    assert next_instants(["0 9 * * 1-5", "0 9 1 * *"], PARIS, utc("2026-10-30 12:00")) == [
        paris("2026-11-01 09:00"),
        paris("2026-11-02 09:00"),
        paris("2026-11-03 09:00"),
        paris("2026-11-04 09:00"),
        paris("2026-11-05 09:00"),
    ]
    assert next_instants(["0 9 29 2 *"], PARIS, utc("2026-11-24"), count=2) == [
        paris("2028-02-29 09:00"),
        paris("2032-02-29 09:00"),
    ]


def test_a_rule_without_lines_has_no_next_instant() -> None:
    assert next_instants([], PARIS, utc("2026-11-24")) == []


READINGS = """
0 9 * * *
    tous les jours à 9 h 00
    every day at 9:00
30 18 * * 5
    tous les vendredis à 18 h 30
    every Friday at 18:30
0 9 * * SUN
    tous les dimanches à 9 h 00
    every Sunday at 9:00
0 9 * * 1-5
    du lundi au vendredi à 9 h 00
    Monday to Friday at 9:00
0 9,14 * * 1-5
    du lundi au vendredi à 9 h 00 et 14 h 00
    Monday to Friday at 9:00 and 14:00
30 8 * * 1,4
    tous les lundis et jeudis à 8 h 30
    every Monday and Thursday at 8:30
0 9 * * 0,6
    tous les samedis et dimanches à 9 h 00
    every Saturday and Sunday at 9:00
0 9 1 * *
    le 1er de chaque mois à 9 h 00
    on the 1st of each month at 9:00
0 9 1,15 * *
    les 1er et 15 de chaque mois à 9 h 00
    on the 1st and 15th of each month at 9:00
0 9 2,3,12,23 * *
    les 2, 3, 12 et 23 de chaque mois à 9 h 00
    on the 2nd, 3rd, 12th and 23rd of each month at 9:00
0 9 1-7 * *
    du 1er au 7 de chaque mois à 9 h 00
    on the 1st to the 7th of each month at 9:00
0 9 L * *
    le dernier jour de chaque mois à 9 h 00
    on the last day of each month at 9:00
0 9 15,L * *
    le 15 et le dernier jour de chaque mois à 9 h 00
    on the 15th and the last day of each month at 9:00
0 9 LW * *
    le dernier jour de semaine de chaque mois à 9 h 00
    on the last weekday of each month at 9:00
0 9 31 * *
    le 31 de chaque mois qui en a un à 9 h 00
    on the 31st of each month that has one at 9:00
0 9 31,L * *
    le 31 et le dernier jour de chaque mois à 9 h 00
    on the 31st and the last day of each month at 9:00
0 9 1 1 *
    le 1er janvier à 9 h 00
    on the 1st of January at 9:00
0 9 31 1,4 *
    le 31 janvier à 9 h 00
    on the 31st of January at 9:00
0 9 L 2 *
    le dernier jour du mois de février à 9 h 00
    on the last day of February at 9:00
0 9 1 */3 *
    le 1er des mois de janvier, avril, juillet et octobre à 9 h 00
    on the 1st of January, April, July and October at 9:00
0 9 * * 5L
    le dernier vendredi de chaque mois à 9 h 00
    on the last Friday of each month at 9:00
0 9 * * 1#1
    le premier lundi de chaque mois à 9 h 00
    on the first Monday of each month at 9:00
0 9 * * 1#5
    le cinquième lundi de chaque mois qui en a un à 9 h 00
    on the fifth Monday of each month that has one at 9:00
0 9 * 3 0#1
    le premier dimanche du mois de mars à 9 h 00
    on the first Sunday of March at 9:00
0 9 * * 1,1#2,5L
    tous les lundis et le dernier vendredi de chaque mois à 9 h 00
    every Monday and on the last Friday of each month at 9:00
0 9 1 * 1
    le 1er de chaque mois et tous les lundis à 9 h 00
    on the 1st of each month and every Monday at 9:00
0 9 1-31 * 1
    tous les jours à 9 h 00
    every day at 9:00
0 9 */10 * 1
    les 1er, 11, 21 et 31 de chaque mois, seulement si c'est un lundi, à 9 h 00
    on the 1st, 11th, 21st and 31st of each month, only if it is a Monday, at 9:00
0 9 */16 2 1,2#1
    les 1er et 17 du mois, seulement si c'est un lundi ou le premier mardi du mois, à 9 h 00, en février
    on the 1st and 17th of the month, only if it is a Monday or the first Tuesday of the month, at 9:00, in February
0 9 * 7-8 *
    tous les jours à 9 h 00, en juillet et août
    every day at 9:00, in July and August
0 9 * 1,2 1
    tous les lundis à 9 h 00, en janvier et février
    every Monday at 9:00, in January and February
* * * * *
    toutes les minutes
    every minute
*/15 * * * *
    toutes les 15 minutes
    every 15 minutes
*/10 * * 8 *
    toutes les 10 minutes, en août
    every 10 minutes, in August
0 * * * *
    toutes les heures
    every hour
5 * * * *
    à la minute 5 de chaque heure
    at minute 5 of every hour
*/25 * * * *
    aux minutes 0, 25 et 50 de chaque heure
    at minutes 0, 25 and 50 of every hour
*/15 9-17 * * 1-5
    toutes les 15 minutes de 9 h 00 à 17 h 45, du lundi au vendredi
    every 15 minutes from 9:00 to 17:45, Monday to Friday
* 9 * * *
    toutes les minutes de 9 h 00 à 9 h 59, tous les jours
    every minute from 9:00 to 9:59, every day
0 8-18 * * 1-5
    toutes les heures de 8 h 00 à 18 h 00, du lundi au vendredi
    every hour from 8:00 to 18:00, Monday to Friday
30 */2 * * *
    toutes les 2 heures de 0 h 30 à 22 h 30, tous les jours
    every 2 hours from 0:30 to 22:30, every day
7 1,3,8,9,22 * * *
    tous les jours à 1 h 07, 3 h 07, 8 h 07, 9 h 07 et 22 h 07
    every day at 1:07, 3:07, 8:07, 9:07 and 22:07
0-5,9,20 1,2,7 * * *
    aux minutes 0 à 5, 9 et 20 de 1 h, 2 h et 7 h, tous les jours
    at minutes 0 to 5, 9 and 20 of hour 1, hour 2 and hour 7, every day
"""


@pytest.mark.parametrize(
    "reading", re.findall(r"(?m)^\S.*\n +.*\n +.*$", READINGS), ids=lambda reading: reading.split("\n")[0]
)
def test_a_line_reads_as_a_person_would_say_it(reading: str) -> None:
    line, french, english = map(str.strip, reading.split("\n"))
    assert in_words(line, "fr").replace("\N{NO-BREAK SPACE}", " ") == french
    assert in_words(line, "en") == english


def test_a_french_hour_does_not_break_at_the_end_of_a_line() -> None:
    assert in_words("0 9 * * *", "fr") == "tous les jours à 9\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}00"


@pytest.mark.parametrize("language", ["fr", "en"])
def test_lines_that_read_alike_fire_alike(language: Language) -> None:
    alike = defaultdict(list)
    for line in map(
        " ".join,
        product(
            ["0", "30", "*", "*/15", "0,20", "*/25"],
            ["9", "*", "9-17", "*/6", "8-18/2", "9,10,14"],
            ["*", "1", "31", "*/2", "1-7", "L"],
            ["*", "2", "1,4"],
            ["*", "1", "1-5", "0,6", "5L", "1#5", "1,5L"],
        ),
    ):
        try:
            alike[in_words(line, language)].append(line)
        except ScheduleError:
            assert line.split()[2:4] == ["31", "2"]
    assert len(alike) > 3000
    for lines in alike.values():
        if len(lines) > 1:
            fires = {tuple(next_instants([line], PARIS, utc("2026-01-01"), count=30)) for line in lines}
            assert len(fires) == 1, lines
