"""The life of an execution in a worker's hands, from the claim to whatever ends it.

Read `execute` as a table of contents: find the position, then attempt one step after another; every
way an attempt can end has a function below, and each of them makes one committed write.
"""

import random
from typing import Any, TypeGuard

from durable_otp.clock import monotonic
from durable_otp.engine.child_calls import ChildCalls
from durable_otp.engine.child_part import part_of_child, value_of_child
from durable_otp.engine.claim import LONGEST_PAUSE_SECONDS, Claim, Limits
from durable_otp.engine.compensation import compensate
from durable_otp.engine.direction import directed
from durable_otp.engine.failure import DecisionError, DefinitionChanged, describe, unencodable
from durable_otp.engine.family_journal import PLAIN, Sibling
from durable_otp.engine.fan_out import Surroundings, run_block
from durable_otp.engine.host import Begun, Host
from durable_otp.engine.journal import (
    Attempt,
    Completion,
    Failure,
    LogEntries,
    VisitRecord,
)
from durable_otp.engine.journals import Journals
from durable_otp.engine.once_journal import OnceResults
from durable_otp.engine.outcome import (
    AttemptEnd,
    FannedOut,
    Interrupted,
    Outcome,
    Raised,
    Returned,
    Suspended,
    Unfinished,
)
from durable_otp.engine.position import (
    Accepted,
    Position,
    advance,
    first_context,
    locate,
    needs_snapshot,
    with_snapshot,
)
from durable_otp.engine.step_run import StepRun
from durable_otp.engine.step_runner import run_node
from durable_otp.engine.transactional import Attempted, attempt_in_transaction
from durable_otp.errors import (
    ClaimLost,
    EncodingRefused,
    InvalidInput,
    SerializationError,
    StepInterrupted,
)
from durable_otp.workflow.compensations import compensation_of
from durable_otp.workflow.context import Context
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.nodes import Branch, Each, Node, Parallel, Step
from durable_otp.workflow.results import restored_results


def execute(
    claim: Claim, definition: Definition, journal: Journals, host: Host, limits: Limits
) -> Outcome:
    """Run an execution until it ends, waits or is taken away; blocks meanwhile.

    Never raises for what user code does. `ClaimLost` becomes an outcome: somebody else owns the
    execution now, and nothing more is written.
    """
    try:
        origin = PLAIN if claim.is_plain else journal.family.origin()
        if origin.is_compensating:
            return compensate(claim, definition, journal.compensations, host, limits)
        return _Execution(claim, definition, journal, host, limits).run(origin.sibling)
    except ClaimLost:
        return Outcome.CLAIM_LOST


class _Execution:
    def __init__(
        self, claim: Claim, definition: Definition, journal: Journals, host: Host, limits: Limits
    ) -> None:
        self._claim = claim
        self._definition = definition
        self._journal = journal
        self._family = journal.family
        self._host = host
        self._limits = limits
        self._visits: dict[str, int] = {}
        self._printed: LogEntries = ()

    def run(self, sibling: Sibling | None) -> Outcome:
        try:
            position = self._begin(sibling)
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

    def _begin(self, sibling: Sibling | None) -> Position:
        self._sibling = sibling
        if sibling is not None:
            self._definition = part_of_child(self._definition, sibling)
        self._form = self._claim.input if sibling is None else sibling.input
        self._input = self._definition.restore_input(self._form)
        self._results = None if sibling is None else sibling.results
        entries = [] if self._claim.is_fresh else self._journal.entries()
        if entries and self._definition.fans_out:
            self._results = self._family.latest_results() or self._results
        self._is_first = not self._claim.is_fresh
        context = first_context(self._form) if sibling is None else sibling.context
        return locate(self._definition, context, entries)

    def _pass(self, position: Position) -> Position | Outcome:
        """Attempt the step at a position until it completes, or until the worker must let go."""
        node = self._definition.node(position.path)
        queue = self._queue_of(node)
        if queue != self._claim.queue:
            self._journal.move(queue, node.path)
            return Outcome.MOVED
        record = self._record(node, position)
        while True:
            attempt, _, duration = attempted = self._attempt(node, position, record)
            try:
                reached = self._ended(node, record, attempted)
            except EncodingRefused as refused:
                error, used = unencodable(refused), self._host.used()
                failure = Failure(attempt, error, self._printed, duration, used)
                self._journal.fail(error, node.path, failure)
                return Outcome.FAILED
            if reached is not None:
                return reached
            record = self._journal.visit(node.path)

    def _ended(
        self, node: Node, record: VisitRecord, attempted: Attempted
    ) -> Position | Outcome | None:
        """Record how an attempt ended; return None when the next one follows in this worker."""
        attempt, end, duration = attempted
        match end:
            case Accepted():
                return self._checkpoint(attempt, node, end, duration)
            case Suspended() | FannedOut():
                return self._wait(attempt, end)
            case Interrupted():
                return Outcome.INTERRUPTED
            case Raised():
                return self._failed(node, record, self._failure(attempt, end, duration), end)

    def _wait(self, attempt: Attempt, end: Suspended | FannedOut) -> Outcome:
        if isinstance(end, FannedOut):
            self._family.open(end.opening)
        else:
            self._journal.suspend(attempt.path, attempt.visit, end.waits, attempt=attempt.number)
        return Outcome.WAITING

    def _queue_of(self, node: Node) -> str:
        """Return where a node runs; a branch is decided wherever the execution is."""
        if isinstance(node, Branch):
            return self._claim.queue
        return (isinstance(node, Step) and node.queue) or self._claim.home_queue

    def _record(self, node: Node, position: Position) -> VisitRecord:
        """Return what is recorded of the visit that begins.

        Only the first node that a resumed execution reaches, and nodes that a jump may have led to
        before this worker came, can have something recorded that is not known here.
        """
        completed = self._visits.get(node.path)
        if completed is not None:
            return VisitRecord(visit=completed + 1)
        if self._is_first or (position.jumps and not self._claim.is_fresh):
            self._is_first = False
            return self._journal.visit(node.path)
        return VisitRecord()

    def _attempt(self, node: Node, position: Position, record: VisitRecord) -> Attempted:
        """Run a node once; one with a transaction is recorded with it."""
        self._journal.confirm()
        if not _has_transaction(node):
            return self._attempt_once(node, position, record, None)

        def attempt(connection: Any) -> Attempted:
            return self._attempt_once(node, position, record, connection)

        def completion(attempted: Attempted) -> Completion | None:
            made, end, duration = attempted
            if not isinstance(end, Accepted):
                return None
            return self._completion(made, node, end, duration)

        def allows(error: Exception) -> bool:
            return node.retry.allows(error, record.failed_attempts + 1)

        return attempt_in_transaction(self._journal, attempt, completion, allows)

    def _attempt_once(
        self, node: Node, position: Position, record: VisitRecord, connection: Any
    ) -> Attempted:
        number = record.recorded_attempts + 1
        attempt = Attempt(position.number, node.path, node.name, node.kind, record.visit, number)
        self._printed = ()
        self._host.start_capture()
        self._host.begun(_begun(attempt, node, record))
        started = monotonic()
        end = self._run(node, attempt, position, record, connection)
        self._host.ended(end)
        return attempt, self._accepted(node, end, position), monotonic() - started

    def _run(
        self,
        node: Node,
        attempt: Attempt,
        position: Position,
        record: VisitRecord,
        connection: Any,
    ) -> AttemptEnd:
        most = self._limits.max_payload
        once = OnceResults(self._journal.once_results, attempt.path, attempt.visit, most)
        children = ChildCalls(attempt, self._family, self._host, most)

        def step_run(given: VisitRecord) -> StepRun:
            context = self._context(attempt, position)
            return StepRun(context, given, self._host, once, children, connection)

        if not isinstance(node, Parallel | Each):
            end = run_node(node, step_run(record), self._host, most)
            if once.unreadable is not None:
                raise once.unreadable
            return end
        around = Surroundings(
            self._form, position.context, self._results, self._claim.home_queue, most
        )
        return run_block(node, step_run, record, self._family, self._host, around)

    def _accepted(self, node: Node, end: AttemptEnd, position: Position) -> Accepted | Unfinished:
        """Refuse an end that leads nowhere, or to a context that is larger than it may be."""
        if not isinstance(end, Returned):
            return end
        try:
            end = directed(self._definition, node, end, position.jumps)
        except DecisionError as error:
            return Raised(describe(error), may_retry=False)
        return self._within_limits(Accepted(end, advance(position, end)))

    def _within_limits(self, accepted: Accepted) -> Accepted | Raised:
        reached = accepted.reached
        if reached.most_bytes <= self._limits.max_context:
            return accepted
        size, most = len(encode(reached.context)), self._limits.max_context
        if size <= most:
            return accepted
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
            results=restored_results(self._results),
            max_payload=self._limits.max_payload,
        )

    def _completion(
        self, attempt: Attempt, node: Node, accepted: Accepted, duration: float
    ) -> Completion:
        end, reached = accepted
        next_path = end.next_path
        snapshot = next_path is not None and needs_snapshot(reached)
        return Completion(
            attempt=attempt,
            output=end.output,
            changes=end.changes,
            snapshot=reached.context if snapshot else None,
            next_path=next_path,
            jumps=reached.jumps,
            logs=self._captured(),
            duration=duration,
            compensation=compensation_of(node),
            results=end.results,
            value=self._value(end, reached) if next_path is None else None,
            usage=self._host.used(),
        )

    def _checkpoint(
        self, attempt: Attempt, node: Node, accepted: Accepted, duration: float
    ) -> Position | Outcome:
        """Record a completed step, unless its own transaction has, and go on."""
        completion, reached = self._completion(attempt, node, accepted, duration), accepted.reached
        if not _has_transaction(node):
            self._journal.checkpoint(completion)
        self._visits[attempt.path] = attempt.visit
        self._results = self._results if completion.results is None else completion.results
        if completion.next_path is None:
            return Outcome.COMPLETED
        return reached if completion.snapshot is None else with_snapshot(reached)

    def _value(self, end: Returned, reached: Position) -> Any:
        """Return what a block's child gives; None for what is no such child."""
        if self._sibling is None:
            return None
        is_whole = isinstance(self._definition.nodes[0], Step)  # else the child is a block
        returned = end.output if is_whole and end.jump is None else None
        return value_of_child(returned, self._sibling.context, reached.context)

    def _failure(self, attempt: Attempt, end: Raised, duration: float) -> Failure:
        return Failure(attempt, end.error, self._captured(), duration, self._host.used())

    def _captured(self) -> LogEntries:
        """Return what the attempt has printed, and keep it: what follows is not its own."""
        self._printed = self._host.captured()
        return self._printed

    def _failed(
        self, node: Node, record: VisitRecord, failure: Failure, end: Raised
    ) -> Outcome | None:
        """Record a failed attempt; return None when the next one follows in this worker."""
        if not end.may_retry or isinstance(node, Branch):
            self._journal.fail(failure.error, node.path, failure)
            return Outcome.FAILED
        delay = node.retry.delay(record.failed_attempts + 1, random.random())  # noqa: S311 - jitter
        if delay > LONGEST_PAUSE_SECONDS:
            self._journal.retry_later(failure, delay)
            return Outcome.RETRY_LATER
        self._journal.record_failure(failure)
        waited = self._host.pause(delay) and not self._host.stopping
        return None if waited else Outcome.RELEASED


def _has_transaction(node: Node) -> TypeGuard[Step]:
    return isinstance(node, Step) and node.transaction


def _begun(attempt: Attempt, node: Node, record: VisitRecord) -> Begun:
    if not isinstance(node, Step) or (node.timeout is None and node.progress_deadline is None):
        return Begun(attempt, timeout=None, retry_after_timeout=None)  # nobody may time it out
    failures = record.failed_attempts + 1
    if not node.retry.allows(StepInterrupted(), failures):
        return Begun(attempt, node.timeout, None, node.progress_deadline)
    delay = node.retry.delay(failures, random.random())  # noqa: S311 - jitter, not a secret
    return Begun(attempt, node.timeout, delay, node.progress_deadline)
