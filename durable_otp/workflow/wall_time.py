"""From what clocks on the wall show to instants, where they skip an hour or show it twice."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone by its name; raise ``ValueError`` when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, AttributeError, OSError):
        raise ValueError(
            f'{name!r} is not a time zone; write a name such as "Europe/Berlin".'
        ) from None


def wall_time(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return what the clocks show at an instant, as a naive datetime that keeps its ``fold``."""
    return instant.astimezone(zone).replace(tzinfo=None)


def instants_of(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the instants, in UTC and in order, at which the clocks show a wall time.

    There is none in a gap, and there are two where an hour is repeated.
    """
    found: list[datetime] = []
    for fold in (0, 1):
        instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if wall_time(instant, zone) == wall and instant not in found:
            found.append(instant)
    return found


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant of a wall time in UTC; of a skipped one, the first after the gap."""
    found = instants_of(wall, zone)
    return found[0] if found else _after_gap(wall, zone)


def repeated_by(instant: datetime, zone: ZoneInfo) -> timedelta:
    """Return how far the clocks will be set back over what they show now; zero nearly always."""
    local = instant.astimezone(zone)
    if local.fold == 1:
        return timedelta(0)
    now, then = local.utcoffset(), local.replace(fold=1).utcoffset()
    return max(timedelta(0), (now or timedelta(0)) - (then or timedelta(0)))


def _after_gap(skipped: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant after the gap: where the zone's offset changes, to the second."""
    low = skipped.replace(tzinfo=zone, fold=1).astimezone(UTC)  # the later offset: before the gap
    high = skipped.replace(tzinfo=zone, fold=0).astimezone(UTC)  # the earlier offset: behind it
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
