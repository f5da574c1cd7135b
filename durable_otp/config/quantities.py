"""Durations and sizes as an operator writes them, and the one form they have inside."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator

from durable_otp.durations import UNIT_SECONDS, in_seconds, parse_duration
from durable_otp.errors import text_of

LONGEST_DURATION = 100 * 365 * 86400.0
LARGEST_COUNT = 2**31 - 1
LONGEST_SHOWN = 120
LARGEST_SIZE = 255 * 1024 * 1024  # jsonb holds less than 256 MB

_RATE_TEXT = re.compile(r"\s*(\d+)\s*/\s*(.+?)\s*")
_UNIT_BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
_SIZE_TEXT = re.compile(r"\s*(\d+)\s*(B|KB|MB|GB)\s*")


@dataclass(frozen=True)
class Rate:
    """So many in so many seconds."""

    count: int
    seconds: float


@dataclass(frozen=True)
class Shown:
    """How a kind of value is called in the reference, and its unit."""

    type: str
    unit: str


def read_duration(value: Any) -> float:
    """Return seconds from a number of them, a text such as "30s", or a ``timedelta``."""
    try:
        seconds = parse_duration(value) if isinstance(value, str) else in_seconds(value)
    except (TypeError, ValueError):
        raise ValueError(
            'must be a duration such as "500ms", "30s", "5m" or a number of seconds from 0, '
            f"not {in_short(value)}"
        ) from None
    if seconds > LONGEST_DURATION:
        raise ValueError(f"must be at most 100 years, not {in_short(value)}")
    return seconds


def read_positive_duration(value: Any) -> float:
    """Return seconds, more than zero."""
    seconds = read_duration(value)
    if seconds == 0:
        raise ValueError("must be more than zero")
    return seconds


def read_size(value: Any) -> int:
    """Return bytes from a number of them or a text such as "64KB" or "1MB"."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE_TEXT.fullmatch(value)):
        size = int(match[1]) * _UNIT_BYTES[match[2]]
    else:
        raise ValueError(
            f'must be a size such as "64KB", "1MB" or a number of bytes, not {in_short(value)}'
        )
    if size < 1:
        raise ValueError(f"must be at least one byte, not {in_short(value)}")
    return size


def read_json_size(value: Any) -> int:
    """Return bytes that one jsonb value can have."""
    size = read_size(value)
    if size > LARGEST_SIZE:
        raise ValueError(
            f'must be at most "255MB", which is what jsonb holds, not {in_short(value)}'
        )
    return size


def read_rate(value: Any) -> Rate:
    """Return a rate from a text such as "100/1m" or "5/s"."""
    match = _RATE_TEXT.fullmatch(value) if isinstance(value, str) else None
    if isinstance(value, Rate):
        return value
    if match is None:
        raise ValueError(f'must be a rate such as "100/1m" or "5/s", not {value!r}')
    period = match[2] if match[2][0].isdigit() else f"1{match[2]}"
    count, seconds = int(match[1]), read_positive_duration(period)
    if not 1 <= count <= LARGEST_COUNT:
        raise ValueError(f"must be at least 1 and at most {LARGEST_COUNT} in a time, not {value!r}")
    return Rate(count, seconds)


def show_rate(rate: Rate) -> str:
    """Return a rate as an operator would write it."""
    return f"{rate.count}/{show_duration(rate.seconds)}"


def in_short(value: Any) -> str:
    """Return a value as a message shows it: in short, whatever it is."""
    shown = text_of(value, repr)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."


def show_duration(seconds: float) -> str:
    """Return seconds as an operator writes them: in the largest unit without a fraction."""
    for unit in sorted(UNIT_SECONDS, key=UNIT_SECONDS.__getitem__, reverse=True):
        count = round(seconds / UNIT_SECONDS[unit], 6)
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds:g}s"


def show_size(size: int) -> str:
    """Return bytes as an operator would write them."""
    for unit in reversed(_UNIT_BYTES):
        if size % _UNIT_BYTES[unit] == 0:
            return f"{size // _UNIT_BYTES[unit]}{unit}"
    raise AssertionError(size)  # every size is a whole number of bytes


_DURATION = Shown("duration", "seconds")
_SIZE = Shown("size", "bytes")

Duration: TypeAlias = Annotated[float, BeforeValidator(read_duration), _DURATION]
PositiveDuration: TypeAlias = Annotated[float, BeforeValidator(read_positive_duration), _DURATION]
Size: TypeAlias = Annotated[int, BeforeValidator(read_size), _SIZE]
RateLimit: TypeAlias = Annotated[Rate, BeforeValidator(read_rate), Shown("rate", "in a time")]
JsonSize: TypeAlias = Annotated[int, BeforeValidator(read_json_size), _SIZE]
