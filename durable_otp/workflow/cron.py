"""Cron expressions: what they mean, and at which instants they are due in a time zone.

cronsim reads the expression and finds the wall times that match it; which instants those are is
decided here, because where clocks are changed cron has two answers:

* A schedule for fixed times runs once for each wall time: at its first occurrence where an hour is
  repeated, at the first instant after the gap where an hour is skipped.
* A schedule with ``*`` or ``*/n`` in the minute or the hour runs at every instant whose wall time
  matches: in both occurrences of a repeated hour, not at all in a gap.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from durable_otp.errors import ScheduleError
from durable_otp.workflow.wall_time import (
    first_instant,
    instants_of,
    repeated_by,
    wall_time,
    zone_named,
)

FIELDS = 5
LONGEST_CRON = 200
_MONTH = 3
_A_TIME = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall time, in no zone


@dataclass(frozen=True)
class Cron:
    """A valid expression in a zone; made by ``parse``."""

    text: str
    zone: ZoneInfo

    @property
    def has_fixed_times(self) -> bool:
        """Whether neither the minute nor the hour is written with a star."""
        minute, hour, *_ = self.text.split()
        return not any(term.startswith("*") for term in f"{minute},{hour}".split(","))

    def slots(self, after: datetime) -> Iterator[datetime]:
        """Yield the instants, in UTC and in order, at which it is due after an aware instant.

        It ends where nothing matches for 50 years, or with the calendar.
        """
        return self._fixed(after) if self.has_fixed_times else self._repeating(after)

    def _fixed(self, after: datetime) -> Iterator[datetime]:
        last = after
        for wall in self._walls(wall_time(after, self.zone)):
            instant = first_instant(wall, self.zone)
            if instant > last:  # several wall times may fall on the end of one gap
                last = instant
                yield instant

    def _repeating(self, after: datetime) -> Iterator[datetime]:
        later: list[datetime] = []  # second occurrences, until the first ones before them are out
        start = wall_time(after, self.zone) - repeated_by(after, self.zone)
        for wall in self._walls(start):
            found = instants_of(wall, self.zone)
            for instant in found:
                if instant > after:
                    heappush(later, instant)
            while found and later and later[0] <= found[0]:
                yield heappop(later)
        while later:
            yield heappop(later)

    def _walls(self, after: datetime) -> Iterator[datetime]:
        """Yield the wall times that match, after one."""
        try:
            yield from CronSim(self.text, after.replace(fold=0))
        except (OverflowError, ValueError):
            return  # the year 10000


def parse(text: str, timezone: str, subject: str = "The schedule") -> Cron:
    """Return a cron expression in a zone.

    Args:
        text: Five fields: minute, hour, day of month, month, day of week.
        timezone: The zone's name.
        subject: Whose they are, for the message.

    Raises:
        ScheduleError: One of them is wrong, or no date matches; the message names the field.
    """
    if not isinstance(timezone, str) or not timezone.isprintable():
        raise ScheduleError(
            f"{subject}: timezone must be a text, not {timezone!r}.", field="timezone"
        )
    try:
        zone = zone_named(timezone)
    except ValueError as error:
        raise ScheduleError(f"{subject}: timezone {error}", field="timezone") from None
    return Cron(_checked(text, subject), zone)


def _checked(text: str, subject: str) -> str:
    if not isinstance(text, str) or len(text) > LONGEST_CRON:
        raise _wrong(subject, repr(text)[:LONGEST_CRON], "is not a cron expression")
    fields = text.split()
    shown = repr(text)
    if len(fields) != FIELDS:
        raise _wrong(subject, shown, f"has {len(fields)} fields")
    try:
        is_possible = next(CronSim(" ".join(fields), _A_TIME), None) is not None
    except CronSimError as error:
        if not _is_read_with_any_month(fields):
            reason = str(error).removeprefix("Bad ")
            raise _wrong(subject, shown, f"has a wrong {reason}") from None
        is_possible = False
    if not is_possible:
        raise ScheduleError(
            f"{subject}: cron {shown} is never due: no such day-of-month is in its month; choose "
            "a date that exists.",
            field="cron",
        )
    return " ".join(fields)


def _is_read_with_any_month(fields: list[str]) -> bool:
    """Return whether only the month makes cronsim refuse it: a date that no year has."""
    try:
        CronSim(" ".join([*fields[:_MONTH], "*", *fields[_MONTH + 1 :]]), _A_TIME)
        CronSim(f"0 0 1 {fields[_MONTH]} *", _A_TIME)
    except CronSimError:
        return False
    return True


def _wrong(subject: str, shown: str, reason: str) -> ScheduleError:
    return ScheduleError(
        f"{subject}: cron {shown} {reason}; write five fields: minute, hour, day of month, month, "
        "day of week.",
        field="cron",
    )
