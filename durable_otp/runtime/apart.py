"""Who gets a shared worker process for itself. Pure.

When such a process dies by itself, nobody knows which of its executions did it, and all are
charged. Were they run side by side again, one that kills every worker would take its neighbours
with it to their `max_crashes`. One death may be anybody's, a kill from outside too; what has died
twice, or would fail with the next death, begins apart: in a process with nobody else, until it has
completed a step. One for which no process is empty waits, and one process is let run empty for it.
"""

from collections.abc import Mapping
from typing import NamedTuple

FREE_DEATHS = 1


def begins_apart(crashes: int, max_crashes: int) -> bool:
    """Return whether an execution that was charged with so many deaths gets no neighbours."""
    return crashes > FREE_DEATHS or 0 < crashes >= max_crashes - 1


class Seating(NamedTuple):
    """Where those go that begin apart.

    Attributes:
        workers: An empty worker for each of the first ones.
        let_run_empty: The worker that is to get nothing more, because others wait; None: none do.
    """

    workers: list[str]
    let_run_empty: str | None


def seat(count: int, in_hand: Mapping[str, int], free: int) -> Seating:
    """Return where so many go.

    Args:
        count: How many have to begin apart.
        in_hand: By worker, how many executions it has in hand; those that run one apart left out.
        free: How many more executions may be in flight.
    """
    empty = [worker for worker, executions in in_hand.items() if not executions]
    taken = empty[: max(0, min(count, free))]
    if len(taken) == count or free <= 0 or not in_hand:
        return Seating(taken, None)
    others = [worker for worker in in_hand if worker not in taken]
    return Seating(taken, min(others, key=lambda worker: in_hand[worker], default=None))
