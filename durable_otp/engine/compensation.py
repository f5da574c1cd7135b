"""Undoing what an execution has done after it has failed: one handler after another.

Each handler is a checkpoint of its own, so that whoever takes the execution up after a crash goes
on with the one that was running. One that fails is noted, and the others still run.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.engine.claim import LONGEST_PAUSE_SECONDS, Claim, Limits
from durable_otp.engine.compensation_journal import CompensationJournal, Undo
from durable_otp.engine.failure import DecisionError, DefinitionChanged, describe, unencodable
from durable_otp.engine.host import Begun, Host
from durable_otp.engine.journal import Attempt, Failure, VisitRecord
from durable_otp.engine.outcome import Interrupted, Outcome, Raised, Returned
from durable_otp.engine.step_run import StepRun
from durable_otp.errors import EncodingRefused, Fatal, StepInterrupted
from durable_otp.workflow.child_call import ChildMaker
from durable_otp.workflow.compensations import Compensation
from durable_otp.workflow.context import Context
from durable_otp.workflow.current import entering
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.goto import Goto
from durable_otp.workflow.json_form import canonical
from durable_otp.workflow.suspension import WaitRequest

TYPE = "compensation"
HandlerEnd = Returned | Raised | Interrupted


def compensate(
    claim: Claim, definition: Definition, journal: CompensationJournal, host: Host, limits: Limits
) -> Outcome:
    """Undo what is still to be undone, the newest first, and end the execution; blocks meanwhile.

    Raises:
        ClaimLost: Somebody else owns the execution now; nothing more is written.
    """
    for undo in journal.to_undo():
        if host.stopping:
            return Outcome.RELEASED
        outcome = _Undoing(claim, definition, journal, host, limits).undo(undo)
        if outcome is not None:
            return outcome
    return Outcome.COMPENSATED if journal.end() else Outcome.COMPENSATION_FAILED


class HandlerRun(StepRun):
    """The run of a handler, which may not wait: nothing can wake a compensating execution."""

    refused: Fatal | None = None

    def wait(self, request: WaitRequest) -> Any:
        """Refuse; the handler fails even if it swallows that.

        Raises:
            Fatal: Always.
        """
        raise self._refused(f"wait (it asked for a {request.kind}); wait")

    def once(self, key: str, call: Callable[[], Any]) -> Any:
        """Refuse likewise: what a handler does is kept when it completes, and only then."""
        _ = call
        raise self._refused(f"use once({key!r}); keep results")

    @property
    def children(self) -> ChildMaker:
        """Refuse likewise: what has failed calls and starts nothing any more."""
        raise self._refused("call or start workflows; do it")

    def _refused(self, what: str) -> Fatal:
        self.refused = Fatal(
            f"compensation {self.context.step!r} may not {what} in a step, or raise an exception "
            "to be tried again later."
        )
        return self.refused


class _Undoing:
    """One handler's attempts in this worker."""

    def __init__(
        self,
        claim: Claim,
        definition: Definition,
        journal: CompensationJournal,
        host: Host,
        limits: Limits,
    ) -> None:
        self._claim = claim
        self._definition = definition
        self._journal = journal
        self._host = host
        self._limits = limits

    def undo(self, undo: Undo) -> Outcome | None:
        """Run a visit's handler until it has ended; return None when the next one may follow."""
        try:
            return self._undo(undo)
        except EncodingRefused as refused:
            failure = self._latest._replace(error=unencodable(refused))
            self._journal.record_failure(failure, gave_up=True)
            return None

    def _undo(self, undo: Undo) -> Outcome | None:
        number, failures = undo.recorded_attempts + 1, undo.failed_attempts + 1
        while True:
            attempt = Attempt(undo.position, undo.path, undo.compensation, TYPE, undo.visit, number)
            self._journal.confirm()
            self._host.start_capture()
            started = monotonic()
            end = self._attempt(undo, attempt, failures)
            duration = monotonic() - started
            logs, usage = self._host.captured(), self._host.used()
            self._latest = Failure(attempt, {}, logs, duration, usage)
            match end:
                case Interrupted():
                    return Outcome.INTERRUPTED
                case Returned():
                    self._journal.undone(attempt, end.output, logs, duration, usage)
                    return None
            failure = self._latest._replace(error=end.error)
            if not end.may_retry:
                self._journal.record_failure(failure, gave_up=True)
                return None
            outcome = self._pause(undo, failure, failures)
            if outcome is not None:
                return outcome
            number, failures = number + 1, failures + 1

    def _attempt(self, undo: Undo, attempt: Attempt, failures: int) -> HandlerEnd:
        try:
            handler = self._handler(undo)
            context = self._context(undo, attempt)
        except Exception as error:  # noqa: BLE001 - what keeps a handler from running is its end
            self._host.begun(Begun(attempt, timeout=None, retry_after_timeout=None))
            refused = Raised(describe(error), may_retry=False)
            self._host.ended(refused)
            return refused
        self._host.begun(_begun(attempt, handler, failures))
        run = HandlerRun(context, VisitRecord(visit=undo.visit), self._host, None, None)
        end = _run(handler, run, failures, self._host, self._limits.max_payload)
        self._host.ended(end)
        return end

    def _handler(self, undo: Undo) -> Compensation:
        handler = self._definition.compensation(undo.compensation)
        if handler is None:
            raise DefinitionChanged(
                f"workflow {self._definition.name!r} version {self._definition.version!r} has no "
                f"compensation {undo.compensation!r}, which step {undo.path!r} had named; give "
                "changed code a version of its own"
            )
        return handler

    def _context(self, undo: Undo, attempt: Attempt) -> Context:
        return Context(
            self._journal.context_of(undo.execution_id, self._claim.input),
            input=self._definition.restore_input(self._claim.input),
            execution_id=self._claim.id,
            workflow=self._definition.name,
            step=undo.compensation,
            attempt=attempt.number,
            idempotency_key=f"{self._claim.id}:{undo.path}:{undo.visit}:{undo.compensation}",
            max_payload=self._limits.max_payload,
        )

    def _pause(self, undo: Undo, failure: Failure, failures: int) -> Outcome | None:
        """Record a failed attempt and wait for the next: here, or in the database."""
        delay = _delay(self._handler(undo), failures)
        if delay > LONGEST_PAUSE_SECONDS:
            self._journal.retry_later(failure, delay)
            return Outcome.RETRY_LATER
        self._journal.record_failure(failure, gave_up=False)
        waited = self._host.pause(delay) and not self._host.stopping
        return None if waited else Outcome.RELEASED


def _run(
    handler: Compensation, run: HandlerRun, failures: int, host: Host, max_payload: int
) -> HandlerEnd:
    """Run a handler's body once; what it returns is kept on its row, what it changes nowhere."""
    try:
        with entering(run), host.interruptible():
            returned = _call(handler, run)
        if run.refused is not None:
            return Raised(describe(run.refused), may_retry=False)
        return Returned(_output(handler, returned, max_payload), ())
    except BaseException as error:  # noqa: BLE001 - the border between user code and the engine
        if isinstance(error, StepInterrupted) and host.interrupted:
            return Interrupted()
        if run.refused is not None:
            return Raised(describe(run.refused), may_retry=False)
        may_retry = isinstance(error, Exception) and handler.retry.allows(error, failures)
        return Raised(describe(error), may_retry and not isinstance(error, DecisionError))


def _call(handler: Compensation, run: HandlerRun) -> Any:
    arguments = (run.context,) if handler.takes_context else ()
    if handler.is_async:
        return asyncio.run(handler.function(*arguments))
    return handler.function(*arguments)


def _output(handler: Compensation, returned: Any, max_payload: int) -> Any:
    if isinstance(returned, Goto):
        raise DecisionError(
            f"compensation {handler.name!r} asked to go on at {returned.target!r}; a handler may "
            "not jump, only steps may."
        )
    what = f"the result of compensation {handler.name!r}"
    return canonical(returned, what=what, max_bytes=max_payload)


def _begun(attempt: Attempt, handler: Compensation, failures: int) -> Begun:
    if not handler.retry.allows(StepInterrupted(), failures):
        return Begun(attempt, handler.timeout, retry_after_timeout=None)
    return Begun(attempt, handler.timeout, _delay(handler, failures))


def _delay(handler: Compensation, failures: int) -> float:
    return handler.retry.delay(failures, random.random())  # noqa: S311 - jitter, not a secret
