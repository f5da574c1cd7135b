"""The engine's journal in memory: the same writes under the same fence as PostgreSQL's.

Everything is kept in its JSON form, so a value that user code goes on changing stays as it was.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from durable_otp.engine.journal import Completion, Entry, Failure, VisitRecord
from durable_otp.errors import ClaimLost, Fatal
from durable_otp.testing import asking
from durable_otp.testing.family_journal import MemoryFamilyJournal
from durable_otp.testing.known import KnownWorkflows
from durable_otp.testing.ledger import Ledger
from durable_otp.testing.rows import ExecutionRow, StepRow, copied
from durable_otp.testing.undoing import MemoryCompensationJournal
from durable_otp.workflow.state import Move, State, StepState
from durable_otp.workflow.suspension import WaitRequest


class _KeepNothing(Exception):  # noqa: N818 - an order, no error
    """What a step without a completion has written is rolled back."""


class NoDatabase:
    """The connection of a step with a transaction, where the test has given none."""

    def __getattr__(self, name: str) -> Any:
        raise Fatal(
            f"A step with a transaction asked its connection for {name!r}, and there is no "
            "database here; give the test's connection=..."
        )


class MemoryJournal:
    """The journal of one claim. Implements `engine.journals.Journals`."""

    def __init__(
        self, ledger: Ledger, known: KnownWorkflows, row: ExecutionRow, lock_token: str
    ) -> None:
        self._ledger = ledger
        self._known = known
        self._row = row
        self._lock_token = lock_token
        self.family = MemoryFamilyJournal(ledger, known, row, self._held)
        self.compensations = MemoryCompensationJournal(ledger, row, self._held)
        self.once_results = MemoryOnceJournal(row, self._held)

    def confirm(self) -> None:
        """Ask nothing: what is in memory is never held up."""

    def entries(self) -> Sequence[Entry]:
        """Return the completed steps from the newest snapshot on, oldest first.

        Raises:
            ClaimLost: What is recorded may be another's.
        """
        return self._held().entries()

    def visit(self, path: str) -> VisitRecord:
        """Return what is recorded of the visit that comes next at ``path``."""
        steps = [s for s in self._row.steps if s.attempt.path == path and not s.is_compensation]
        completed = [step.attempt.visit for step in steps if step.entry is not None]
        visit = 1 + max(completed, default=0)
        failed = sum(step.attempt.visit == visit for step in steps)
        answers = asking.answers(self._ledger, self._row, (path, visit), failed + 1)
        return VisitRecord(visit, failed, failed, answers)

    def checkpoint(self, completion: Completion) -> None:
        """Record a completed step; without a ``next_path`` the execution is completed with it."""
        row = self._held()
        step = self._completed(completion)
        if any(each.entry is not None and each.visit == step.visit for each in row.steps):
            raise self._lost()
        asking.close(row, self._ledger.now, [w for w in row.waits if w.place[:2] == step.visit])
        row.steps.append(step)
        if completion.next_path is None:
            row.current_step = None
            row.result = copied(completion.value)
            self._ledger.move(row, Move.COMPLETE)
        else:
            row.resumes_at = completion.next_path

    def in_transaction(self, run: Callable[[Any], Completion | None]) -> None:
        """Run a step's body and record its completion in a transaction of the test's connection."""
        connection = self._ledger.connection
        if connection is None:
            self._checkpoint_of(run, NoDatabase())
            return
        with suppress(_KeepNothing), connection.transaction():
            if not self._checkpoint_of(run, connection):
                raise _KeepNothing

    def _checkpoint_of(self, run: Callable[[Any], Completion | None], connection: Any) -> bool:
        completion = run(connection)
        if completion is not None:
            self.checkpoint(completion)
        return completion is not None

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
        row.current_step = path
        self._ledger.fail(row, copied(error))

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
        asked = asking.asked(row, (path, visit), waits, attempt, self._ledger.now)
        row.current_step = row.resumes_at = path
        sleeps = [wait.due_at for wait in asked if wait.request.kind == "sleep" and wait.due_at]
        row.scheduled_at = min(sleeps, default=None)
        self._ledger.move(row, Move.SUSPEND)
        asking.look(self._ledger, self._known, row, asked)

    def _completed(self, completion: Completion) -> StepRow:
        attempt = completion.attempt
        entry = Entry(
            attempt.position,
            attempt.path,
            attempt.visit,
            copied(completion.changes),
            copied(completion.snapshot),
            completion.next_path,
            completion.jumps,
        )
        return StepRow(
            attempt=attempt,
            status=StepState.COMPLETED,
            output=copied(completion.output),
            error=None,
            logs=copied(completion.logs),
            ended_at=self._ledger.now,
            seconds=completion.duration,
            entry=entry,
            compensation=completion.compensation,
            results=copied(completion.results),
        )

    def _failed(self, failure: Failure) -> StepRow:
        return StepRow(
            attempt=failure.attempt,
            status=StepState.FAILED,
            output=None,
            error=copied(failure.error),
            logs=copied(failure.logs),
            ended_at=self._ledger.now,
            seconds=failure.duration,
        )

    def _held(self, *statuses: State) -> ExecutionRow:
        """Return the execution; raise ClaimLost if somebody else holds it, or nobody."""
        row = self._row
        if row.lock_token != self._lock_token or row.status not in (statuses or (State.RUNNING,)):
            raise self._lost()
        return row

    def _lost(self) -> ClaimLost:
        return ClaimLost(f"Execution {self._row.id} is held under another lock token now.")


class MemoryOnceJournal:
    """The kept results of one claim's execution. Implements `engine.once_journal.OnceJournal`."""

    def __init__(self, row: ExecutionRow, held: Callable[..., ExecutionRow]) -> None:
        self._row = row
        self._held = held

    def kept(self, path: str, visit: int) -> Mapping[str, Any]:
        """Return the results that are kept of a visit, by key."""
        kept = self._row.once.items()
        return {place[2]: copied(value) for place, value in kept if place[:2] == (path, visit)}

    def keep(self, path: str, visit: int, key: str, result: Any) -> Any:
        """Keep a result unless the key has one, and return the one that is kept."""
        row = self._held(State.RUNNING, State.COMPENSATING)
        return row.once.setdefault((path, visit, key), copied(result))
