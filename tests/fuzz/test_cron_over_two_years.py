"""Cron in every zone, held against a walk through every minute of two years.

The walk knows nothing of time zones but how far each zone's clocks were from UTC in each minute: a
wall time that was skipped is due when the gap is over, one that was shown before is a repetition.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given
from hypothesis import strategies as st

from durable_otp.workflow.cron import parse
from tests.support.cron_expressions import Expression, expressions
from tests.support.examples import examples

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1).toordinal()
ZONES = sorted(available_timezones() - {"localtime", "Factory"})
WITH_CHANGES = (
    "America/New_York", "Europe/Berlin", "Europe/Dublin", "Africa/Casablanca", "Antarctica/Troll",
    "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "Asia/Pyongyang", "Asia/Gaza",
    "America/Caracas", "Pacific/Chatham",
)  # fmt: skip
MOST_SLOTS = 5_000
HOUR, DAY = 60, 1_440
YEARS = (1997, 2010, 2014, 2018, 2025, 2036)


@lru_cache(maxsize=64)
def stretches(zone: str, year: int) -> list[tuple[int, int, int]]:
    """Return the minutes of two years as (first, behind the last, minutes ahead of UTC)."""
    first, end = (
        _minute(datetime(year, 1, 1, tzinfo=UTC)),
        _minute(datetime(year + 2, 1, 1, tzinfo=UTC)),
    )
    found = [(first, _ahead(zone, first))]
    for hour in range(first, end, HOUR):
        if _ahead(zone, hour + HOUR) != found[-1][1]:
            change = next(
                m for m in range(hour, hour + HOUR + 1) if _ahead(zone, m) != found[-1][1]
            )
            found.append((change, _ahead(zone, change)))
    ends = [begin for begin, _ in found[1:]] + [end]
    return [(begin, end, ahead) for (begin, ahead), end in zip(found, ends, strict=True)]


def _minute(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(minutes=1)


def _ahead(zone: str, minute: int) -> int:
    local = (EPOCH + timedelta(minutes=minute)).astimezone(ZoneInfo(zone))
    return (local.utcoffset() or timedelta(0)) // timedelta(minutes=1)


class Calendar:
    """Which minutes of walls an expression means."""

    def __init__(self, expression: Expression) -> None:
        times = {hour * HOUR + minute for hour in expression.hours for minute in expression.minutes}
        self._is_time = [number in times for number in range(DAY)]
        self._is_day = lru_cache(maxsize=None)(expression.is_day)

    def means(self, wall: int) -> bool:
        """Return whether it means a minute of a wall, counted from 1970."""
        day = wall // DAY
        return self._is_time[wall % DAY] and self._is_day(date.fromordinal(EPOCH_DAY + day))


def walk(expression: Expression, zone: str, year: int, after: int) -> Iterator[int]:
    """Yield the minutes after another at which it is due, by looking at each."""
    means = Calendar(expression).means
    latest: int | None = None  # the latest wall time that was shown
    for first, end, ahead in stretches(zone, year):
        for minute in range(max(first, after - 2 * DAY), end):
            wall = minute + ahead
            skipped = 0 if latest is None or expression.has_star else wall - latest - 1
            if skipped >= 0 and means(wall):  # below zero it is a repetition
                is_due = True
            else:  # what a gap has skipped falls on its end
                is_due = any(means(wall - each) for each in range(1, skipped + 1))
            if is_due and minute > after:
                yield minute
            latest = wall if latest is None else max(latest, wall)


@examples(3, 300)
@given(
    expressions,
    st.one_of(st.sampled_from(WITH_CHANGES), st.sampled_from(ZONES)),
    st.sampled_from(YEARS),
    st.integers(0, 700 * DAY),
)
def test_it_is_due_in_the_minutes_that_a_walk_finds(
    expression: Expression, zone: str, year: int, after: int
) -> None:
    first = stretches(zone, year)[0][0]
    begin = first + after
    expected = list(islice(walk(expression, zone, year, begin), MOST_SLOTS))
    found = parse(expression.text, zone).slots(EPOCH + timedelta(minutes=begin))
    slots = [_minute(slot) for slot in islice(found, len(expected))]
    assert slots == expected
    if len(expected) < MOST_SLOTS:
        behind = next(found, None)
        assert behind is None or _minute(behind) >= stretches(zone, year)[-1][1]
