"""What a doctor asks of the database: how many have an ailment, and who the first of them are."""

from collections.abc import Sequence
from dataclasses import dataclass

from durable_otp.storage.operation import Operation, Row
from durable_otp.storage.statements import Statement

Examples = Sequence[str]


@dataclass(frozen=True)
class Bounds:
    """From when on something is wrong, in seconds.

    Attributes:
        stale: A claim without a heartbeat, a wait for nothing.
        silent: A manager or node that says nothing.
        overdue: Something that was due and has not been done.
        long: An open transaction.
    """

    stale: float = 300.0
    silent: float = 30.0
    overdue: float = 60.0
    long: float = 300.0


@dataclass(frozen=True)
class Ailing:
    """How many there are, and the first of them by id or name."""

    count: int
    examples: tuple[str, ...]


def ailing(statement: str, bounds: Bounds, served: Sequence[str] = ()) -> Operation[Ailing | None]:
    """Return what one statement of ``sql/diagnosis.sql`` finds; None if nothing.

    Args:
        statement: Its name.
        bounds: From when on something is wrong.
        served: The queues that living nodes run.
    """
    known = {
        "stale": bounds.stale,
        "silent": bounds.silent,
        "overdue": bounds.overdue,
        "long": bounds.long,
        "served": list(served),
    }
    rows: Sequence[Row] = yield Statement(statement, known)
    if not rows:
        return None
    return Ailing(rows[0]["count"], tuple(row["example"] for row in rows))


def living_managers(silent: float) -> Operation[list[str]]:
    """Return the managers that were heard of within so many seconds."""
    rows = yield Statement("living_managers", {"silent": silent})
    return [row["id"] for row in rows]


def connections_used() -> Operation[tuple[int, int]]:
    """Return how many connections the server has open, and how many it allows."""
    rows = yield Statement("connections_used")
    return rows[0]["count"], rows[0]["connections"]
