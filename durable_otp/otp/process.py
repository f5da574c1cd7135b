"""One child process, as its supervisor's event loop sees it.

Death is noticed by a pidfd, and handled in this order: what is left of the child's process group is
killed while the zombie still holds its number, the zombie is reaped, the link is read to its end,
the descriptors are closed; only then does anybody decide what it means.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.otp import birth, link, stacks
from durable_otp.otp.channel import Channel
from durable_otp.otp.child_spec import ChildSpec, Shutdown
from durable_otp.otp.exit_reason import EX_IGNORE, ExitReason, Killed, StartFailure, from_wait
from durable_otp.otp.link import Message
from durable_otp.otp.orphans import Orphanage
from durable_otp.otp.watchdog import Watchdog

_UNKILLABLE_AFTER = 5.0
_DEAF_AFTER = 1.0
_DUMPED_AFTER = 2.0

orphanage = Orphanage()
_foreign_objects: list[object] = []
_living: dict[int, "Child"] = {}
_inherited: list[Callable[[], Iterable[int]]] = []


@dataclass(frozen=True)
class Ready:
    """The child is started."""


@dataclass(frozen=True)
class Ignored:
    """The child had nothing to do, and ended."""


Acknowledgement = Ready | Ignored | StartFailure


def close_in_children(descriptors: Callable[[], Iterable[int]]) -> Callable[[], None]:
    """Have every child forked from now on close these at once; return the function that ends it.

    ``descriptors`` is asked at each fork, e.g. for a database connection's socket.
    """
    _inherited.append(descriptors)
    return lambda: _inherited.remove(descriptors)


class Child:
    """A started process: its number, its link, its acknowledgement and its end.

    ``acknowledged`` is the outcome of its start, ``exited`` the reason of its end; both are
    futures. ``state`` is what it last said of itself ("state" and "tree" messages, merged).
    ``on_message(child, message)`` hears what it sends; ``on_exit(child, reason)`` is called when
    it has been reaped and everything it sent was heard; ``on_hung(child)`` when its watchdog has
    found it hung, and its end is near. ``peak_rss`` is known from its end on: the most memory in
    bytes that it held, or that one of the programs held which it had waited for.
    """

    def __init__(
        self,
        spec: ChildSpec,
        *,
        on_message: "Callable[[Child, Message], None] | None" = None,
        on_exit: "Callable[[Child, ExitReason], None] | None" = None,
        on_hung: "Callable[[Child], None] | None" = None,
    ) -> None:
        self.spec = spec
        self.id = spec.id
        self.info: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.peak_rss: int | None = None
        self.started_at = monotonic()
        self._loop = asyncio.get_running_loop()
        self.acknowledged: asyncio.Future[Acknowledgement] = self._loop.create_future()
        self.exited: asyncio.Future[ExitReason] = self._loop.create_future()
        self._on_message = on_message
        self._on_exit = on_exit
        self._on_hung = on_hung
        self._watchdog: Watchdog | None = None
        self._killed = False
        self._last_words: dict[str, Any] | None = None
        self._init_error: dict[str, Any] | None = None
        self._fork()

    def _fork(self) -> None:
        ours, theirs = link.pair()
        foreign = (*descriptors(), ours.fileno())
        orders = birth.Orders(self.spec, theirs, os.getpid(), foreign, _forget)
        self.pid = birth.fork(orders)
        theirs.close()
        self.pidfd = os.pidfd_open(self.pid)
        self._channel = Channel(ours, self._receive, self._link_ended)
        _living[self.pid] = self
        self._loop.add_reader(self.pidfd, self._died)

    def __repr__(self) -> str:
        return f"<Child {self.id} pid={self.pid}>"

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended, as far as is known."""
        return not self.exited.done()

    @property
    def is_ready(self) -> bool:
        """Whether the process was started."""
        return self.acknowledged.done() and isinstance(self.acknowledged.result(), Ready)

    def send(self, kind: str, fields: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Send a message to the child; never blocks. One that has ended hears nothing."""
        self._channel.send(Message(kind, fields or {}, body))

    def send_all(self, messages: Sequence[Message]) -> None:
        """Send several messages, in this order and all at once if the link takes them."""
        self._channel.send(*messages)

    def hear(self) -> None:
        """Hear now all that the child has sent so far, before the event loop would."""
        self._channel.drain()

    # its life

    def _receive(self, message: Message) -> None:
        if self._watchdog is not None:
            self._watchdog.beat()
        match message.kind:
            case link.READY if not self.acknowledged.done():
                self.info = message.fields["info"]
                self._acknowledge(Ready())
                self._watch()
            case link.INIT_ERROR:
                self._init_error = message.fields
            case link.EXIT:
                self._last_words = message.fields
            case link.IGNORE | link.BEAT | link.READY:
                pass  # the exit code says the same; heard above; once is enough
            case _:
                self._hear(message)

    def _hear(self, message: Message) -> None:
        if message.kind in (link.STATE, link.TREE):
            self.state |= message.fields
        if self._on_message is not None:
            self._on_message(self, message)

    def _watch(self) -> None:
        if self.spec.watchdog is not None:
            self._watchdog = Watchdog(
                self.spec.watchdog, listen=self._channel.hear, hung=self._hang
            )

    def _hang(self) -> None:
        """Have a hung child write its stack to standard error, which ends it; or else kill it."""
        if self._on_hung is not None:
            self._on_hung(self)
        self.signal(signal.SIGABRT)
        self.signal(signal.SIGCONT)
        self._loop.call_later(_DUMPED_AFTER, self.kill)

    def _link_ended(self) -> None:
        """Kill a child that cannot be spoken to any more; one that is just ending has time to."""
        if self._channel.is_corrupt:
            self.kill()
        else:
            self._loop.call_later(_DEAF_AFTER, self.kill)

    def _acknowledge(self, outcome: Acknowledgement) -> None:
        if not self.acknowledged.done():
            self.acknowledged.set_result(outcome)

    def _died(self) -> None:
        self._loop.remove_reader(self.pidfd)
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._kill_group()
        orphanage.group_killed(self.pid)
        ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
        if ended is None:  # only WNOHANG could answer so
            raise ChildProcessError(f"process {self.pid} was reaped by somebody else")
        self.peak_rss = os.wait4(self.pid, 0)[2].ru_maxrss * 1024  # this is what reaps it
        self._channel.drain()
        self._channel.close()
        os.close(self.pidfd)
        del _living[self.pid]
        sweep_orphans()
        reason = from_wait(
            ended.si_code,
            ended.si_status,
            announced=self._last_words,
            by_supervisor=self._killed,
        )
        self._acknowledge(self._unready(ended.si_status, reason))
        self.exited.set_result(reason)
        if self._on_exit is not None:
            self._on_exit(self, reason)

    def _unready(self, code: int, reason: ExitReason) -> Acknowledgement:
        """Return what it means that the child ended before it was ready."""
        if self._init_error is not None:
            return StartFailure.from_fields(self._init_error)
        if code == EX_IGNORE:
            return Ignored()
        return StartFailure("exited", f"it ended before it was ready ({reason})")

    # its end

    def signal(self, number: int) -> None:
        """Send a signal to the process itself, not to what it started."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def kill(self) -> None:
        """Kill the process and its group now."""
        if self.is_alive:
            self._killed = True
            self.signal(signal.SIGKILL)
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def stacks(self) -> str | None:
        """Return the stacks of its threads; None when it does not give them."""
        return await stacks.of(self.pid, self.signal)

    async def stop(self, shutdown: Shutdown | None = None) -> ExitReason:
        """End the process as its specification says, or as ``shutdown`` says; return the reason.

        SIGTERM goes to the process alone, what it started is its own business; SIGCONT follows,
        for a stopped process does not see SIGTERM. SIGKILL, after the deadline, goes to the group.
        """
        patience = self.spec.patience if shutdown is None else shutdown
        if patience != "brutal_kill" and self.is_alive:
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
            await asyncio.wait({self.exited}, timeout=_seconds(patience))
        self.kill()
        await asyncio.wait({self.exited}, timeout=_UNKILLABLE_AFTER)
        return self.exited.result() if self.exited.done() else Killed(by_supervisor=True)

    async def started(self, stopping: asyncio.Event | None = None) -> Acknowledgement:
        """Wait until the child is started or is not; it then has ended.

        When ``stopping`` is set meanwhile, it is told to end and gets its usual time for it.
        """
        limit = self.spec.start_timeout
        interrupt = asyncio.ensure_future(stopping.wait()) if stopping else None
        waiting: set[asyncio.Future[Any]] = {self.acknowledged}
        if interrupt is not None:
            waiting.add(interrupt)
        try:
            await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            return await self._settle_start(interrupted=interrupt is not None and interrupt.done())
        finally:
            if interrupt is not None:
                interrupt.cancel()

    async def _settle_start(self, *, interrupted: bool) -> Acknowledgement:
        if not self.acknowledged.done() and interrupted:
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
            patience = self.spec.patience
            limit = 0.0 if patience == "brutal_kill" else _seconds(patience)
            await asyncio.wait({self.acknowledged}, timeout=limit)
        if not self.acknowledged.done():
            await self.stop("brutal_kill")
            waited = "the stop" if interrupted else f"{self.spec.start_timeout} s"
            return StartFailure("timeout", f"it was not ready after {waited} and was killed")
        outcome = self.acknowledged.result()
        if not isinstance(outcome, Ready):
            await asyncio.wait({self.exited}, timeout=_UNKILLABLE_AFTER)
        return outcome


def _seconds(patience: Shutdown) -> float | None:
    return None if isinstance(patience, str) else patience


def descriptors() -> list[int]:
    """Return the descriptors of this process that no child of it may keep."""
    loop = asyncio.get_running_loop()
    ours = [*birth.loop_descriptors(loop)]
    for child in _living.values():
        ours += (child.pidfd, child._channel.fileno())  # noqa: SLF001 - the same module's class
    for provider in _inherited:
        ours += provider()
    return [descriptor for descriptor in ours if descriptor >= 0]


def _forget() -> None:
    """Begin with empty lists in a process that was just forked; what they held stays referenced."""
    _foreign_objects.append((dict(_living), tuple(_inherited)))
    _living.clear()
    _inherited.clear()
    orphanage.reset()


def known_pids() -> set[int]:
    """Return the pids of the children this process started and has not reaped."""
    return set(_living)


def sweep_orphans() -> int:
    """Kill and reap the processes this one adopted; return how many have not ended yet."""
    if not birth.is_supervisor_process():
        return 0
    return orphanage.sweep(known_pids())


async def orphans_gone(seconds: float = _UNKILLABLE_AFTER) -> None:
    """Wait until no adopted process is left, at most so long."""
    deadline = monotonic() + seconds
    while sweep_orphans() and monotonic() < deadline:  # noqa: ASYNC110 - no event tells of adoption
        await asyncio.sleep(0.005)


def kill_all() -> None:
    """Kill every child of this process with its group, without waiting."""
    for child in _living.values():
        child.kill()
