"""A worker: one process that runs one execution at a time, over its own connection.

It lives long: it runs what its manager hands it and reports what became of it. SIGTERM means:
finish the step, take no more. An interrupt (a message, and SIGUSR1) stops the step at once.
"""

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from durable_otp.clock import Deadline, monotonic
from durable_otp.engine.claim import Claim, Limits
from durable_otp.engine.executor import execute
from durable_otp.engine.host import Begun
from durable_otp.engine.journal import Usage
from durable_otp.engine.outcome import AttemptEnd, Outcome
from durable_otp.errors import CodecError, DatabaseUnreachable, DurableError, WorkflowNotFound
from durable_otp.events import emit
from durable_otp.otp import InitError, ParentLink
from durable_otp.otp.interruption import Interruption
from durable_otp.otp.link import Message
from durable_otp.otp.title import set_title
from durable_otp.runtime import messages
from durable_otp.runtime.carried import codecs_of, take_up
from durable_otp.runtime.meter import Meter
from durable_otp.runtime.outbox import StepOutbox
from durable_otp.runtime.output import Output
from durable_otp.runtime.pace import Pace
from durable_otp.runtime.permits import Permits
from durable_otp.runtime.settings import WorkerSettings
from durable_otp.runtime.slate import Slate
from durable_otp.runtime.tracing import step_spans
from durable_otp.storage.batched_journal import BatchedJournal, FlushingDatabase
from durable_otp.storage.definitions import published
from durable_otp.storage.journal import PostgresJournal, database_now
from durable_otp.storage.journal_writing import Holder
from durable_otp.storage.payloads import Codecs
from durable_otp.storage.processes import process_key
from durable_otp.storage.settlement import set_aside
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.registry import Registry

TOLD_AT_ONCE = (Outcome.INTERRUPTED, Outcome.CLAIM_LOST, Outcome.RELEASED)
TOLD_TOGETHER = 4
UNREADABLE_FOR = 30.0
"""Seconds until an execution whose payloads could not be read is claimed again."""


def worker(
    parent: ParentLink,
    settings: WorkerSettings,
    title: str,
    output: int,
    slate: Slate,
    permits: Permits,
) -> None:
    """Be a worker until told to stop; ``output`` is the manager's descriptor of its output file."""
    set_title(title)
    be_first_to_go()
    captured = Output(os.getppid(), output, settings.max_log)
    host = Worker(parent, settings, title, Desk(captured, slate, permits))
    parent.ready({"workflows": messages.known_workflows(host.registry)})
    host.serve()


class ManagerLink(Protocol):
    """The link to the manager, as `otp.ParentLink` is."""

    @property
    def stopping(self) -> bool:
        """Whether to finish and return."""

    @property
    def lost(self) -> bool:
        """Whether the manager is gone."""

    def send(self, kind: str, fields: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Send a message."""

    def receive(self, timeout: float | None) -> Message | None:
        """Wait for the next message; None when something else ended the wait."""

    def take(self) -> Message | None:
        """Return a message that has arrived, without waiting."""


class Capture(Protocol):
    """Where what an attempt writes is found."""

    def start(self) -> None:
        """Begin an attempt's part."""

    def captured(self) -> Sequence[Mapping[str, Any]]:
        """Return what the attempt has written so far, as log entries."""


class Desk(NamedTuple):
    """What an execution's worker works with."""

    output: Capture
    slate: Slate
    permits: Permits


class Worker:
    """The process around an execution; implements `engine.host.Host`."""

    _set_title: Callable[[str], None] = staticmethod(set_title)

    def __init__(
        self,
        parent: ManagerLink,
        settings: WorkerSettings,
        title: str,
        desk: Desk,
        registry: Registry | None = None,
    ) -> None:
        self._parent = parent
        self._title = title
        self._settings = settings
        self._output, self._slate, self._permits = desk
        self._done: list[tuple[int, Outcome, float]] = []
        self._limits = Limits(settings.max_payload, settings.max_context)
        self._interruption = Interruption(self._is_interrupted)
        self._take_signals()
        self._inbox: deque[Message] = deque()
        self._run = 0
        self._workflow = self._execution_id = ""
        self._interrupted = False
        self._is_alone = False
        self._has_timeout = False
        self._pace = Pace(None)
        self._process = process_key(settings.node_id, os.getpid())
        self._meter = Meter(self._process)
        self._database = FlushingDatabase(
            settings.database.dsn,
            settings.database.schema,
            role=title.partition(" ")[2],
            pause=self.pause,
            codecs=_codecs(settings),
            awaits_codec=True,
        )
        self.registry = load_registry(settings) if registry is None else registry
        # The workflows' modules have been imported, and have said where spans go.
        self._spans = step_spans()

    def _take_signals(self) -> None:
        self._interruption.install()

    def serve(self) -> None:
        """Run what the manager hands over until it says to stop, or is gone."""
        self._connect()
        while not self._parent.stopping:
            message = self._next(self._settings.connection_idle_timeout)
            if message is None:
                self._database.close()  # idle for long, or about to stop
            elif message.kind == messages.RUN:
                self._take(message)
        self._tell_done()
        self._database.close()

    # an execution

    def _take(self, message: Message) -> None:
        """Run an execution, unless it was taken back; its end is told with the next ones'."""
        run = message.fields["run"]
        if not self._permits.take(run):
            return
        self._run, self._interrupted = run, False
        self._is_alone = message.fields["is_alone"]
        began = monotonic()
        outcome = self._execute(message)
        self._done.append((run, outcome, monotonic() - began))
        if outcome in (Outcome.INTERRUPTED, Outcome.CLAIM_LOST):
            self._database.close()  # the interrupt may have come in the middle of an answer
            self._connect()
        if outcome in TOLD_AT_ONCE or len(self._done) >= TOLD_TOGETHER:
            self._tell_done()

    def _tell_done(self) -> None:
        if self._done:
            self._parent.send(messages.DONE, {"done": self._done})
            self._done = []

    def _execute(self, message: Message) -> Outcome:
        fields = message.fields
        definition = self.registry.get(fields["workflow"], fields["version"])
        self._workflow, self._execution_id = definition.name, fields["id"]
        holder = Holder(fields["id"], fields["lock_token"], fields["claimed_at"])
        try:
            return self._run_claim(message, definition, self._journal(holder))
        except CodecError as error:
            return self._set_aside(holder, error)
        except DatabaseUnreachable:
            return Outcome.INTERRUPTED  # only an interrupt or a lost parent ends the waiting for it

    def _run_claim(
        self, message: Message, definition: Definition, journal: PostgresJournal
    ) -> Outcome:
        fields = message.fields
        claim = Claim(
            id=fields["id"],
            input=self._database.codecs.open(message.body) if message.body else None,
            queue=fields["queue"],
            home_queue=fields["home_queue"],
            is_fresh=fields["is_fresh"],
            is_plain=fields["is_plain"],
        )
        return execute(claim, definition, journal, self, self._limits)

    def _set_aside(self, holder: Holder, error: CodecError) -> Outcome:
        """Leave an execution that cannot be read here to a worker that can, or for later."""
        emit("payload_unreadable", level=logging.ERROR, execution=holder.id, reason=str(error))
        if self._is_interrupted():
            return Outcome.INTERRUPTED
        try:
            self._database.run(set_aside, holder.id, holder.lock_token, UNREADABLE_FOR)
        except DatabaseUnreachable:
            return Outcome.INTERRUPTED
        return Outcome.RETRY_LATER

    def _journal(self, holder: Holder) -> PostgresJournal:
        if self._settings.commit == "each":
            return PostgresJournal(self._database, holder)
        outbox = StepOutbox(self._run, self._parent.send, self._wait_until_flushed)
        self._database.outbox = outbox
        return BatchedJournal(self._database, holder, outbox)

    def _wait_until_flushed(self, run: int) -> bool:
        """Wait until the manager has committed a run's steps; False: the run is to end instead."""
        while True:
            if self._parent.lost or self._is_interrupted():
                return False
            for message in self._inbox:
                if message.kind == messages.FLUSHED and message.fields["run"] == run:
                    self._inbox.remove(message)
                    return True
            message_or_none = self._parent.receive(None)
            if message_or_none is not None:
                self._inbox.append(message_or_none)

    # engine.host.Host

    @property
    def stopping(self) -> bool:
        """Whether to take no further step."""
        return self._parent.stopping

    @property
    def interrupted(self) -> bool:
        """Whether the manager has stopped this run of the execution."""
        return self._interrupted

    def now(self) -> datetime:
        """Return the database's time."""
        return self._database.run(database_now)

    def find_workflow(self, name: str) -> tuple[Mapping[str, Any], Definition | None]:
        """Return the version that was registered last here, else the one published last."""
        try:
            definition = self.registry.get(name)
        except WorkflowNotFound:
            described = self._database.run(published, name) if name.isprintable() else None
            if described is None:
                raise WorkflowNotFound(
                    f"Workflow {name!r} is neither known to this node nor published; add its "
                    "module to the workflows of a node."
                ) from None
            return described, None
        return definition.description(), definition

    def begun(self, begun: Begun) -> None:
        """Note for the manager which attempt begins now; tell it, if it has to measure its time."""
        self._set_title(f"{self._title} {self._workflow}:{begun.attempt.path}")
        self._has_timeout = begun.timeout is not None or begun.progress_deadline is not None
        self._pace = Pace(begun.progress_deadline)
        report = messages.begun_fields(self._run, begun)
        is_written = self._slate.write(report)
        if self._spans is not None:
            self._spans.begin(self._workflow, self._execution_id, begun.attempt)
        if self._has_timeout or self._is_alone or not is_written:
            self._parent.send(messages.BEGUN, report)
        self._meter.start()

    def ended(self, end: AttemptEnd) -> None:
        """Tell the manager that the body is over, if it measures its time."""
        self._meter.stop()
        if self._spans is not None:
            self._spans.end(end)
        if self._has_timeout:
            self._parent.send(messages.ENDED, {"run": self._run})

    def progress(self) -> None:
        """Tell the manager that the body is getting on, if it wants to know and not too often."""
        if self._pace.is_due():
            with self._interruption.put_off():
                self._parent.send(messages.PROGRESS, {"run": self._run})

    def interruptible(self) -> AbstractContextManager[None]:
        """Let the manager's interrupt raise inside."""
        return self._interruption.allowed()

    def pause(self, seconds: float) -> bool:
        """Wait, in the one place where this process waits; False: end instead."""
        deadline = Deadline(seconds)
        while not deadline.passed:
            message = self._parent.receive(deadline.remaining)
            if message is not None:
                self._inbox.append(message)
            if self._parent.lost or self._is_interrupted():
                return False
        return True

    def start_capture(self) -> None:
        """Let what is written from here on belong to the attempt that begins."""
        self._output.start()

    def captured(self) -> Sequence[Mapping[str, Any]]:
        """Return what the attempt has written."""
        return self._output.captured()

    def used(self) -> Usage | None:
        """Return what the body that has ended last used of this process."""
        return self._meter.latest

    # messages

    def _next(self, timeout: float) -> Message | None:
        message = self._inbox.popleft() if self._inbox else self._parent.take()
        if message is not None:
            return message
        self._tell_done()
        self._set_title(self._title)
        return self._parent.receive(timeout)

    def _is_interrupted(self) -> bool:
        """Return whether the manager wants this very run to stop; tell it that this was seen."""
        while (message := self._parent.take()) is not None:
            self._inbox.append(message)
        for message in tuple(self._inbox):
            if message.kind == messages.INTERRUPT:
                self._inbox.remove(message)
                self._interrupted |= message.fields["run"] == self._run
        if self._interrupted:
            self._parent.send(messages.LEAVING, {"run": self._run})
        return self._interrupted

    def _connect(self) -> None:
        """Open the connection ahead of the first execution; if that fails, that one will wait."""
        with contextlib.suppress(*self._database.connection_lost):
            self._database.connection()


def load_registry(settings: WorkerSettings) -> Registry:
    """Return the workflows that a worker knows; raises InitError."""
    registry = Registry()
    try:
        registry.load(take_up(settings.workflows))
    except DurableError as error:
        raise InitError(str(error), fatal=True) from error
    return registry


def _codecs(settings: WorkerSettings) -> Codecs:
    codecs = codecs_of(settings.database.codecs)
    try:
        codecs.known()
    except DurableError as error:
        raise InitError(str(error), fatal=True) from error
    return codecs


def be_first_to_go() -> None:
    """Let the kernel kill a worker rather than a supervisor when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
