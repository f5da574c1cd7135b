"""What is printed: tables that fit, JSON, and text that cannot disturb a terminal."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNLIMITED = 10_000
NOTHING = "-"
_GAP = 2
_STYLES = {
    "completed": "green",
    "compensated": "green",
    "up": "green",
    "running": "cyan",
    "waiting": "yellow",
    "compensating": "yellow",
    "starting": "yellow",
    "restarting": "yellow",
    "stopping": "yellow",
    "failed": "red",
    "compensation_failed": "red",
    "down": "red",
    "cancelled": "dim",
}


def console() -> Console:
    """Return the console of stdout: as wide as the terminal, without limit where there is none."""
    width = None if sys.stdout.isatty() else UNLIMITED
    return Console(width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def say(text: str) -> None:
    """Print a line."""
    console().print(Text(text), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def cell(value: Any) -> Text:
    """Return a value as it is shown in a table."""
    text = shown(value)
    return Text(text, style=_STYLES.get(text, ""))


def shown(value: Any) -> str:
    """Return a value as text on one line; instants in UTC, nothing that controls a terminal."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return one_line(str(value))


def one_line(text: str) -> str:
    """Return text without line breaks and other control characters."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def duration(milliseconds: float | None) -> str:
    """Return a duration in the unit that suits it."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 1000:  # noqa: PLR2004 - milliseconds in a second
        return f"{milliseconds:.0f}ms"
    seconds = milliseconds / 1000
    if seconds < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s"


def uptime(since: datetime | None, now: datetime) -> str:
    """Return how long something has been up."""
    if since is None:
        return NOTHING
    seconds = max(0, int((now - since).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    return f"{hours}:{minutes:02}:{seconds:02}"


def percent(value: float | None) -> str:
    """Return a share of one processor."""
    return NOTHING if value is None else f"{value:.0f}%"


def size(count: int | None) -> str:
    """Return a number of bytes in the unit that suits it."""
    if count is None:
        return NOTHING
    megabytes = count / (1 << 20)
    return f"{megabytes / 1024:.1f}GB" if megabytes >= 1000 else f"{megabytes:.0f}MB"  # noqa: PLR2004


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    expendable: Sequence[str] = (),
    whole: Sequence[str] = (),
    width: int | None = None,
) -> Table:
    """Return a table that fits.

    Args:
        columns: The headings.
        rows: A value for each column.
        expendable: Columns to leave out, in this order, when the terminal is too narrow.
        whole: Columns that are never cut.
        width: The width to fit in; the terminal's by default.
    """
    cells = [[value if isinstance(value, Text) else cell(value) for value in row] for row in rows]
    widths = {
        name: max([len(name), *(row[index].cell_len for row in cells)])
        for index, name in enumerate(columns)
    }
    kept = _fitting(widths, expendable, console().width if width is None else width)
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for name in kept:
        least = widths[name] if name in whole else None
        drawn.add_column(name, no_wrap=True, min_width=least)
    for row in cells:
        drawn.add_row(*(row[columns.index(name)] for name in kept))
    return drawn


def _fitting(widths: dict[str, int], expendable: Sequence[str], limit: int) -> list[str]:
    """Return the columns to show: all, or without as many expendable ones as it takes."""
    kept = list(widths)
    for name in expendable:
        if sum(widths[each] + _GAP for each in kept) - _GAP <= limit:
            break
        kept.remove(name)
    return kept
