"""What the end of executions brings with it: their waits, their children, their parents.

An execution that fails, or that begins to undo what it did, waits for nothing any more and has no
use for children that still run; that belongs into the transaction of its end. Its parent is told
afterwards (`families.children_ended`), because parents are locked before their children.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from durable_otp.storage.descendants import cancel_descendants
from durable_otp.storage.families import children_ended
from durable_otp.storage.operation import Operation, Row
from durable_otp.workflow.state import State

PARENT_ENDED_MESSAGE = "The execution that started it has failed."


@dataclass(frozen=True)
class Ended:
    """How many executions an operation has dealt with, and the parents of those that ended."""

    count: int
    parents: tuple[str, ...] = ()


def ended(rows: Sequence[Row]) -> Ended:
    """Return the count and the parents of what a statement has written."""
    return Ended(len(rows), parents_of(rows))


def parents_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the parents, each once, in the order in which rows are locked."""
    found = {row["parent_id"] for row in rows if row.get("parent_id") is not None}
    return tuple(sorted(found)) if found else ()


def aftermath(rows: Sequence[Row]) -> Operation[None]:
    """Cancel the children of those that failed or begin to compensate; a trigger closes waits.

    To be run in the transaction of the statement that returned the rows.
    """
    over = [row["id"] for row in rows if row["status"] in (State.FAILED, State.COMPENSATING)]
    if not over:
        return
    yield from cancel_descendants(over, PARENT_ENDED_MESSAGE)


def run_ending(
    run: Callable[..., Any], operation: Callable[..., Operation[Ended]], *args: Any, **options: Any
) -> int:
    """Run an operation that may end executions, then tell their parents; return its count."""
    done: Ended = run(operation, *args, **options)
    if done.parents:
        run(children_ended, done.parents)
    return done.count
