"""Medians with their interval, and numbers as a person reads them."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]


def where(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Return the rows with these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def distinct(rows: Iterable[Row], *keys: str) -> list[tuple[Any, ...]]:
    """Return the combinations of values that occur, in the order of their first occurrence."""
    return list(dict.fromkeys(tuple(row.get(key) for key in keys) for row in rows))


def values(rows: Iterable[Row], key: str) -> list[float]:
    """Return what the rows have under a key."""
    return [float(row[key]) for row in rows if row.get(key) is not None]


def median(rows: Iterable[Row], key: str) -> float | None:
    """Return the median under a key; None if there is nothing."""
    found = values(rows, key)
    return statistics.median(found) if found else None


def spread(numbers: Sequence[float], *, unit: str = "") -> str:
    """Return the median and the interval of all repetitions, as text."""
    if not numbers:
        return "-"
    middle = figure(statistics.median(numbers)) + unit
    if len(numbers) == 1:
        return middle
    return f"{middle} [{figure(min(numbers))} - {figure(max(numbers))}]"


def told(rows: Iterable[Row], key: str, *, unit: str = "") -> str:
    """Return the median and the interval under a key, as text."""
    return spread(values(rows, key), unit=unit)


def middle(rows: Iterable[Row], key: str) -> str:
    """Return the median under a key, as text."""
    found = median(rows, key)
    return "-" if found is None else figure(found)


def ratio(ours: Iterable[Row], floor: Iterable[Row], key: str) -> list[float]:
    """Return ours / floor of each repetition, paired as they were measured."""
    beneath = {row["repetition"]: row.get(key) for row in floor}
    pairs = [(row.get(key), beneath.get(row["repetition"])) for row in ours]
    return [above / below for above, below in pairs if above is not None and below]


def figure(number: float) -> str:
    """Return a number with as many digits as mean something."""
    size = abs(number)
    if size >= 100:
        return f"{number:,.0f}"
    if size >= 10:
        return f"{number:.1f}"
    return f"{number:.2f}" if size >= 0.1 else f"{number:.3f}"


def percentile(numbers: Sequence[float], share: float) -> float:
    """Return the value below which a share of the numbers lies."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
