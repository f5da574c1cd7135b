"""A worker process that several executions share: each of its threads is a worker of its own.

The main thread runs no execution. It reads what the manager sends and passes it on, takes signals,
and ends the process when its threads have ended. A thread has a connection, a journal, permits, a
slate and an output of its own; what it sends carries its number.
"""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from queue import Empty, SimpleQueue
from typing import Any

from durable_otp.otp import ParentLink
from durable_otp.otp.link import Message
from durable_otp.otp.thread_interruption import ThreadInterruption
from durable_otp.otp.title import set_title
from durable_otp.runtime import messages
from durable_otp.runtime.meter import ThreadMeter
from durable_otp.runtime.permits import Permits
from durable_otp.runtime.settings import WorkerSettings
from durable_otp.runtime.slate import Slate
from durable_otp.runtime.thread_output import SharedStreams, ThreadOutput
from durable_otp.runtime.worker import Desk, Worker, be_first_to_go, load_registry
from durable_otp.workflow.current import share_process
from durable_otp.workflow.registry import Registry

Place = tuple[int, Slate, Permits]
"""Of one thread: the manager's descriptor of its output, its slate and its permits."""


def shared_worker(
    parent: ParentLink, settings: WorkerSettings, title: str, places: Sequence[Place]
) -> None:
    """Be a worker of so many threads as there are places, until told to stop."""
    set_title(title)
    be_first_to_go()
    share_process()
    streams, manager = SharedStreams(), os.getppid()
    registry = load_registry(settings)
    turn = threading.Lock()
    threads = []
    for number, (descriptor, slate, permits) in enumerate(places):
        output = ThreadOutput(streams, manager, descriptor, settings.max_log)
        link = ThreadLink(parent, number, turn)
        desk = Desk(output, slate, permits)
        threads.append(WorkerThread(link, settings, title, desk, registry))
    parent.ready({"workflows": messages.known_workflows(registry)})
    SharedWorker(parent, threads).serve()


class ThreadLink:
    """A thread's end of the link to the manager; implements `worker.ManagerLink`."""

    def __init__(self, parent: ParentLink, number: int, turn: threading.Lock) -> None:
        self._parent = parent
        self._number = number
        self._turn = turn
        self._inbox: SimpleQueue[Message | None] = SimpleQueue()
        self._was_woken = False

    @property
    def stopping(self) -> bool:
        """Whether to finish and return."""
        return self._parent.stopping

    @property
    def lost(self) -> bool:
        """Whether the manager is gone."""
        return self._parent.lost

    def send(self, kind: str, fields: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Send a message with this thread's number; one thread at a time."""
        numbered = {**(fields or {}), "thread": self._number}
        with self._turn:
            self._parent.send(kind, numbered, body)

    def receive(self, timeout: float | None) -> Message | None:
        """Wait for the next message; None when the time is up, or the thread was woken."""
        if self._was_woken:
            self._was_woken = False
            return None
        try:
            return self._inbox.get(timeout=timeout)
        except Empty:
            return None

    def take(self) -> Message | None:
        """Return a message that has arrived, without waiting."""
        try:
            while (message := self._inbox.get_nowait()) is None:
                self._was_woken = True  # the next wait ends at once
        except Empty:
            return None
        return message

    def put(self, message: Message | None) -> None:
        """Pass a message on to the thread; None wakes it."""
        self._inbox.put(message)


class WorkerThread(Worker):
    """A worker that is one of several in its process."""

    # The process's title is no single one's.
    _set_title: Callable[[str], None] = staticmethod(lambda _title: None)

    def __init__(
        self,
        link: ThreadLink,
        settings: WorkerSettings,
        title: str,
        desk: Desk,
        registry: Registry,
    ) -> None:
        super().__init__(link, settings, title, desk, registry)
        self.link = link
        self.defect: BaseException | None = None
        self.has_ended = False
        self._meter = ThreadMeter(self._process)
        self._interrupt = ThreadInterruption()
        self._runs: set[int] = set()

    # the main thread's side

    def hand_over(self, message: Message) -> None:
        """Pass on what this thread is to run."""
        self._runs.add(message.fields["run"])
        self.link.put(message)

    def pass_on(self, message: Message) -> None:
        """Pass on what concerns a run, if it is this thread's."""
        run = message.fields["run"]
        if run not in self._runs:
            return
        if message.kind == messages.INTERRUPT:
            self._interrupt.interrupt(run)
            self.link.put(None)  # it may be waiting for something outside the body
        else:
            self.link.put(message)

    # the thread's side

    def live(self, on_end: int) -> None:
        """Be the thread; write to an event's descriptor at the end."""
        try:
            self.serve()
        except BaseException as error:  # noqa: BLE001 - the thread's border: the main thread raises it
            self.defect = error
        finally:
            self.has_ended = True
            os.eventfd_write(on_end, 1)

    def _take_signals(self) -> None:
        """Leave them to the main thread."""

    def _connect(self) -> None:
        """Leave it to the first execution: many threads of a spare may never have one."""

    def _take(self, message: Message) -> None:
        run = message.fields["run"]
        self._interrupt.begin(run)
        super()._take(message)
        for over in [each for each in tuple(self._runs) if each <= run]:
            self._runs.discard(over)

    @property
    def interrupted(self) -> bool:
        """Whether the manager has stopped this run of the execution."""
        return self._interrupt.is_interrupted

    def _is_interrupted(self) -> bool:
        return self._interrupt.is_interrupted

    def interruptible(self) -> AbstractContextManager[None]:
        """Let the manager's interrupt raise inside."""
        return self._interrupt.allowed()

    def progress(self) -> None:
        """Tell the manager that the body is getting on, if it wants to know and not too often."""
        if self._pace.is_due():
            self._parent.send(messages.PROGRESS, {"run": self._run})


class SharedWorker:
    """The main thread."""

    def __init__(self, parent: ParentLink, threads: Sequence[WorkerThread]) -> None:
        self._parent = parent
        self._threads = threads
        self._ended = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def serve(self) -> None:
        """Pass on what the manager sends until every thread has ended; raises what one raised."""
        for number, thread in enumerate(self._threads):
            live = threading.Thread(
                target=thread.live, args=(self._ended,), name=f"worker {number}", daemon=True
            )
            live.start()
        is_told = False
        while not all(thread.has_ended for thread in self._threads):
            message = self._parent.receive(None, also=(self._ended,))
            if message is not None:
                self._pass_on(message)
            with suppress(BlockingIOError):
                os.eventfd_read(self._ended)
            if self._parent.stopping and not is_told:
                is_told = True
                for thread in self._threads:
                    thread.link.put(None)
            self._raise_defects()

    def _pass_on(self, message: Message) -> None:
        if message.kind == messages.RUN:
            self._threads[message.fields["thread"]].hand_over(message)
            return
        if message.kind in (messages.INTERRUPT, messages.FLUSHED):
            for thread in self._threads:
                thread.pass_on(message)

    def _raise_defects(self) -> None:
        for thread in self._threads:
            if thread.defect is not None:
                raise thread.defect
