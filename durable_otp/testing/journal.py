"""The engine's journal in memory: the same writes under the same fence as PostgreSQL's.

Everything is kept in its JSON form, so a value that user code goes on changing stays as it was.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from durable_otp.engine.journal import Answer, Completion, Entry, Failure, VisitRecord
from durable_otp.errors import ClaimLost
from durable_otp.testing import mail
from durable_otp.testing.ledger import Ledger
from durable_otp.testing.rows import ExecutionRow, StepRow, WaitRow
from durable_otp.workflow.json_form import decode, encode
from durable_otp.workflow.state import Move, State, StepState
from durable_otp.workflow.suspension import NO_VALUE, WaitRequest


class MemoryJournal:
    """The journal of one claim. Implements `engine.journal.Journal`."""

    def __init__(self, ledger: Ledger, row: ExecutionRow, lock_token: str) -> None:
        self._ledger = ledger
        self._row = row
        self._lock_token = lock_token

    @property
    def once_results(self) -> "MemoryOnceJournal":
        """What ``once`` keeps, under the same claim."""
        return MemoryOnceJournal(self._row, self._held)

    def entries(self) -> Sequence[Entry]:
        """Return the completed steps from the newest snapshot on, oldest first."""
        return self._row.entries()

    def visit(self, path: str) -> VisitRecord:
        """Return what is recorded of the visit that comes next at ``path``."""
        at_path = [step for step in self._row.steps if step.attempt.path == path]
        completed = [s.attempt.visit for s in at_path if s.status is StepState.COMPLETED]
        visit = 1 + max(completed, default=0)
        failed = sum(step.attempt.visit == visit for step in at_path)
        waits = [wait for wait in self._row.waits if (wait.path, wait.visit) == (path, visit)]
        answers = {wait.ordinal: self._earlier(wait, failed + 1) for wait in waits}
        return VisitRecord(visit, failed, failed, answers)

    def checkpoint(self, completion: Completion) -> None:
        """Record a completed step; without a ``next_path`` the execution is completed with it."""
        row = self._held()
        attempt = completion.attempt
        if self._is_completed(attempt.path, attempt.visit):
            raise self._lost()
        self._close(wait for wait in row.open_waits if wait.place[:2] == (attempt.path, attempt.visit))
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

    def suspend(
        self, path: str, visit: int, waits: Sequence[tuple[int, WaitRequest]], *, attempt: int = 1
    ) -> None:
        """Record the waits by ordinal and give the claim back until one of them is answered."""
        row = self._held()
        asked = [self._asked((path, visit, ordinal), each, attempt) for ordinal, each in waits]
        self._close(wait for wait in row.open_waits if wait not in asked)
        row.current_step = row.resumes_at = path
        row.scheduled_at = min(
            (wait.due_at for wait in asked if wait.request.kind == "sleep" and wait.due_at),
            default=None,
        )
        self._ledger.move(row, Move.SUSPEND)
        delivered = mail.deliver(row, self._ledger.now, mailbox=row)
        if delivered or any(wait.status == "answered" for wait in asked):
            self._ledger.wake(row)

    def _asked(self, place: tuple[str, int, int], request: WaitRequest, attempt: int) -> WaitRow:
        """Return a wait as it is open now; one that an earlier run asked for keeps its time.

        It keeps its question too, unless it timed out or was given up meanwhile.
        """
        now, due_at = self._ledger.now, request.at
        if due_at is None and request.seconds is not None:
            due_at = now + timedelta(seconds=request.seconds)
        wait = next((wait for wait in self._row.waits if wait.place == place), None)
        if wait is None:
            wait = WaitRow(*place, request, due_at, attempt, created_at=now)
            self._row.waits.append(wait)
        elif wait.status in ("timed_out", "cancelled"):
            wait.due_at = wait.due_at if request.kind == "sleep" else due_at
            wait.request, wait.created_at, wait.status = request, now, "open"
        elif wait.status == "open":
            wait.request = replace(request, question=wait.request.question)
        wait.attempt = attempt
        return wait

    def _close(self, waits: Iterable[WaitRow]) -> None:
        """Close what was asked for and is not waited for any more."""
        for wait in waits:
            wait.status = "answered" if wait.is_over(self._ledger.now) else "cancelled"

    def _earlier(self, wait: WaitRow, attempt: int) -> Answer:
        """Return what an earlier run's wait means to the attempt that runs now."""
        kind, names, value = wait.request.kind, wait.request.names, wait.request.timeout_value
        if wait.status != "timed_out" or wait.attempt != attempt:
            return Answer(kind, wait.is_over(self._ledger.now), wait.answer, names)
        has_value = value is not NO_VALUE
        return Answer(kind, has_value, value if has_value else None, names, timed_out=True)

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


class MemoryOnceJournal:
    """The kept results of one claim's execution. Implements `engine.once_journal.OnceJournal`."""

    def __init__(self, row: ExecutionRow, held: Callable[[], ExecutionRow]) -> None:
        self._row = row
        self._held = held

    def kept(self, path: str, visit: int) -> Mapping[str, Any]:
        """Return the results that are kept of a visit, by key."""
        kept = self._row.once.items()
        return {place[2]: _copy(value) for place, value in kept if place[:2] == (path, visit)}

    def keep(self, path: str, visit: int, key: str, result: Any) -> Any:
        """Keep a result unless the key has one, and return the one that is kept."""
        return self._held().once.setdefault((path, visit, key), _copy(result))


def _copy(value: Any) -> Any:
    return decode(encode(value))
