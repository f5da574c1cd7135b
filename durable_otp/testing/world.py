"""A little world of executions: the engine takes up what is due, one execution at a time.

Nothing here decides what happens next in an execution; that is the engine's part. The world claims
what is due, skips time, and hands over what comes from outside.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from durable_otp.engine.claim import Claim, Limits
from durable_otp.engine.executor import execute
from durable_otp.engine.outcome import Outcome
from durable_otp.testing import families, mail, report, upkeep
from durable_otp.testing.host import InlineHost
from durable_otp.testing.journal import MemoryJournal
from durable_otp.testing.known import KnownWorkflows
from durable_otp.testing.ledger import Beginning, Ledger
from durable_otp.testing.rows import ExecutionRow
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.execution import Execution
from durable_otp.workflow.json_form import MAX_BYTES
from durable_otp.workflow.state import FINAL, Move, State

LIMITS = Limits(max_payload=MAX_BYTES, max_context=16 * MAX_BYTES)
"""The defaults of ``max_payload`` and ``max_context``."""

Until = Callable[[Execution], bool]


@dataclass(frozen=True)
class Given:
    """What an execution is given from the start; names to values in their JSON form.

    ``events`` are sent in order; an answer in ``inputs`` is given whenever its name is asked for.
    """

    events: Sequence[tuple[str, Any]] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)


class World:
    """An execution, those it brings about, and their time.

    Raises:
        TypeError: ``workflow`` is no Workflow.
        DefinitionError: It is wrong.
        InvalidInput: The input does not fit its type.
        SerializationError: The input has no JSON form.
    """

    def __init__(
        self,
        workflow: Workflow,
        input_: Any,
        given: Given | None = None,
        until: Until | None = None,
        connection: Any = None,
    ) -> None:
        if not isinstance(workflow, Workflow):
            raise TypeError(f"workflow must be a Workflow, not {workflow!r}.")
        definition = workflow.definition()
        _, form = definition.validate_input(input_, max_bytes=LIMITS.max_payload)
        self.ledger = Ledger(connection)
        self.root = self.ledger.start(
            definition, form, Beginning(deadline_at=self.ledger.after(definition.timeout))
        )
        self._known = KnownWorkflows(workflow)
        self.is_stopped = False
        self._taken = self.root
        self._asked_about: ExecutionRow | None = None
        """Whose next step was asked about already: it has only gone to its queue since."""
        self._given = given or Given()
        self._until = until
        self._host = InlineHost(self.ledger, self._known, self._stop_before_step)
        for name, payload in self._given.events:
            self.send_event(name, payload)

    @property
    def execution(self) -> Execution:
        """The execution as it is now."""
        return report.execution(self.ledger, self.root)

    @property
    def is_over(self) -> bool:
        """Whether the execution has ended, or was stopped before a step."""
        return self.is_stopped or self.root.status in FINAL

    def run_due(self) -> None:
        """Run what is due until nothing is."""
        while not self.is_stopped and (row := self._next_due()) is not None:
            self._take(row)

    def run_to_the_end(self) -> None:
        """Run what is due and skip to what will be, until the execution is over or is stuck."""
        while not self.is_over:
            self.run_due()
            instant = upkeep.next_instant(self._family(self.root))
            if self.is_over or instant is None:
                break
            upkeep.skip_to(self.ledger, instant)
        self.run_due()

    def advance(self, seconds: float) -> None:
        """Let so much time pass, and run whatever becomes due meanwhile."""
        target = self.ledger.now + timedelta(seconds=seconds)
        live = self.ledger.live
        while (at := upkeep.next_instant(live.values())) is not None and at <= target:
            upkeep.skip_to(self.ledger, at)
            self.run_due()
        upkeep.skip_to(self.ledger, target)
        self.run_due()

    def send_event(self, name: str, payload: Any) -> None:
        """Send an event to the execution; one that it does not wait for is anybody's who does.

        Raises:
            AlreadyFinished: The execution has ended, or is compensating.
        """
        mail.check_takes_events(self.root)
        mail.put(self.root, name, payload, self.ledger.now)
        for row in list(self.ledger.live.values()):
            self._hand_over(row)

    def provide_input(self, name: str, data: Any) -> None:
        """Answer the first open input of this name, the execution's own before others'.

        Raises:
            InputRejected: The answer does not fit; the input stays open.
            NoPendingInput: There is no such input.
        """
        row, wait = mail.open_input(self.ledger.live.values(), name)
        mail.answer(wait, data)
        self.ledger.wake(row)

    def _hand_over(self, row: ExecutionRow) -> None:
        """Let an execution that waits have the events and the answers that are there."""
        if row.status is not State.WAITING:
            return
        is_over = mail.deliver(row, self.ledger.now, mailbox=self.root)
        for wait in mail.open_inputs(row):
            name = wait.request.names[0]
            if name in self._given.inputs:
                mail.answer(wait, self._given.inputs[name])
                is_over = True
        if is_over:
            self.ledger.wake(row)

    def _take(self, row: ExecutionRow) -> None:
        """Claim an execution and give it to the engine."""
        is_fresh = row.started_at is None
        token = self.ledger.claim(row)
        self._taken = row
        claim = Claim(
            id=row.id,
            input=row.input,
            queue=row.queue,
            home_queue=row.home_queue or row.queue,
            is_fresh=is_fresh,
            is_plain=row.status is State.RUNNING and row.sibling is None,
        )
        outcome = Outcome.RELEASED
        if row is self._asked_about or not self._stop_before_step():
            journal = MemoryJournal(self.ledger, self._known, row, token)
            outcome = _outside_of_loops(
                lambda: execute(claim, row.definition, journal, self._host, LIMITS)
            )
        self._asked_about = row if outcome is Outcome.MOVED else None
        if outcome is Outcome.RELEASED:
            row.current_step = row.resumes_at
            self.ledger.move(row, Move.RELEASE, due_at=self.ledger.now)
        self._host.check()
        families.attend(self.ledger)
        self._hand_over(row)

    def _next_due(self) -> ExecutionRow | None:
        """Return what is due, also what would be if somebody looked after it."""
        row = self.ledger.next_due()
        if row is None:
            upkeep.keep_up(self.ledger)
            row = self.ledger.next_due()
        return row

    def _family(self, row: ExecutionRow) -> Iterator[ExecutionRow]:
        yield row
        for child in self.ledger.children(row):
            yield from self._family(child)

    def _stop_before_step(self) -> bool:
        if self._until is not None and not self.is_stopped:
            self._taken.begun = self._taken.resumes_at
            self.is_stopped = bool(self._until(self.execution))
        return self.is_stopped


def _outside_of_loops(run: Callable[[], Outcome]) -> Outcome:
    """Run in this thread, or beside it when a loop runs here: async steps bring their own."""
    if not _in_a_loop():
        return run()
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(run).result()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
