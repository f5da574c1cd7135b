"""How ids, times, numbers and sizes are written: the same everywhere."""

from datetime import UTC, datetime, timedelta
from typing import Any

DASH = "—"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def short_id(id_: Any) -> str:
    """Return the first and the last digits of an id: those made together begin alike."""
    return DASH if id_ is None else f"{str(id_)[:8]}…{str(id_)[-4:]}"


def iso(value: datetime | None) -> str:
    """Return an instant as a machine reads it."""
    return "" if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds")


def instant(value: datetime | None) -> str:
    """Return an instant for a person, in UTC and saying so."""
    return DASH if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S Z")


def seconds(value: float | timedelta | None) -> str:
    """Return how long something took, in its two largest units."""
    if value is None:
        return DASH
    total = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if total < 1:
        return f"{max(0, round(total * 1000))} ms"
    if total < _MINUTE:
        return f"{total:.1f}".removesuffix(".0") + " s"
    whole = int(total)
    for size, unit, part, lesser in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "m"),
        (_MINUTE, "m", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {lesser}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def number(value: float | None) -> str:
    """Return a number with its thousands apart."""
    return DASH if value is None else f"{value:,}"


def size(value: float | None) -> str:
    """Return a number of bytes."""
    if value is None:
        return DASH
    amount = float(value)
    for unit in ("B", "KB", "MB"):
        if amount < 1024:  # noqa: PLR2004 - bytes of a kilobyte
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"


def spoken(word: Any) -> str:
    """Return a name of ours as words."""
    return str(word).replace("_", " ")


def field_id(name: str) -> str:
    """Return a field's name as an element's id: no two names have the same."""
    return "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in name)
