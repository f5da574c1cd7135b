"""Executions in memory, the clock they live by, and the moves between their states.

The clock stands still while code runs and moves when it is told to: time is skipped, not waited.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from durable_otp.clock import wall_clock
from durable_otp.testing.rows import ExecutionRow, Lineage
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.state import FINAL, TRANSITIONS, Move, State

LAST_GENERATION = 1
"""What nobody waits for runs; what that starts in turn does not: it may go on for ever."""
UNFINISHED = (State.PENDING, State.RUNNING, State.WAITING)
INSTANT = timedelta(microseconds=1)
PARENT_ENDED = "The execution that started it has failed."


@dataclass(frozen=True)
class Beginning:
    """How an execution begins; a queue or a priority of None is left to its workflow."""

    queue: str | None = None
    priority: int | None = None
    deadline_at: datetime | None = None
    lineage: Lineage | None = None
    generation: int = 0


PLAIN_BEGINNING = Beginning()


class Ledger:
    """What PostgreSQL would hold, and its time; begins at this machine's time."""

    def __init__(self, connection: Any = None) -> None:
        self.connection = connection
        """The test's, for steps with a transaction."""
        self.now = datetime.fromtimestamp(wall_clock(), UTC)
        self.rows: dict[str, ExecutionRow] = {}
        self.live: dict[str, ExecutionRow] = {}
        """Those that have not ended."""
        self.moved: list[ExecutionRow] = []
        """Executions that have ended or begun to compensate, and whose parents may ask for that."""
        self._children: dict[str, list[ExecutionRow]] = {}

    def start(
        self, definition: Definition, form: Any, how: Beginning = PLAIN_BEGINNING
    ) -> ExecutionRow:
        """Start an execution with an input in its JSON form."""
        lineage = how.lineage
        sibling = None if lineage is None else lineage.sibling
        row = ExecutionRow(
            definition=definition,
            input=form,
            queue=definition.queue if how.queue is None else how.queue,
            priority=definition.priority if how.priority is None else how.priority,
            scheduled_at=self.now,
            inserted_at=self.now,
            updated_at=self.now,
            resumes_at=sibling.start_path if sibling else definition.nodes[0].path,
            deadline_at=how.deadline_at,
            lineage=lineage,
            generation=how.generation,
        )
        self.rows[row.id] = self.live[row.id] = row
        if lineage is not None:
            self._children.setdefault(lineage.parent_id, []).append(row)
        return row

    def after(self, seconds: float | None) -> datetime | None:
        """Return the instant so many seconds from now; None for never."""
        return None if seconds is None else self.now + timedelta(seconds=seconds)

    def claim(self, row: ExecutionRow) -> str:
        """Claim an execution; return the lock token that fences every later write."""
        row.status = TRANSITIONS[row.status, Move.CLAIM]
        row.started_at = row.started_at or self.now
        row.updated_at = self.now
        row.lock_token = str(uuid4())
        return row.lock_token

    def move(self, row: ExecutionRow, move: Move, *, due_at: datetime | None = None) -> None:
        """Bring an execution to another state, unlocked; ``due_at``: when it may be claimed.

        Raises:
            KeyError: The table of moves does not have this one.
        """
        before, row.status = row.status, TRANSITIONS[row.status, move]
        row.updated_at = self.now
        row.lock_token = row.begun = None
        if due_at is not None:
            row.scheduled_at = due_at
        if row.status in FINAL:
            row.completed_at = self.now
            del self.live[row.id]
        if row.status is not before and row.status not in UNFINISHED:
            self.moved.append(row)

    def wake(self, row: ExecutionRow) -> None:
        """Let an execution that waits be claimed now; any other looks for itself."""
        if row.status is State.WAITING:
            self.move(row, Move.WAKE, due_at=self.now)

    def fail(self, row: ExecutionRow, error: dict[str, Any]) -> None:
        """End an execution as failed, and its children; what can be undone is undone first."""
        row.error = error
        _give_up_waits(row)
        if any(step.is_to_be_undone for part in self.parts(row) for step in part.steps):
            row.queue = row.home_queue or row.queue
            self.move(row, Move.COMPENSATE, due_at=self.now)
        else:
            self.move(row, Move.FAIL)
        self.cancel(self.children(row), PARENT_ENDED)

    def cancel(self, rows: Iterable[ExecutionRow], reason: str) -> None:
        """Cancel what has not ended, with everything below it; what compensates goes on."""
        for row in rows:
            if row.status in UNFINISHED:
                row.error = {"type": "cancelled", "message": reason}
                _give_up_waits(row)
                self.move(row, Move.CANCEL)
                row.completed_at = self.now + INSTANT  # after what it is cancelled for
            self.cancel(self.children(row), reason)

    def children(self, row: ExecutionRow) -> list[ExecutionRow]:
        """Return an execution's children, in the order in which they were created."""
        return self._children.get(row.id, [])

    def parts(self, row: ExecutionRow) -> Iterator[ExecutionRow]:
        """Yield an execution and the completed children of its blocks, all the way down."""
        yield row
        for child in self.children(row):
            if child.sibling is not None and child.status is State.COMPLETED:
                yield from self.parts(child)

    def next_due(self) -> ExecutionRow | None:
        """Return the execution to claim now: the highest priority first, then the longest due."""
        rows = (row for row in self.live.values() if row.generation <= LAST_GENERATION)
        due = [row for row in rows if is_free(row) and is_due(row, self.now)]
        return min(due, key=lambda row: (-row.priority, row.scheduled_at, row.id), default=None)


def is_free(row: ExecutionRow) -> bool:
    """Return whether an execution is to be claimed when its time comes."""
    return row.status in (State.PENDING, State.COMPENSATING) and row.lock_token is None


def is_due(row: ExecutionRow, now: datetime) -> bool:
    """Return whether an execution's time has come."""
    return row.scheduled_at is not None and row.scheduled_at <= now


def _give_up_waits(row: ExecutionRow) -> None:
    for wait in row.open_waits:
        wait.status = "cancelled"
