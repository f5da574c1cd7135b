"""Claims within what holds for a queue over all nodes: so many at once, so many in a time.

The rate is a token bucket (Turner 1986): it holds as many as the rate's count and refills evenly,
and every claim takes one, a resumed execution's too. Claimers of a limited queue take turns.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.queue import Claim, fetch_jobs
from durable_otp.storage.statements import Statement


@dataclass(frozen=True)
class QueueLimits:
    """What holds for a queue over all nodes; None: no limit.

    Attributes:
        concurrency: Executions in flight.
        rate_count: Claims in ``rate_seconds``.
        rate_seconds: The time of the rate.
    """

    concurrency: int | None = None
    rate_count: int | None = None
    rate_seconds: float | None = None

    @property
    def are_none(self) -> bool:
        """Whether nothing is limited."""
        return self == QueueLimits()


@dataclass(frozen=True)
class Fetched:
    """What was claimed; ``more_in``: seconds until a limit lets more through, None: none is met.

    A limit of concurrency gives no time: it is an end that makes room. That is infinity.
    """

    claims: list[Claim]
    more_in: float | None = None


@transaction
def fetch_within_limits(
    queue: str, limit: int, node_id: str, workflows: Collection[tuple[str, str]] | None
) -> Operation[Fetched]:
    """Claim what is due and what the queue's limits allow; arguments as of `fetch_jobs`."""
    rows = yield Statement("take_queue", {"queue": queue})
    if not rows:
        return Fetched((yield from fetch_jobs(queue, limit, node_id, workflows)))
    (limits,) = rows
    room, more_in = limit, None
    if limits["concurrency"] is not None:
        (held,) = yield Statement("held_of_queue", {"queue": queue})
        room = min(room, limits["concurrency"] - held["held"])
        more_in = float("inf") if room < limit else None
    if limits["tokens"] is not None and limits["tokens"] < room:
        room, more_in = int(limits["tokens"]), limits["seconds_each"]
    if room <= 0:
        return Fetched([], more_in)
    claims = yield from fetch_jobs(queue, room, node_id, workflows)
    if claims and limits["tokens"] is not None:
        yield Statement("use_tokens", {"queue": queue, "used": len(claims)})
    return Fetched(claims, more_in if len(claims) == room else None)


def set_limits(queue: str, limits: QueueLimits, *, by_operator: bool) -> Operation[None]:
    """Set what holds for a queue over all nodes; a configuration does not change an operator's."""
    yield Statement("set_limits", {"queue": queue, "by_operator": by_operator, **vars(limits)})


def remove_limits(queue: str) -> Operation[bool]:
    """Remove what holds for a queue over all nodes; return whether there was anything."""
    return bool((yield Statement("remove_limits", {"queue": queue})))


def all_limits() -> Operation[dict[str, QueueLimits]]:
    """Return what holds over all nodes, by queue."""
    rows: Any = yield Statement("all_limits")
    return {row.pop("queue"): QueueLimits(**row) for row in rows}
