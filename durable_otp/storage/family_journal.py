"""The engine's questions about parents and children, answered from PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any

from durable_otp.engine.family_journal import (
    BlockState,
    ChildResult,
    Opening,
    Origin,
    Sibling,
)
from durable_otp.errors import ClaimLost
from durable_otp.storage.database import Database
from durable_otp.storage.families import MOST_AT_ONCE, children_ended
from durable_otp.storage.identity import new_id
from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.statements import Statement
from durable_otp.workflow.child_call import ChildCall
from durable_otp.workflow.json_form import encode

Parameters = dict[str, Any]


class PostgresFamilyJournal:
    """The family of one claim's execution. Every method blocks until it is answered.

    Implements `engine.family_journal.FamilyJournal`.
    """

    def __init__(self, database: Database, execution_id: str, lock_token: str) -> None:
        self._database = database
        self._id = execution_id
        self._lock_token = lock_token

    def origin(self) -> Origin:
        """Return what kind of execution this is."""
        return self._database.run(origin, self._id)

    def latest_results(self) -> Mapping[str, Any] | None:
        """Return the results of the block that this execution completed last, in JSON form."""
        return self._database.run(latest_results, self._id)

    def block(self, path: str, visit: int) -> BlockState | None:
        """Return how far a block has come; None: it was not opened."""
        return self._database.run(block_state, self._id, path, visit)

    def open(self, opening: Opening) -> None:
        """Create a block's children, in batches, and give the claim back with the last of them."""
        parameters = {
            **_opening(opening),
            "id": self._id,
            "lock_token": self._lock_token,
            "wait_id": new_id(),
        }
        while not self._database.run(open_batch, parameters, opening.total):
            pass
        self._database.run(children_ended, [self._id])  # one may have ended before this waited

    def children(self, path: str, visit: int) -> Sequence[ChildResult]:
        """Return a block's children in their order."""
        return self._database.run(block_children, self._id, path, visit)

    def start(self, child: ChildCall, key: str) -> str:
        """Start an execution that nobody waits for, unless the key has one; return its id."""
        parameters = {
            "id": self._id,
            "lock_token": self._lock_token,
            "key": key,
            "child_id": new_id(),
            "workflow": child.workflow,
            "version": child.version,
            "queue": child.queue,
            "priority": child.priority,
            "input": child.input,
            "timeout": child.timeout,
        }
        started = self._database.run(start_once, parameters)
        if started is None:
            raise _claim_lost(self._id)
        return started


def origin(execution_id: str) -> Operation[Origin]:
    """Return what kind of execution this is: compensating, a child of a block, or neither."""
    rows = yield Statement("origin", {"id": execution_id})
    row = dict(rows[0])
    is_compensating = row.pop("is_compensating")
    return Origin(is_compensating, None if row["start_path"] is None else Sibling(**row))


def latest_results(execution_id: str) -> Operation[Mapping[str, Any] | None]:
    """Return the results of the block that was completed last; None if there was none."""
    rows = yield Statement("latest_results", {"id": execution_id})
    return rows[0]["results"] if rows else None


def block_state(execution_id: str, path: str, visit: int) -> Operation[BlockState | None]:
    """Return how far a block has come; None: it was not opened."""
    rows = yield Statement("block_state", {"id": execution_id, "path": path, "visit": visit})
    return BlockState(**rows[0]) if rows else None


def block_children(execution_id: str, path: str, visit: int) -> Operation[list[ChildResult]]:
    """Return a block's children in their order."""
    rows = yield Statement("block_children", {"id": execution_id, "path": path, "visit": visit})
    return [ChildResult(**row) for row in rows]


@transaction
def open_batch(parameters: Parameters, total: int) -> Operation[bool]:
    """Take the opening of a block one batch further; return whether its parent waits by then.

    The first batch stores what the children have in common, the last one gives the claim back. A
    repetition after a lost answer goes on from what is there.

    Raises:
        ClaimLost: Another lock token is in force.
    """
    if not (yield Statement("hold_parent", parameters)):
        awaited = yield Statement("block_is_awaited", parameters)
        if awaited[0]["awaited"]:
            return True
        raise _claim_lost(parameters["id"])
    state = yield Statement("block_state", parameters)
    opened = state[0]["opened"] if state else 0
    if not state:
        yield Statement("open_fan_out", parameters)
    if opened < total:
        ids = [new_id() for _ in range(min(MOST_AT_ONCE, total - opened))]
        rows = yield Statement("create_children", {**parameters, "ids": ids})
        opened = rows[0]["opened"]
    if opened == total:
        yield Statement("await_children", parameters)
    return opened == total


def start_once(parameters: Parameters) -> Operation[str | None]:
    """Start an execution unless the key has one; return its id, None if the claim is lost."""
    rows = yield Statement("start_once", parameters)
    if not rows:
        rows = yield Statement("started_once", parameters)
    return rows[0]["id"] if rows else None


def _opening(opening: Opening) -> Parameters:
    return {
        "path": opening.path,
        "visit": opening.visit,
        "kind": opening.kind,
        "on_error": opening.on_error,
        "max_concurrency": opening.max_concurrency,
        "total": opening.total,
        "start_paths": [path for path, _ in opening.starts],
        "queues": [queue for _, queue in opening.starts],
        "items": _text(opening.items),
        "input": _text(opening.input),
        "context": _text(opening.context),
        "results": _text(opening.results),
    }


def _text(value: Any) -> str | None:
    return None if value is None else encode(value).decode()


def _claim_lost(execution_id: str) -> ClaimLost:
    return ClaimLost(
        f"Execution {execution_id} is held under another lock token now: this worker's claim was "
        "recovered, cancelled or settled meanwhile."
    )
