"""OTP's supervisor: an actor that starts children in order and decides about deaths one by one.

Everything that changes the table of children (a death, a call, another attempt to restart) is a
job in one mailbox, and a job is finished before the next begins; that is what makes the order of
events certain. While a job waits for a process, messages of the children are still heard. Only a
stop does not queue: it shortens the start that is in progress.

The decisions themselves are in ``restart``; the table is in ``records``.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from durable_otp.clock import monotonic
from durable_otp.otp import process, restart
from durable_otp.otp.calls import ChildCounts, ChildInfo, SupervisorEvent
from durable_otp.otp.child_spec import ChildSpec, SupervisorSpec
from durable_otp.otp.errors import NoProcess, Restarting, Running, StartFailed
from durable_otp.otp.exit_reason import ExitReason, Shutdown, StartFailure, to_fields
from durable_otp.otp.link import Message
from durable_otp.otp.process import Child, Ignored, Ready
from durable_otp.otp.records import Record, Table

Job = Callable[[], Awaitable[None]]
Answer = TypeVar("Answer")


class SupervisorActor:
    """A supervisor in this process's event loop.

    ``nested`` runs a nested specification as a child's program. ``on_event`` hears what happens, in
    order; ``on_message`` what children send. ``finished`` becomes the reason when the supervisor
    has ended: by ``stop``, by giving up or by ``auto_shutdown``.
    """

    def __init__(
        self,
        spec: SupervisorSpec,
        *,
        nested: Callable[..., None],
        on_event: Callable[[SupervisorEvent], None] = lambda _: None,
        on_message: Callable[[Child, Message], None] | None = None,
        on_exit: Callable[[Child], None] = lambda _: None,
    ) -> None:
        spec.check()
        self.flags = spec.flags
        self.table = Table(spec)
        self.finished: asyncio.Future[ExitReason] = asyncio.get_running_loop().create_future()
        self._nested = nested
        self._on_event = on_event
        self._on_message = on_message
        self._on_exit = on_exit
        self._mailbox: asyncio.Queue[Job] = asyncio.Queue()
        self._stopping = asyncio.Event()
        self._actor: asyncio.Task[None] | None = None

    async def boot(self) -> None:
        """Start the children in order, then serve.

        Raises:
            StartFailed: for the first that did not start; those before it were stopped.
        """
        self._watch_orphans()
        failed = await self._start_all(self.table.records)
        if failed is not None:
            await self._stop_all(self.table.records)
            self.finished.set_result(Shutdown())
            raise StartFailed(failed[0].spec.id, failed[1])
        self._actor = asyncio.create_task(self._serve())
        self._actor.add_done_callback(self._crashed)

    async def stop(self) -> None:
        """Stop the children in reverse start order, and the supervisor."""
        self._stopping.set()
        if self._actor is not None and not self.finished.done():
            self._mailbox.put_nowait(self._stop)
            await asyncio.wait({self.finished})

    # the calls of OTP, one at a time

    async def start_child(self, spec: ChildSpec) -> Child | None:
        """Add a child and start it, last in start order; None when it had nothing to do.

        Raises:
            AlreadyStarted: its id is taken by a running child.
            AlreadyPresent: its id is taken by one that is not running.
            InvalidSpec: the specification is wrong.
            StartFailed: it did not start, and was not added.
        """
        return await self._ask(lambda: self._start_child(spec))

    async def terminate_child(self, child_id: str) -> None:
        """Stop a child; its place is kept, unless it is temporary. Cancels a restart.

        Raises:
            NotFound: there is no such child.
        """
        await self._ask(lambda: self._terminate_child(child_id))

    async def restart_child(self, child_id: str) -> Child | None:
        """Start a child that is not running, in its place; None when it had nothing to do.

        Raises:
            NotFound, Running, Restarting: it is not there, or not stopped.
            StartFailed: it did not start; it is not tried again.
        """
        return await self._ask(lambda: self._restart_child(child_id))

    async def delete_child(self, child_id: str) -> None:
        """Forget a child that is not running.

        Raises:
            NotFound, Running, Restarting: it is not there, or not stopped.
        """

        async def delete() -> None:
            self.table.remove(self._stopped_record(child_id))

        await self._ask(delete)

    async def get_childspec(self, child_id: str) -> ChildSpec:
        """Return a child's specification.

        Raises:
            NotFound: there is no such child.
        """

        async def get() -> ChildSpec:
            return self.table.find(child_id).spec

        return await self._ask(get)

    async def which_children(self) -> list[ChildInfo]:
        """Return all children, the newest in start order first."""

        async def list_children() -> list[ChildInfo]:
            return self.table.which_children()

        return await self._ask(list_children)

    async def count_children(self) -> ChildCounts:
        """Return how many children there are."""

        async def count() -> ChildCounts:
            return self.table.count_children()

        return await self._ask(count)

    async def _ask(self, action: Callable[[], Awaitable[Answer]]) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        async def job() -> None:
            try:
                result = await action()
            except Exception as error:  # noqa: BLE001 - the caller's error, raised there
                answer.set_exception(error)
            else:
                answer.set_result(result)

        if self.finished.done() or self._actor is None:
            raise NoProcess("")
        self._mailbox.put_nowait(job)
        waiting: set[asyncio.Future[Any]] = {answer, self.finished}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise NoProcess("")
        return answer.result()

    # jobs

    def _crashed(self, actor: asyncio.Task[None]) -> None:
        """Let an error of this supervisor's own end the process, rather than its decisions stop."""
        error = None if actor.cancelled() else actor.exception()
        if error is not None and not self.finished.done():
            self.finished.set_exception(error)

    async def _serve(self) -> None:
        while not self.finished.done():
            job = await self._mailbox.get()
            await job()

    async def _start_child(self, spec: ChildSpec) -> Child | None:
        spec.check(self.flags.auto_shutdown)
        self.table.check_new(spec.id)
        record = self.table.record(spec)
        outcome = await self._start(record)
        if isinstance(outcome, StartFailure):
            raise StartFailed(spec.id, outcome)
        if isinstance(outcome, Ready) or spec.restart != "temporary":
            self.table.records.append(record)
        return record.child

    async def _terminate_child(self, child_id: str) -> None:
        record = self.table.find(child_id)
        await self._stop_record(record)
        self.table.settle(record)

    async def _restart_child(self, child_id: str) -> Child | None:
        record = self._stopped_record(child_id)
        outcome = await self._start(record)
        if isinstance(outcome, StartFailure):
            raise StartFailed(child_id, outcome)
        if isinstance(outcome, Ignored) and record.spec.restart == "temporary":
            self.table.remove(record)
        return record.child

    def _stopped_record(self, child_id: str) -> Record:
        record = self.table.find(child_id)
        if record.state == "up":
            raise Running(child_id)
        if record.state == "restarting":
            raise Restarting(child_id)
        return record

    async def _stop(self) -> None:
        await self._finish(Shutdown())

    async def _decide_death(self, record: Record, child: Child) -> None:
        """Do what the child's end asks for, unless it has been dealt with already."""
        if record.child is not child or self.finished.done():
            return
        record.child = None
        if child.spec.type == "supervisor":
            await process.orphans_gone()  # what it left must be gone before its replacement starts
        reason = child.exited.result()
        if record.let_go is not child and restart.should_restart(record.spec.restart, reason):
            record.state = "restarting"
            self.table.forgive(record, monotonic() - child.started_at)
            await self._restart(record)
            return
        self.table.settle(record)
        if restart.ends_supervisor(
            self.flags.auto_shutdown,
            significant=record.spec.significant,
            others_significant=self.table.significant_left(record),
        ):
            await self._finish(Shutdown())

    # restarting

    async def _restart(self, record: Record) -> None:
        """Count one restart, then do it: now, later, or not at all."""
        delay = self.table.next_restart(record, monotonic(), random.random())  # noqa: S311 - spreads
        if delay is None:
            await self._give_up(record)
            return
        self._emit("restarting", record.spec.id, restarts=record.restarts, delay=delay)
        if delay:
            self._try_again(record, self._attempt, delay)
        else:
            await self._attempt(record)

    async def _attempt(self, record: Record) -> None:
        """Stop and start a record's group; when one does not start, try again from that one."""
        group = restart.restart_group(self.flags.strategy, self.table.records, record)
        await self._stop_all(group)
        failed = await self._start_all([each for each in group if each in self.table.records])
        if failed is None:
            return
        culprit, failure = failed
        if failure.fatal:
            await self._give_up(culprit)
        elif not self._stopping.is_set():
            culprit.state = "restarting"
            self._try_again(culprit, self._restart, 0.0)

    def _try_again(
        self, record: Record, step: Callable[[Record], Awaitable[None]], delay: float
    ) -> None:
        ticket = record.ticket = object()

        async def job() -> None:
            if record.ticket is ticket and record.state == "restarting":
                await step(record)

        if delay:
            asyncio.get_running_loop().call_later(delay, self._mailbox.put_nowait, job)
        else:
            self._mailbox.put_nowait(job)

    async def _give_up(self, record: Record) -> None:
        self._emit("gave_up", record.spec.id, restarts=record.restarts)
        self.table.settle(record)
        await self._finish(Shutdown())

    async def _finish(self, reason: ExitReason) -> None:
        self._stopping.set()
        await self._stop_all(self.table.records)
        if not self.finished.done():
            self.finished.set_result(reason)

    # single processes

    async def _start_all(self, records: Sequence[Record]) -> tuple[Record, StartFailure] | None:
        """Start in order; return the first that failed, leaving the rest as they are."""
        for record in tuple(records):
            if self._stopping.is_set():
                return record, StartFailure("exited", "its supervisor is stopping")
            outcome = await self._start(record)
            if isinstance(outcome, StartFailure):
                return record, outcome
            if isinstance(outcome, Ignored) and record.spec.restart == "temporary":
                self.table.remove(record)
        return None

    async def _start(self, record: Record) -> process.Acknowledgement:
        try:
            child = Child(
                self._runnable(record.spec),
                on_message=self._on_message,
                on_exit=lambda child, reason: self._exited(record, child, reason),
                on_hung=self._report_hang,
            )
        except OSError as error:
            return self._not_forked(record, error)
        record.starting = child
        outcome = await child.started(self._stopping)
        record.starting = None
        record.child = child if isinstance(outcome, Ready) else None
        record.state = "up" if record.child else "undefined"
        self._report_start(record.spec.id, child, outcome)
        if record.child is not None and not child.is_alive:  # it ended in the same breath
            self._report_end(record, child, child.exited.result())
        return outcome

    def _not_forked(self, record: Record, error: OSError) -> StartFailure:
        failure = StartFailure("exited", f"it could not be forked ({error})")
        record.state = "undefined"
        self._emit("start_failed", record.spec.id, pid=None, failure=failure.to_fields())
        return failure

    def _runnable(self, spec: ChildSpec) -> ChildSpec:
        if callable(spec.start):
            return spec
        return replace(spec, start=self._nested, args=(spec.start,))

    def _report_start(self, child_id: str, child: Child, outcome: process.Acknowledgement) -> None:
        match outcome:
            case Ready():
                self._emit("started", child_id, pid=child.pid, info=child.info)
            case Ignored():
                self._emit("start_ignored", child_id, pid=child.pid)
            case StartFailure():
                self._emit("start_failed", child_id, pid=child.pid, failure=outcome.to_fields())

    def _report_hang(self, child: Child) -> None:
        self._emit("hung", child.id, pid=child.pid, watchdog=child.spec.watchdog)

    def _exited(self, record: Record, child: Child, reason: ExitReason) -> None:
        self._on_exit(child)
        record.last_exit = str(reason)
        if record.starting is not child and child.is_ready:
            self._report_end(record, child, reason)

    def _report_end(self, record: Record, child: Child, reason: ExitReason) -> None:
        facts = {"pid": child.pid, "clean": reason.is_clean, **to_fields(reason)}
        self._emit("stopped", record.spec.id, **facts)
        self._mailbox.put_nowait(lambda: self._decide_death(record, child))

    async def _stop_all(self, records: Iterable[Record]) -> None:
        """Stop in reverse start order, each to its end before the next; drop the temporary ones."""
        for record in reversed(tuple(records)):
            await self._stop_record(record)
            self.table.settle(record)

    async def _stop_record(self, record: Record) -> None:
        child, record.child = record.child, None
        if child is not None:
            await child.stop()

    def _watch_orphans(self) -> None:
        process.orphanage.on_orphan = lambda pid, name: self._emit(
            "orphan", "", pid=pid, program=name
        )

    def _emit(self, name: str, child_id: str, **facts: Any) -> None:
        self._on_event(SupervisorEvent(name, child_id, facts))

    def let_go(self, child_id: str, child: Child | None) -> None:
        """Have this process not restarted when it ends; None: have it restarted after all."""
        self.table.find(child_id).let_go = child

    def child(self, child_id: str) -> Child | None:
        """Return the running child of this id, if there is one.

        One that says that it is ready runs: what it says in the same breath may be answered.
        """
        record = next((each for each in self.table.records if each.spec.id == child_id), None)
        if record is None:
            return None
        starting = record.starting
        return starting if starting is not None and starting.is_ready else record.child

    def nodes(self) -> list[dict[str, Any]]:
        """Return a node of the tree per child, in start order."""
        return self.table.nodes()
