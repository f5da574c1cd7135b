"""The queue: how executions are claimed, and how a claim ends.

A claim is a row's `lock_token`: a fresh one each time it is claimed, and every later write names
it. Whoever lost the claim changes nothing, and is told so.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from durable_otp.errors import ConfigError
from durable_otp.storage.aftermath import Ended, aftermath, ended, parents_of
from durable_otp.storage.identity import is_id
from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.statements import Statement
from durable_otp.workflow.execution import QueueStats, Settled
from durable_otp.workflow.state import State

MAX_INTERRUPTIONS = 20
BATCH_SIZE = 1000
LONGEST_QUEUE_NAME = 100


class Claim(NamedTuple):
    """An execution as a manager hands it on, in the columns of `fetch_jobs`.

    Attributes:
        input: The JSON text as it is stored, None when there is none.
        alone: It was interrupted and has not completed a step since: run it with no neighbour.
        begun_before: It was claimed before, so this is a resume.
        home_queue: Where it was started; a step may have asked for another queue.
        is_plain: It neither compensates nor is a child of a block: its row says all there is.
    """

    id: str
    workflow: str
    version: str
    queue: str
    priority: int
    input: str | None
    scheduled_at: datetime
    current_step: str | None
    lock_token: str
    crashes: int
    alone: bool
    begun_before: bool
    home_queue: str
    is_plain: bool


@dataclass(frozen=True, slots=True)
class Settlement:
    """How the end of a claim fared, and the parents to tell if a child has ended by it."""

    settled: Settled
    parents: tuple[str, ...] = ()


def check_queue(name: object) -> str:
    """Return a queue's name.

    Raises:
        ConfigError: It is not 1 to 100 printable characters.
    """
    if isinstance(name, str) and 0 < len(name) <= LONGEST_QUEUE_NAME and name.isprintable():
        return name
    shown = name[: LONGEST_QUEUE_NAME + 1] if isinstance(name, str) else name
    raise ConfigError(f"queue {shown!r} is not a queue name; use 1 to 100 printable characters.")


class Place(NamedTuple):
    """A place in a queue: everything before it, of its priority, has been looked at."""

    priority: int
    scheduled_at: datetime
    id: str


def place_of(claim: Claim) -> Place:
    """Return where a claim stood in its queue."""
    return Place(claim.priority, claim.scheduled_at, claim.id)


def fetch_jobs(
    queue: str,
    limit: int,
    node_id: str,
    workflows: Collection[tuple[str, str]] | None,
    *,
    onwards: Collection[Place] | None = None,
) -> Operation[list[Claim]]:
    """Claim what is due: the highest priority first, then what is due longest.

    Args:
        queue: Where from.
        limit: The most to claim.
        node_id: Who claims, kept in `locked_by`.
        workflows: The (name, version) pairs that may be claimed; None for any.
        onwards: Look only at these priorities, behind these places; None for the whole queue.
    """
    places = None if onwards is None else sorted(onwards, reverse=True)
    rows = yield Statement(
        "fetch_jobs",
        {
            "queue": queue,
            "limit": limit,
            "node_id": node_id,
            **_claimable(workflows),
            "priorities": None if places is None else [place.priority for place in places],
            "instants": None if places is None else [place.scheduled_at for place in places],
            "ids": None if places is None else [place.id for place in places],
        },
    )
    return sorted((Claim._make(row.values()) for row in rows), key=_turn)


def _claimable(workflows: Collection[tuple[str, str]] | None) -> dict[str, list[str] | None]:
    if workflows is None:
        return {"workflows": None, "versions": None}
    return {
        "workflows": [name for name, _ in workflows],
        "versions": [version for _, version in workflows],
    }


def ack(job_id: str, lock_token: str | None) -> Operation[Settlement]:
    """Complete a running execution; it is OK if it is completed already."""
    return (yield from _settle("ack", job_id, lock_token, repeated=State.COMPLETED))


@transaction
def nack(job_id: str, error: str, lock_token: str | None) -> Operation[Settlement]:
    """Fail a running execution with an error given as JSON text; undone is what it has done."""
    return (yield from _settle("nack", job_id, lock_token, error=error))


def reschedule(job_id: str, run_at: datetime, lock_token: str | None) -> Operation[Settlement]:
    """Give a running execution back, to be claimed at an instant."""
    return (yield from _settle("reschedule", job_id, lock_token, run_at=run_at))


def heartbeat_many(
    claims: Sequence[tuple[str, str | None]], begun: Mapping[str, str] | None = None
) -> Operation[dict[str, Settled]]:
    """Refresh claims, all in one statement; return how each fared.

    Args:
        claims: (execution id, lock token) pairs.
        begun: The step each is in, as JSON text by id; those left out keep what was reported.
    """
    known = [(id_, token) for id_, token in claims if is_id(id_)]
    reports = begun or {}
    rows = yield Statement(
        "heartbeat_many",
        {
            "ids": [id_ for id_, _ in known],
            "lock_tokens": [_token(token) for _, token in known],
            "begun": [reports.get(id_) for id_, _ in known],
        },
    )
    found = {UUID(row["id"]): Settled(row["settled"]) for row in rows}
    return {id_: found[UUID(id_)] if is_id(id_) else Settled.NOT_FOUND for id_, _ in claims}


@transaction
def recover_stale_locks(
    timeout: float,
    *,
    live: Collection[str] = (),
    batch_size: int = BATCH_SIZE,
    max_interruptions: int = MAX_INTERRUPTIONS,
) -> Operation[Ended]:
    """Take back claims that nobody refreshed for `timeout` seconds, and count an interruption.

    Args:
        timeout: Seconds since the last heartbeat.
        live: Holders known to be alive, whose claims are left alone.
        batch_size: The most at once; as many taken back means there may be more.
        max_interruptions: The interruption of this number is final.
    """
    rows = yield Statement(
        "recover_stale_locks",
        {
            "timeout": timeout,
            "live": list(live),
            "batch_size": batch_size,
            "max_interruptions": max_interruptions,
        },
    )
    yield from aftermath(rows)
    return ended(rows)


def stale_claims_are_left(timeout: float, *, live: Collection[str] = ()) -> Operation[bool]:
    """Return whether there are claims that `recover_stale_locks` would take back."""
    rows = yield Statement("stale_claims_are_left", {"timeout": timeout, "live": list(live)})
    return bool(rows[0]["found"])


@transaction
def recover_claims(
    holders: Collection[str],
    *,
    kept: Collection[str] = (),
    counted: bool = True,
    batch_size: int = BATCH_SIZE,
    max_interruptions: int = MAX_INTERRUPTIONS,
) -> Operation[Ended]:
    """Take back the claims of dead holders at once.

    Args:
        holders: The dead, as written in `locked_by`.
        kept: Lock tokens that stay as they are.
        counted: Whether each is an interruption.
        batch_size: The most at once; as many taken back means there may be more.
        max_interruptions: The interruption of this number is final.
    """
    rows = yield Statement(
        "recover_claims",
        {
            "holders": list(holders),
            "kept": list(kept),
            "counted": int(counted),
            "batch_size": batch_size,
            "max_interruptions": max_interruptions,
        },
    )
    yield from aftermath(rows)
    return ended(rows)


@transaction
def recover_zombie_workflows(timeout: float, *, batch_size: int = BATCH_SIZE) -> Operation[Ended]:
    """Fail executions that have waited `timeout` seconds for nothing; return how many."""
    rows = yield Statement(
        "recover_zombie_workflows", {"timeout": timeout, "batch_size": batch_size}
    )
    yield from aftermath(rows)
    return ended(rows)


def wake_sleeping_workflows(batch_size: int) -> Operation[int]:
    """Make sleepers whose time has come pending again, longest due first; return how many."""
    rows = yield Statement("wake_sleeping_workflows", {"batch_size": batch_size})
    return len(rows)


def next_wake() -> Operation[float | None]:
    """Return the seconds until the next sleeper is due, below zero if overdue; None if none."""
    return (yield from _seconds(Statement("next_wake")))


class NextDue(NamedTuple):
    """What is to be expected of a queue that a claim has just found empty.

    Attributes:
        seconds: Until the next row that is not due yet; None if there is none.
        passed_over: Whether something is due: its row was locked when the claim looked at it.
    """

    seconds: float | None
    passed_over: bool


def next_due(queue: str, workflows: Collection[tuple[str, str]] | None) -> Operation[NextDue]:
    """Return when to look at a queue again; `workflows` as of `fetch_jobs`."""
    (row,) = yield Statement("next_due", {"queue": queue, **_claimable(workflows)})
    return NextDue(**row)


def get_stats(queue: str) -> Operation[QueueStats]:
    """Return one queue's counts; zeros for a queue without rows."""
    rows = yield Statement("queue_stats", {"queue": queue})
    return QueueStats(**rows[0]) if rows else QueueStats(queue)


def all_stats() -> Operation[dict[str, QueueStats]]:
    """Return every queue's counts by its name."""
    rows = yield Statement("queue_stats", {"queue": None})
    return {row["queue"]: QueueStats(**row) for row in rows}


def _turn(claim: Claim) -> tuple[int, datetime, str]:
    """Return the place of a claim among others: by priority, then due time, then id."""
    return -claim.priority, claim.scheduled_at, claim.id


def _settle(
    name: str,
    job_id: str,
    lock_token: str | None,
    *,
    repeated: State | None = None,
    **parameters: object,
) -> Operation[Settlement]:
    """End a claim; when that changed nothing, say why: OK if it is as a repetition finds it."""
    if not is_id(job_id):
        return Settlement(Settled.NOT_FOUND)
    rows = yield Statement(name, {"id": job_id, "lock_token": _token(lock_token), **parameters})
    if rows:
        yield from aftermath(rows)
        return Settlement(Settled.OK, parents_of(rows))
    rows = yield Statement("status_of", {"id": job_id})
    if not rows:
        return Settlement(Settled.NOT_FOUND)
    return Settlement(Settled.OK if rows[0]["status"] == repeated else Settled.FENCED)


def _token(lock_token: str | None) -> str | None:
    """Return a token that can be compared; what is no token at all is nobody's."""
    return lock_token if lock_token is not None and is_id(lock_token) else None


def _seconds(statement: Statement) -> Operation[float | None]:
    rows = yield statement
    seconds: float | None = rows[0]["seconds"]
    return seconds
