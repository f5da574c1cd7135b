"""Parents and children of executions: what becomes of a parent when its children end.

A child's end is committed by itself; then whoever ended it looks at the parent (`children_ended`).
The look is unlocked, so that a thousand siblings ending together do not queue for the parent's row:
only one that leaves something to do locks it, and decides by what is committed by then. When nobody
comes to look, because of a crash in between, `left_parents` finds the parent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from durable_otp.storage.descendants import cancel_families
from durable_otp.storage.identity import new_id
from durable_otp.storage.operation import Operation, Row, transaction
from durable_otp.storage.statements import Statement
from durable_otp.workflow.state import State

MOST_AT_ONCE = 1000
"""So many rows are created in one transaction at most."""


@dataclass(frozen=True)
class BlockStanding:
    """Where a block stands, as seen under its parent's lock."""

    total: int
    created: int
    max_concurrency: int | None
    live: int
    failed: str | None
    """The name of the child whose failure ends the block; None: there is none."""

    @property
    def children_to_create(self) -> int:
        """How many more children may begin now."""
        if self.failed is not None or self.max_concurrency is None:
            return 0
        free = self.max_concurrency - self.live
        return max(0, min(free, self.total - self.created, MOST_AT_ONCE))

    @property
    def is_over(self) -> bool:
        """Whether its parent has nothing to wait for any more."""
        return self.live == 0 and (self.failed is not None or self.created == self.total)


def asking_parents(parents: Sequence[str]) -> Operation[list[str]]:
    """Return those parents to which an end of a child matters; one unlocked statement."""
    rows = yield Statement("parents_asking", {"parents": list(parents)})
    return [row["id"] for row in rows]


@transaction
def children_ended(parents: Sequence[str]) -> Operation[None]:
    """Do what the end of a child asks for: wake its parent, or create the next child.

    To be run after the child's end has been committed, and in a transaction of its own, because
    parents are locked before their children. It looks at what is committed by then, so whoever
    comes last sees every end.
    """
    for parent in (yield from asking_parents(parents)):
        yield from _attend(parent)


def left_parents(batch_size: int) -> Operation[list[str]]:
    """Return parents that ask for something and that nobody has looked at."""
    rows = yield Statement("parents_left_asking", {"batch_size": batch_size})
    return [row["id"] for row in rows]


def overdue_calls(batch_size: int) -> Operation[list[Row]]:
    """Return calls whose time has passed: `id` of the wait, `parent` and `child`."""
    rows = yield Statement("calls_past_their_time", {"batch_size": batch_size})
    return list(rows)


@transaction
def give_up_call(wait_id: str, parent: str, child: str) -> Operation[bool]:
    """End the wait for a called child whose time has passed, and cancel it; whether that was so."""
    if not (yield from _is_waiting(parent)):
        return False
    yield Statement("lock_execution", {"id": child})
    if not (yield Statement("call_is_past_its_time", {"wait_id": wait_id})):
        return False
    yield from cancel_families([child], "The workflow that called it waits for it no longer.")
    yield from _wake(parent, [wait_id], "timed_out")
    return True


def parents_of_orphans(batch_size: int) -> Operation[list[str]]:
    """Return parents that are at work no longer while children of theirs are."""
    rows = yield Statement("parents_of_orphans", {"batch_size": batch_size})
    return [row["id"] for row in rows]


@transaction
def cancel_orphans(parent: str) -> Operation[int]:
    """Cancel the children of a parent that has ended, and all below them; return how many."""
    rows = yield Statement("lock_execution", {"id": parent})
    status = State(rows[0]["status"]) if rows else None
    if status is None or status in (State.PENDING, State.RUNNING, State.WAITING):
        return 0
    children = yield Statement("lock_live_children", {"id": parent})
    ids = [child["id"] for child in children]
    return len((yield from cancel_families(ids, f"Its parent is {status}.")))


def _attend(parent: str) -> Operation[None]:
    if not (yield from _is_waiting(parent)):
        return
    waits = yield Statement("child_waits_of", {"id": parent})
    over = []
    for wait in waits:
        is_over = wait["live"] == 0 if wait["is_call"] else (yield from _advance(parent, wait))
        if is_over:
            over.append(wait["id"])
    if over:
        yield from _wake(parent, over, "answered")


def _is_waiting(parent: str) -> Operation[bool]:
    """Lock a parent; return whether it waits: one that runs looks for itself when it suspends."""
    rows = yield Statement("lock_execution", {"id": parent})
    return bool(rows) and rows[0]["status"] == State.WAITING


def _advance(parent: str, wait: Row) -> Operation[bool]:
    """Take a block further; return whether it is over."""
    block = _standing(wait)
    place = {"id": parent, "path": wait["path"], "visit": wait["visit"]}
    if block.failed is not None and block.live:
        siblings = yield Statement("lock_siblings", place)
        ids = [sibling["id"] for sibling in siblings]
        rows = yield from cancel_families(ids, f"Child {block.failed} of the same block failed.")
        return {row["id"] for row in rows}.issuperset(ids)  # one that compensates ends by itself
    if block.children_to_create:
        ids = [new_id() for _ in range(block.children_to_create)]
        yield Statement("create_next_children", {**place, "ids": ids})
    return block.is_over


def _standing(wait: Row) -> BlockStanding:
    failed = wait["failed_path"]
    if failed is not None:
        name = failed.rpartition("/")[2]
        failed = f"{name}/{wait['failed_index']}" if failed == wait["path"] else name
    return BlockStanding(
        wait["total"], wait["created"], wait["max_concurrency"], wait["live"], failed
    )


def _wake(parent: str, waits: Sequence[str], answer: str) -> Operation[None]:
    yield Statement("wake_parent", {"id": parent, "wait_ids": list(waits), "answer": answer})
