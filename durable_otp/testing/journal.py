"""The engine's journal in memory: the same writes under the same fence as PostgreSQL's.

Everything is kept in its JSON form, so a value that user code goes on changing stays as it was.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from durable_otp.engine.journal import Answer, Completion, Entry, Failure, VisitRecord
from durable_otp.errors import ClaimLost
from durable_otp.testing.ledger import Ledger
from durable_otp.testing.rows import ExecutionRow, StepRow, WaitRow
from durable_otp.workflow.json_form import decode, encode
from durable_otp.workflow.state import Move, State, StepState
from durable_otp.workflow.wait import WaitRequest


class MemoryJournal:
    """The journal of one claim. Implements `engine.journal.Journal`."""

    def __init__(self, ledger: Ledger, row: ExecutionRow, lock_token: str) -> None:
        self._ledger = ledger
        self._row = row
        self._lock_token = lock_token

    def entries(self) -> Sequence[Entry]:
        """Return the completed steps from the newest snapshot on, oldest first."""
        return self._row.entries()

    def visit(self, path: str) -> VisitRecord:
        """Return what is recorded of the visit that comes next at ``path``."""
        at_path = [step for step in self._row.steps if step.attempt.path == path]
        completed = [s.attempt.visit for s in at_path if s.status is StepState.COMPLETED]
        visit = 1 + max(completed, default=0)
        failed = sum(step.attempt.visit == visit for step in at_path)
        answers = {
            wait.ordinal: Answer(wait.request.kind, wait.is_over(self._ledger.now), wait.answer)
            for wait in self._row.waits
            if (wait.path, wait.visit) == (path, visit)
        }
        return VisitRecord(visit, failed, failed, answers)

    def checkpoint(self, completion: Completion) -> None:
        """Record a completed step; without a ``next_path`` the execution is completed with it."""
        row = self._held()
        attempt = completion.attempt
        if self._is_completed(attempt.path, attempt.visit):
            raise self._lost()
        entry = Entry(
            attempt.position,
            attempt.path,
            attempt.visit,
            _copy(completion.changes),
            _copy(completion.snapshot),
            completion.next_path,
            completion.jumps,
        )
        row.steps.append(
            StepRow(
                attempt=attempt,
                status=StepState.COMPLETED,
                output=_copy(completion.output),
                error=None,
                logs=_copy(completion.logs),
                ended_at=self._ledger.now,
                seconds=completion.duration,
                entry=entry,
            )
        )
        if completion.next_path is None:
            row.current_step = None
            self._ledger.move(row, Move.COMPLETE)
        else:
            row.resumes_at = completion.next_path

    def record_failure(self, failure: Failure) -> None:
        """Record a failed attempt that the same worker follows up."""
        self._held().steps.append(self._failed(failure))

    def retry_later(self, failure: Failure, delay: float) -> None:
        """Record a failed attempt and give the claim back until ``delay`` seconds have passed."""
        row = self._held()
        row.steps.append(self._failed(failure))
        row.current_step = failure.attempt.path
        due_at = self._ledger.now + timedelta(seconds=delay)
        self._ledger.move(row, Move.RETRY_LATER, due_at=due_at)

    def fail(self, error: Mapping[str, Any], path: str | None, failure: Failure | None) -> None:
        """End the execution as failed, together with its last attempt if there was one."""
        row = self._held()
        if failure is not None:
            row.steps.append(self._failed(failure))
        row.error = _copy(error)
        row.current_step = path
        self._ledger.move(row, Move.FAIL)

    def move(self, queue: str, path: str) -> None:
        """Give the claim back to another queue, where the step at ``path`` is to run."""
        row = self._held()
        row.home_queue = row.home_queue or row.queue
        row.queue = queue
        row.current_step = path
        self._ledger.move(row, Move.RELEASE, due_at=self._ledger.now)

    def suspend(self, path: str, visit: int, waits: Sequence[tuple[int, WaitRequest]]) -> None:
        """Record the waits by ordinal and give the claim back until one of them is answered."""
        row = self._held()
        self._close_all_but(path, visit, [ordinal for ordinal, _ in waits])
        for ordinal, request in waits:
            if not any((w.path, w.visit, w.ordinal) == (path, visit, ordinal) for w in row.waits):
                row.waits.append(self._wait(path, visit, ordinal, request))
        row.current_step = row.resumes_at = path
        self._ledger.move(row, Move.SUSPEND)

    def _close_all_but(self, path: str, visit: int, ordinals: Sequence[int]) -> None:
        """Close what was asked for before and is not asked for any more."""
        for wait in self._row.open_waits:
            if (wait.path, wait.visit) != (path, visit) or wait.ordinal not in ordinals:
                wait.status = "answered" if wait.is_over(self._ledger.now) else "cancelled"

    def _wait(self, path: str, visit: int, ordinal: int, request: WaitRequest) -> WaitRow:
        now, due_at = self._ledger.now, request.at
        if due_at is None and request.seconds is not None:
            due_at = now + timedelta(seconds=request.seconds)
        return WaitRow(path, visit, ordinal, request, due_at, created_at=now)

    def _failed(self, failure: Failure) -> StepRow:
        return StepRow(
            attempt=failure.attempt,
            status=StepState.FAILED,
            output=None,
            error=_copy(failure.error),
            logs=_copy(failure.logs),
            ended_at=self._ledger.now,
            seconds=failure.duration,
        )

    def _is_completed(self, path: str, visit: int) -> bool:
        return any(
            entry is not None and (entry.path, entry.visit) == (path, visit)
            for entry in (step.entry for step in self._row.steps)
        )

    def _held(self) -> ExecutionRow:
        row = self._row
        if row.lock_token != self._lock_token or row.status is not State.RUNNING:
            raise self._lost()
        return row

    def _lost(self) -> ClaimLost:
        return ClaimLost(f"Execution {self._row.id} is held under another lock token now.")


def _copy(value: Any) -> Any:
    return decode(encode(value))
