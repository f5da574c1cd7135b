"""Executions in memory, the clock they live by, and the moves between their states.

The clock stands still while code runs and moves when it is told to: time is skipped, not waited.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from durable_otp.clock import wall_clock
from durable_otp.testing.rows import ExecutionRow, WaitRow
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.state import FINAL, TRANSITIONS, Move, State


class Ledger:
    """What PostgreSQL would hold, and its time; begins at this machine's time."""

    def __init__(self) -> None:
        self.now = datetime.fromtimestamp(wall_clock(), UTC)
        self.rows: dict[str, ExecutionRow] = {}

    def start(self, definition: Definition, form: Any) -> ExecutionRow:
        """Start an execution with an input in its JSON form."""
        now, timeout = self.now, definition.timeout
        row = ExecutionRow(
            definition=definition,
            input=form,
            queue=definition.queue,
            priority=definition.priority,
            scheduled_at=now,
            inserted_at=now,
            updated_at=now,
            resumes_at=definition.nodes[0].path,
            deadline_at=None if timeout is None else now + timedelta(seconds=timeout),
        )
        self.rows[row.id] = row
        return row

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
        row.status = TRANSITIONS[row.status, move]
        row.updated_at = self.now
        row.lock_token = row.begun = None
        if due_at is not None:
            row.scheduled_at = due_at
        if row.status in FINAL:
            row.completed_at = self.now

    def next_due(self) -> ExecutionRow | None:
        """Return the execution to claim now: the highest priority first, then the longest due."""
        due = [row for row in self.rows.values() if _is_free(row) and _is_due(row, self.now)]
        return min(due, key=lambda row: (-row.priority, row.scheduled_at, row.id), default=None)

    def wake_due(self) -> None:
        """Do what time brings about by now: sleeps end, and waits that have a timeout."""
        for row in list(self.rows.values()):
            if row.status is State.WAITING:
                self._end_overdue_waits(row)
            if row.status is State.WAITING and _is_due(row, self.now):
                self.move(row, Move.WAKE)

    def wake(self, row: ExecutionRow) -> None:
        """Let an execution that waits be claimed now; any other looks for itself."""
        if row.status is State.WAITING:
            self.move(row, Move.WAKE, due_at=self.now)

    def _end_overdue_waits(self, row: ExecutionRow) -> None:
        over = [wait for wait in row.open_waits if is_overdue(wait, self.now)]
        for wait in over:
            wait.status = "timed_out"
        unanswered = next((w for w in over if w.request.on_timeout == "fail"), None)
        if unanswered is not None:
            name = encode(unanswered.request.names[0]).decode()
            message = f"Nobody has given the input {name} in time."
            self.fail(row, {"type": "wait_timeout", "message": message})
        elif over:
            self.wake(row)

    def fail(self, row: ExecutionRow, error: dict[str, Any]) -> None:
        """End an execution as failed."""
        row.error = error
        self.move(row, Move.FAIL)

    def skip_to(self, instant: datetime) -> None:
        """Move the clock forward, and do what that brings about."""
        self.now = max(self.now, instant)
        self.wake_due()

    def skip(self, seconds: float) -> None:
        """Move the clock forward by seconds."""
        self.skip_to(self.now + timedelta(seconds=seconds))

    def next_instant(self, rows: Iterable[ExecutionRow] | None = None) -> datetime | None:
        """Return when time next brings something about for these executions, or for any."""
        chosen = self.rows.values() if rows is None else rows
        return min((instant for row in chosen for instant in _instants(row)), default=None)


def _is_free(row: ExecutionRow) -> bool:
    return row.status in (State.PENDING, State.COMPENSATING) and row.lock_token is None


def is_overdue(wait: WaitRow, now: datetime) -> bool:
    """Return whether the time of a wait is over that something else than time answers."""
    return wait.request.kind != "sleep" and wait.due_at is not None and wait.due_at <= now


def _is_due(row: ExecutionRow, now: datetime) -> bool:
    return row.scheduled_at is not None and row.scheduled_at <= now


def _instants(row: ExecutionRow) -> Iterable[datetime]:
    if _is_free(row) and row.scheduled_at is not None:
        yield row.scheduled_at
    if row.status is State.WAITING:
        yield from (wait.due_at for wait in row.open_waits if wait.due_at is not None)
