"""The journal of undoing in memory: which handlers are still to run, and how they ended."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from durable_otp.engine.compensation_journal import Undo
from durable_otp.engine.journal import Attempt, Failure, LogEntries, Usage
from durable_otp.errors import ClaimLost
from durable_otp.testing.ledger import Ledger
from durable_otp.testing.rows import ExecutionRow, StepRow, Visit, copied
from durable_otp.workflow.state import Move, State, StepState


class MemoryCompensationJournal:
    """What one claim undoes. Implements `engine.compensation_journal.CompensationJournal`."""

    def __init__(
        self, ledger: Ledger, row: ExecutionRow, held: Callable[[State], ExecutionRow]
    ) -> None:
        self._ledger = ledger
        self._row = row
        self._held = held

    def confirm(self) -> None:
        """Ask nothing: what is in memory is never held up."""

    def to_undo(self) -> Sequence[Undo]:
        """Return what is still to be undone, the newest first; nothing if the claim is lost."""
        try:
            self._held(State.COMPENSATING)
        except ClaimLost:
            return []
        last = max((step.attempt.position for step in self._row.steps), default=0)
        found = sorted(self._compensable(), key=lambda each: each[0].id, reverse=True)
        open_ones = [each for each in found if not self._has_ended(each[2])]
        return [self._undo(*each, last + n) for n, each in enumerate(open_ones, start=1)]

    def context_of(self, execution_id: str, given: Any) -> dict[str, Any]:  # noqa: ARG002 - its row has it
        """Return the context after the last step that an execution of the family completed."""
        return self._ledger.rows[execution_id].context()

    def undone(
        self,
        attempt: Attempt,
        output: Any,
        logs: LogEntries,
        duration: float,
        usage: Usage | None = None,  # noqa: ARG002 - nobody measures here
    ) -> None:
        """Record that a handler has completed."""
        row = self._held(State.COMPENSATING)
        step = self._row_of(attempt, logs, duration, output=output)
        step.compensation = attempt.name
        row.steps.append(step)

    def record_failure(self, failure: Failure, *, gave_up: bool) -> None:
        """Record a failed attempt; ``gave_up``: no other one follows."""
        row = self._held(State.COMPENSATING)
        row.steps.append(self._failed(failure, gave_up=gave_up))

    def retry_later(self, failure: Failure, delay: float) -> None:
        """Record a failed attempt and give the claim back until ``delay`` seconds have passed."""
        row = self._held(State.COMPENSATING)
        row.steps.append(self._failed(failure, gave_up=False))
        due_at = self._ledger.now + timedelta(seconds=delay)
        self._ledger.move(row, Move.RETRY_LATER, due_at=due_at)

    def end(self) -> bool:
        """End the execution; return whether every handler had completed."""
        row = self._held(State.COMPENSATING)
        has_failed = any(result["status"] != "completed" for result in compensation_results(row))
        move = Move.FAIL_COMPENSATION if has_failed else Move.FINISH_COMPENSATION
        self._ledger.move(row, move)
        return not has_failed

    def _compensable(self) -> Iterator[tuple[StepRow, ExecutionRow, Visit]]:
        """Yield each completed step to be undone, whose it is, and under which visit it is shown.

        A child counts its visits by itself, so what children did at one path is numbered here.
        """
        numbers: dict[str, int] = {}
        found = [(s, part) for part in self._ledger.parts(self._row) for s in part.steps]
        for step, part in sorted(found, key=lambda each: each[0].id):
            if not step.is_to_be_undone:
                continue
            path = step.attempt.path
            if part is self._row:
                yield step, part, step.visit
                continue
            if part.sibling is not None and part.lineage is not None and path == part.lineage.path:
                path = f"{path}/{part.sibling.index}"
            numbers[path] = numbers.get(path, 0) + 1
            yield step, part, (path, numbers[path])

    def _attempts(self, visit: Visit) -> list[StepRow]:
        steps = self._row.steps
        return [step for step in steps if step.is_compensation and step.visit == visit]

    def _has_ended(self, visit: Visit) -> bool:
        return any(step.compensation is not None for step in self._attempts(visit))

    def _undo(self, step: StepRow, part: ExecutionRow, visit: Visit, position: int) -> Undo:
        failed = len(self._attempts(visit))
        return Undo(
            execution_id=part.id,
            path=visit[0],
            visit=visit[1],
            compensation=step.compensation or "",
            position=position,
            recorded_attempts=failed,
            failed_attempts=failed,
        )

    def _failed(self, failure: Failure, *, gave_up: bool) -> StepRow:
        step = self._row_of(failure.attempt, failure.logs, failure.duration, error=failure.error)
        step.compensation = failure.attempt.name if gave_up else None
        return step

    def _row_of(
        self,
        attempt: Attempt,
        logs: LogEntries,
        seconds: float,
        output: Any = None,
        error: Any = None,
    ) -> StepRow:
        return StepRow(
            attempt=attempt,
            status=StepState.COMPLETED if error is None else StepState.FAILED,
            output=copied(output),
            error=copied(error),
            logs=copied(logs),
            ended_at=self._ledger.now,
            seconds=seconds,
            is_compensation=True,
        )


def compensation_results(row: ExecutionRow) -> list[dict[str, Any]]:
    """Return how each handler ended, in the order in which they ran."""
    ended = [step for step in row.steps if step.is_compensation and step.compensation is not None]
    return [
        {
            "step": step.attempt.path,
            "compensation": step.attempt.name,
            "status": step.status.value,
            "error": step.error,
        }
        for step in sorted(ended, key=lambda each: each.attempt.position)
    ]
