"""What is removed for ever: whole families of executions, and what processes leave behind.

A batch is a transaction of its own. It looks at so many roots and removes the families that may go,
until it has removed so many executions; where it stopped is where the next one begins.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from durable_otp.durations import in_seconds, in_utc
from durable_otp.storage.journal import database_now
from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.statements import Statement
from durable_otp.workflow.state import FINAL, State

BATCH_SIZE = 200
ENOUGH_DELETED = 2_000
"""A batch ends with the family that reaches this many executions."""
SILENT_SECONDS = 7 * 86400.0
"""What processes leave behind is removed after this long."""


@dataclass(frozen=True)
class Old:
    """Which roots are meant: of one final status, ended before an instant."""

    status: State
    cutoff: datetime


@dataclass(frozen=True)
class Place:
    """A root in the order of their ends."""

    completed_at: datetime
    id: str


@dataclass(frozen=True)
class Batch:
    """What one batch did: how many executions it removed, and where to go on (None: all seen)."""

    deleted: int
    next: Place | None


def final_statuses(status: State | str | Collection[State | str] | None) -> list[State]:
    """Return the final statuses that are meant, all for None.

    Raises:
        ValueError: One is no status, or not final.
    """
    if status is None:
        return sorted(FINAL)
    wanted = [status] if isinstance(status, str) else list(status)
    for each in wanted:
        if each not in FINAL:
            raise ValueError(
                f"status must be among {', '.join(sorted(FINAL))}, which are final; "
                f"{each!r} is not."
            )
    return list(dict.fromkeys(State(each) for each in wanted))


def cutoff(older_than: timedelta | float | datetime) -> Operation[datetime]:
    """Return the instant before which an execution must have ended.

    Args:
        older_than: How long before now, or the instant itself.

    Raises:
        TypeError: It is neither.
        ValueError: It is negative, or an instant without a time zone.
    """
    if isinstance(older_than, datetime):
        return in_utc(older_than, what="older_than")
    seconds = in_seconds(older_than, what="older_than")
    now = yield from database_now()
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


@transaction
def delete_batch(old: Old, after: Place | None, limit: int = BATCH_SIZE) -> Operation[Batch]:
    """Remove the whole families among the next ``limit`` roots.

    Locks the roots, which is what a retry of anybody in their families has to wait for.
    """
    batch, members = yield from _batch("lock_old_roots", old, after, limit)
    if members:
        yield Statement("delete_families", {"members": members})
    return batch


def count_batch(old: Old, after: Place | None, limit: int = BATCH_SIZE) -> Operation[Batch]:
    """Do the same without removing anything."""
    batch, _ = yield from _batch("old_roots", old, after, limit)
    return batch


def _batch(
    statement: str, old: Old, after: Place | None, limit: int
) -> Operation[tuple[Batch, list[str]]]:
    rows = yield Statement(statement, _page(old, after, limit))
    roots = [row["id"] for row in rows]
    found = yield Statement("whole_families", {"roots": roots, "cutoff": old.cutoff})
    families = {family["root"]: family["members"] for family in found}
    members: list[str] = []
    for row in rows:
        members += families.get(row["id"], ())
        if len(members) >= ENOUGH_DELETED:
            return Batch(len(members), Place(row["completed_at"], row["id"])), members
    is_last = len(rows) < limit
    last = None if is_last else Place(rows[-1]["completed_at"], rows[-1]["id"])
    return Batch(len(members), last), members


def tidy(silent_for: float = SILENT_SECONDS) -> Operation[None]:
    """Remove finished commands, and managers and nodes unseen for so many seconds."""
    for name in ("forget_commands", "forget_silent_managers", "forget_silent_nodes"):
        yield Statement(name, {"silent_for": silent_for})


def _page(old: Old, after: Place | None, limit: int) -> dict[str, object]:
    return {
        "status": old.status,
        "cutoff": old.cutoff,
        "after": None if after is None else after.completed_at,
        "after_id": None if after is None else after.id,
        "limit": limit,
    }
