"""The life of an execution in a worker's hands, from the claim to whatever ends it.

Read `execute` as a table of contents: find the position, then attempt one step after another; every
way an attempt can end has a function below, and each of them makes one committed write.
"""

import random
from dataclasses import dataclass, replace
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.engine.failure import DefinitionChanged, describe
from durable_otp.engine.host import Begun, Host
from durable_otp.engine.journal import (
    Attempt,
    Completion,
    Failure,
    Journal,
    VisitRecord,
)
from durable_otp.engine.outcome import (
    AttemptEnd,
    Interrupted,
    Outcome,
    Raised,
    Returned,
    Suspended,
)
from durable_otp.engine.position import (
    Position,
    advance,
    locate,
    needs_snapshot,
    with_snapshot,
)
from durable_otp.engine.step_run import StepRun
from durable_otp.engine.step_runner import run_step
from durable_otp.errors import ClaimLost, InvalidInput, SerializationError, StepInterrupted
from durable_otp.workflow.context import Context
from durable_otp.workflow.definition import Definition, Step
from durable_otp.workflow.json_form import encode

LONGEST_PAUSE_SECONDS = 1.0
"""A longer delay between attempts gives the worker back and waits in the database."""


@dataclass(frozen=True)
class Claim:
    """An execution as its worker receives it."""

    id: str
    input: Any
    queue: str
    home_queue: str
    """Where the execution was started, and where steps run that ask for no queue."""
    is_fresh: bool
    """Nothing was ever recorded of it, so there is nothing to read."""


@dataclass(frozen=True)
class Limits:
    """The sizes that a step's values and a context may have, in bytes of JSON."""

    max_payload: int
    max_context: int


def execute(
    claim: Claim, definition: Definition, journal: Journal, host: Host, limits: Limits
) -> Outcome:
    """Run an execution until it ends, waits or is taken away; blocks meanwhile.

    Never raises for what user code does. `ClaimLost` becomes an outcome: somebody else owns the
    execution now, and nothing more is written.
    """
    try:
        return _Execution(claim, definition, journal, host, limits).run()
    except ClaimLost:
        return Outcome.CLAIM_LOST


class _Execution:
    def __init__(
        self, claim: Claim, definition: Definition, journal: Journal, host: Host, limits: Limits
    ) -> None:
        self._claim = claim
        self._definition = definition
        self._journal = journal
        self._host = host
        self._limits = limits

    def run(self) -> Outcome:
        try:
            self._input = self._definition.restore_input(self._claim.input)
            position = self._begin()
        except (DefinitionChanged, InvalidInput) as error:
            self._journal.fail(describe(error), None, None)
            return Outcome.FAILED
        while True:
            reached = self._pass(position)
            if isinstance(reached, Outcome):
                return reached
            if self._host.stopping:
                return Outcome.RELEASED
            position = reached

    def _begin(self) -> Position:
        entries = [] if self._claim.is_fresh else self._journal.entries()
        self._is_first = not self._claim.is_fresh
        return locate(self._definition, self._claim.input, entries)

    def _pass(self, position: Position) -> Position | Outcome:
        """Attempt the step at a position until it completes, or until the worker must let go."""
        step = self._definition.node(position.path)
        queue = step.queue or self._claim.home_queue
        if queue != self._claim.queue:
            self._journal.move(queue, step.path)
            return Outcome.MOVED
        record = self._record(step)
        while True:
            attempt, end, duration = self._attempt(step, position, record)
            match end:
                case Returned():
                    return self._checkpoint(attempt, end, position, duration)
                case Suspended():
                    self._journal.suspend(attempt.path, attempt.visit, end.waits)
                    return Outcome.WAITING
                case Interrupted():
                    return Outcome.INTERRUPTED
                case Raised():
                    outcome = self._failed(step, record, self._failure(attempt, end, duration), end)
                    if outcome is not None:
                        return outcome
            record = self._journal.visit(step.path)

    def _record(self, step: Step) -> VisitRecord:
        """Return what earlier workers recorded of the first visit; the later ones are new."""
        if self._is_first:
            self._is_first = False
            return self._journal.visit(step.path)
        return VisitRecord()

    def _attempt(
        self, step: Step, position: Position, record: VisitRecord
    ) -> tuple[Attempt, AttemptEnd, float]:
        number = record.recorded_attempts + 1
        attempt = Attempt(position.number, step.path, step.name, step.kind, record.visit, number)
        run = StepRun(self._context(attempt, position), record, self._host.now)
        self._host.start_capture()
        self._host.begun(Begun(attempt, step.timeout, _retry_after_timeout(step, record)))
        started = monotonic()
        end = run_step(step, run, self._host, self._limits.max_payload)
        self._host.ended()
        return attempt, self._within_limits(end, position), monotonic() - started

    def _within_limits(self, end: AttemptEnd, position: Position) -> AttemptEnd:
        """Refuse a step's changes when the context would become larger than it may be."""
        if not isinstance(end, Returned):
            return end
        reached = advance(position, end.changes)
        if reached.most_bytes <= self._limits.max_context:
            return end
        size, most = len(encode(reached.context)), self._limits.max_context
        if size <= most:
            return end
        refused = SerializationError(
            f"the context would have {size} bytes of JSON and max_context allows {most}; keep "
            "large values elsewhere and their names in the context"
        )
        return Raised(describe(refused), may_retry=False)

    def _context(self, attempt: Attempt, position: Position) -> Context:
        return Context(
            position.context,
            input=self._input,
            execution_id=self._claim.id,
            workflow=self._definition.name,
            step=attempt.name,
            attempt=attempt.number,
            idempotency_key=f"{self._claim.id}:{attempt.path}:{attempt.visit}",
            max_payload=self._limits.max_payload,
        )

    def _checkpoint(
        self, attempt: Attempt, end: Returned, position: Position, duration: float
    ) -> Position | Outcome:
        reached = advance(position, end.changes)
        next_path = self._definition.next_path(attempt.path)
        snapshot = next_path is not None and needs_snapshot(reached)
        self._journal.checkpoint(
            Completion(
                attempt=attempt,
                output=end.output,
                changes=end.changes,
                snapshot=reached.context if snapshot else None,
                next_path=next_path,
                logs=self._host.captured(),
                duration=duration,
            )
        )
        if next_path is None:
            return Outcome.COMPLETED
        return replace(with_snapshot(reached) if snapshot else reached, path=next_path)

    def _failure(self, attempt: Attempt, end: Raised, duration: float) -> Failure:
        return Failure(attempt, end.error, self._host.captured(), duration)

    def _failed(
        self, step: Step, record: VisitRecord, failure: Failure, end: Raised
    ) -> Outcome | None:
        """Record a failed attempt; return None when the next one follows in this worker."""
        if not end.may_retry:
            self._journal.fail(failure.error, step.path, failure)
            return Outcome.FAILED
        delay = step.retry.delay(record.failed_attempts + 1, random.random())  # noqa: S311 - jitter
        if delay > LONGEST_PAUSE_SECONDS:
            self._journal.retry_later(failure, delay)
            return Outcome.RETRY_LATER
        self._journal.record_failure(failure)
        waited = self._host.pause(delay) and not self._host.stopping
        return None if waited else Outcome.RELEASED


def _retry_after_timeout(step: Step, record: VisitRecord) -> float | None:
    failures = record.failed_attempts + 1
    if not step.retry.allows(StepInterrupted(), failures):
        return None
    return step.retry.delay(failures, random.random())  # noqa: S311 - jitter, not a secret
