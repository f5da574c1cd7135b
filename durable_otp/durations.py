"""Durations and instants: how they are written, and the one form that each has inside."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*")


def seconds(n: float) -> timedelta:
    """Return ``n`` seconds."""
    return timedelta(seconds=n)


def minutes(n: float) -> timedelta:
    """Return ``n`` minutes."""
    return timedelta(minutes=n)


def hours(n: float) -> timedelta:
    """Return ``n`` hours."""
    return timedelta(hours=n)


def days(n: float) -> timedelta:
    """Return ``n`` days of 24 hours."""
    return timedelta(days=n)


def in_seconds(duration: timedelta | float, *, what: str = "a duration") -> float:
    """Return a duration argument as seconds.

    Args:
        duration: A ``timedelta``, or a number of seconds.
        what: The argument's name, for the message.

    Raises:
        TypeError: It is neither.
        ValueError: It is negative or not finite.
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, int | float) and not isinstance(duration, bool):
        value = _as_float(duration)
    else:
        raise TypeError(f"{what} must be a timedelta or a number of seconds, not {duration!r}.")
    if value < 0 or not math.isfinite(value):
        raise ValueError(f"{what} must be zero or more seconds and finite, not {duration!r}.")
    return value


def _as_float(number: float) -> float:
    """Return a number as a float; one that is beyond all floats as infinity."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def parse_duration(text: str) -> float:
    """Return the seconds of a text such as ``"500ms"``, ``"30s"``, ``"5m"``, ``"2h"`` or ``"7d"``.

    Raises:
        ValueError: The text is not a number with one of these units.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} is not a duration; write "500ms", "30s", "5m", "2h" or "7d".')
    return float(match[1]) * UNIT_SECONDS[match[2]]


def in_utc(instant: Any, *, what: str) -> datetime:
    """Return an instant argument in UTC.

    Args:
        instant: An aware ``datetime``.
        what: The argument's name, for the message.

    Raises:
        ValueError: It is none, or lies outside the years 1 to 9999 in UTC, so that PostgreSQL would
            take it and nobody could read it back.
    """
    if not isinstance(instant, datetime) or instant.utcoffset() is None:
        raise ValueError(f"{what} must be a datetime with a time zone, not {instant!r}.")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(
            f"{what} must lie within the years 1 to 9999 in UTC, not {instant!r}."
        ) from None
