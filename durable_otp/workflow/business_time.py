"""Instants that people mean: the next working day, the next Monday, the end of today.

"Now" is the database's inside a step. A wall time that a zone's clocks skip is the first instant
after the gap; one that they repeat is its first occurrence.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from durable_otp.workflow.current import current_run
from durable_otp.workflow.wall_time import first_instant, zone_named

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SATURDAY = 5
_LAST_HOUR = 23


def next_business_day(
    hour: int = 9, timezone: str = "UTC", *, now: datetime | None = None
) -> datetime:
    """Return ``hour`` o'clock of the first day after today that is neither Saturday nor Sunday."""
    zone = zone_named(timezone)
    day = _local(now, zone).date() + timedelta(days=1)
    while day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    return _at(day, _hour(hour), zone)


def next_weekday(
    day: str, hour: int = 9, timezone: str = "UTC", *, now: datetime | None = None
) -> datetime:
    """Return ``hour`` o'clock of the next such day ("monday" ...), never today."""
    name = day.strip().lower()
    if name not in _DAYS:
        raise ValueError(f"{day!r} is not a day of the week; write one of {', '.join(_DAYS)}.")
    zone = zone_named(timezone)
    today = _local(now, zone).date()
    ahead = (_DAYS.index(name) - today.weekday() - 1) % len(_DAYS) + 1
    return _at(today + timedelta(days=ahead), _hour(hour), zone)


def end_of_day(timezone: str = "UTC", *, now: datetime | None = None) -> datetime:
    """Return 23:59:59 of today."""
    zone = zone_named(timezone)
    return _at(_local(now, zone).date(), time(_LAST_HOUR, 59, 59), zone)


def _local(now: datetime | None, zone: ZoneInfo) -> datetime:
    if now is None:
        run = current_run()
        # Outside a step there is no database to ask, and nothing durable hangs on the answer.
        now = datetime.now(UTC) if run is None else run.now()  # noqa: TID251 - see above
    if now.utcoffset() is None:
        raise ValueError(f"now must be an aware datetime, not {now!r}.")
    return now.astimezone(zone)


def _at(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """Return the instant of a wall time, in its zone; a skipped one is moved behind the gap."""
    return first_instant(datetime.combine(day, wall), zone).astimezone(zone)


def _hour(hour: int) -> time:
    if isinstance(hour, bool) or not isinstance(hour, int) or not 0 <= hour <= _LAST_HOUR:
        raise ValueError(f"hour must be a whole number from 0 to 23, not {hour!r}.")
    return time(hour)
