"""Cron expressions: at which instants they are due, held against a walk through every minute."""

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from durable_otp.errors import ScheduleError
from durable_otp.workflow.cron import parse
from tests.support.cron_expressions import Expression, expressions

MINUTE = timedelta(minutes=1)
ZONES = (
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",  # changed at midnight
    "Europe/Berlin",
    "Europe/Dublin",
    "Africa/Casablanca",  # back and forth around Ramadan
    "Antarctica/Troll",  # two hours at once
    "Australia/Lord_Howe",  # half an hour
    "Asia/Kathmandu",
    "Pacific/Apia",  # left a whole day out in 2011
    "Asia/Pyongyang",  # half an hour, in 2015 and 2018
)
YEARS = (2010, 2011, 2015, 2018, 2024, 2025)


@cache
def changes(zone: str) -> list[datetime]:
    """Return the hours of those years in which a zone's clocks are changed, or New Year."""
    found = []
    for year in YEARS:
        begin = datetime(year, 1, 1, tzinfo=UTC)
        hours = [begin + timedelta(hours=n) for n in range(365 * 24)]
        offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
        found += [
            hour
            for hour, before, after in zip(hours, offsets, offsets[1:], strict=False)
            if before != after
        ]
    return found or [datetime(year, 1, 1, tzinfo=UTC) for year in YEARS]


@cache
def walk(zone: str, begin: datetime, minutes: int) -> list[tuple[datetime, datetime]]:
    """Return every minute of a while, with what the clocks show then."""
    instants = (begin + n * MINUTE for n in range(minutes))
    return [(instant, instant.astimezone(ZoneInfo(zone))) for instant in instants]


def due_by_walking(expression, zone, begin, minutes):
    """Return when it is due after an instant, by the sentences of the contract alone."""
    found = []
    steps = walk(zone, begin, minutes)
    for (_, before), (instant, local) in pairwise(steps):
        wall = local.replace(tzinfo=None)
        if expression.has_star:
            is_due = expression.matches(wall)
        else:
            left_out = before.replace(tzinfo=None) + MINUTE
            is_due = local.fold == 0 and expression.matches(wall)
            while left_out < wall and not is_due:  # none but at the end of a gap
                is_due = expression.matches(left_out)
                left_out += MINUTE
        if is_due:
            found.append(instant)
    return found


ANY = "* * *"


def plain(text):
    """Return an expression on any day, from its minute and hour."""
    minute, hour = text.split()
    whole = [set(range(60)), set(range(24))]

    def meant(field, span):
        if field.startswith("*"):
            _, _, step = field.partition("/")
            return field, set(sorted(span)[:: int(step or 1)])
        first, _, last = field.partition("-")
        return field, set(range(int(first), int(last or first) + 1))

    day, month, weekday = ("*", set(range(1, 32))), ("*", set(range(1, 13))), ("*", set(range(7)))
    return Expression(meant(minute, whole[0]), meant(hour, whole[1]), day, month, weekday)


@given(
    expression=expressions,
    zone=st.sampled_from(ZONES),
    which=st.integers(0, 30),
    before=st.integers(-200, 2000),
)
@example(plain("30 2"), "Europe/Berlin", 0, 600)
@example(plain("*/20 *"), "Australia/Lord_Howe", 1, 60)
@example(plain("0-59 0-23"), "Antarctica/Troll", 1, 10)
@example(plain("* *"), "Pacific/Apia", 3, 100)
@example(plain("15 12"), "Pacific/Apia", 3, 100)
@example(plain("0-59 2"), "Europe/Berlin", 1, -70)  # from within the second occurrence
@example(plain("19 */4"), "Australia/Lord_Howe", 0, 600)  # as cronsim alone does not
@example(plain("* 0"), "America/Sao_Paulo", 1, 600)  # likewise
@settings(deadline=None, max_examples=200)
def test_it_is_due_when_a_walk_through_every_minute_says_so(expression, zone, which, before):
    change = changes(zone)[which % len(changes(zone))]
    begin = change - before * MINUTE
    minutes = 2 * 24 * 60
    expected = due_by_walking(expression, zone, begin, minutes)
    last = begin + (minutes - 1) * MINUTE

    found = parse(expression.text, zone).slots(begin)

    assert list(takewhile(lambda slot: slot <= last, found)) == expected


@given(expressions, st.sampled_from(ZONES), st.integers(0, 36_000))
@settings(deadline=None, max_examples=100)
def test_slots_are_ordered_distinct_and_can_be_resumed_anywhere(expression, zone, days):
    cron = parse(expression.text, zone)
    after = datetime(1990, 1, 1, 5, 17, tzinfo=UTC) + timedelta(days=days)
    slots = list(islice(cron.slots(after), 40))
    assert slots == sorted(set(slots))
    assert all(slot > after and slot.tzinfo is UTC for slot in slots)
    for first, second in pairwise(slots):
        assert next(cron.slots(first)) == second
        assert next(cron.slots(second - timedelta(microseconds=1))) == second


def due(text, zone, *, after, count):
    begin = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone))
    slots = islice(parse(text, zone).slots(begin), count)
    return [slot.astimezone(ZoneInfo(zone)).isoformat() for slot in slots]


def test_a_wall_time_that_does_not_exist_runs_at_the_first_instant_after_the_gap():
    assert due("30 2 * * *", "America/New_York", after="2025-03-08T12:00", count=2) == [
        "2025-03-09T03:00:00-04:00",
        "2025-03-10T02:30:00-04:00",
    ]


def test_times_that_fall_on_the_end_of_one_gap_are_one_run():
    assert due("0,30 2,3 * * *", "Europe/Berlin", after="2025-03-30T00:00", count=3) == [
        "2025-03-30T03:00:00+02:00",
        "2025-03-30T03:30:00+02:00",
        "2025-03-31T02:00:00+02:00",
    ]


def test_a_repeated_wall_time_of_a_fixed_time_runs_at_its_first_occurrence_only():
    assert due("30 1 * * *", "America/New_York", after="2025-11-02T00:00", count=2) == [
        "2025-11-02T01:30:00-04:00",
        "2025-11-03T01:30:00-05:00",
    ]


def test_a_star_runs_in_both_occurrences_and_not_in_the_gap():
    assert due("*/30 1 * * *", "America/New_York", after="2025-11-02T00:00", count=4) == [
        "2025-11-02T01:00:00-04:00",
        "2025-11-02T01:30:00-04:00",
        "2025-11-02T01:00:00-05:00",
        "2025-11-02T01:30:00-05:00",
    ]
    assert due("*/30 2 * * *", "America/New_York", after="2025-03-09T00:00", count=1) == [
        "2025-03-10T02:00:00-04:00"
    ]


def test_a_date_that_is_rare_is_found_and_the_calendar_s_end_ends_it():
    leap = parse("0 0 29 2 *", "UTC")
    assert next(leap.slots(datetime(2096, 3, 1, tzinfo=UTC))).year == 2104
    assert list(leap.slots(datetime(9998, 1, 1, tzinfo=UTC))) == []
    assert list(parse("0 0 * * *", "Asia/Tokyo").slots(datetime(9999, 12, 30, tzinfo=UTC))) != []


@pytest.mark.parametrize(
    ("text", "zone", "field", "said"),
    [
        ("61 * * * *", "UTC", "cron", "wrong minute"),
        ("* 24 * * *", "UTC", "cron", "wrong hour"),
        ("* * 0 * *", "UTC", "cron", "wrong day-of-month"),
        ("* * * JANUARY *", "UTC", "cron", "wrong month"),
        ("0 0 1 13 *", "UTC", "cron", "wrong month"),
        ("* * * * 8", "UTC", "cron", "wrong day-of-week"),
        ("* * * * FRI-MON", "UTC", "cron", "wrong day-of-week"),
        ("*/0 * * * *", "UTC", "cron", "wrong minute"),
        (", * * * *", "UTC", "cron", "wrong minute"),
        ("٣ * * * *", "UTC", "cron", "wrong minute"),
        ("\ud800 * * * *", "UTC", "cron", "wrong minute"),
        ("* * * *", "UTC", "cron", "has 4 fields"),
        ("0 * * * * *", "UTC", "cron", "has 6 fields"),
        ("@daily", "UTC", "cron", "has 1 fields"),
        ("", "UTC", "cron", "has 0 fields"),
        ("* " * 500, "UTC", "cron", "not a cron expression"),
        (None, "UTC", "cron", "not a cron expression"),
        ("0 0 30 2 *", "UTC", "cron", "never due"),
        ("0 0 31 APR,jun *", "UTC", "cron", "never due"),
        ("0 9 * * *", "Mars/Olympus", "timezone", "'Mars/Olympus' is not a time zone"),
        ("0 9 * * *", "../etc/passwd", "timezone", "is not a time zone"),
        ("0 9 * * *", "a\0b", "timezone", "must be a text"),
        ("0 9 * * *", "", "timezone", "is not a time zone"),
        ("0 9 * * *", None, "timezone", "must be a text"),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence_that_names_the_field(text, zone, field, said):
    with pytest.raises(ScheduleError, match=said) as caught:
        parse(text, zone, "Schedule 'x'")
    assert caught.value.field == field
    assert str(caught.value).startswith("Schedule 'x': ")
    assert len(str(caught.value).splitlines()) == 1


def test_names_and_spaces_are_read_as_people_write_them():
    cron = parse("  0\t9  * jan-MAR  mon-fri ", "UTC")
    assert cron.text == "0 9 * jan-MAR mon-fri"
    assert next(cron.slots(datetime(2025, 4, 1, tzinfo=UTC))) == datetime(2026, 1, 1, 9, tzinfo=UTC)
