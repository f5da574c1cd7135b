"""The root of a tree of processes: supervises, and does nothing else.

It runs in its own exec'd process: either in the foreground (``run_root``), or for a host
(``boot``), whom it tells everything and whom it does not outlive. An owner adds its own to it by
``RootHooks``.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

import setproctitle

from durable_otp.clock import monotonic
from durable_otp.events import emit
from durable_otp.otp import linux, loop, process, program
from durable_otp.otp.calls import SupervisorEvent
from durable_otp.otp.child_spec import DynamicSupervisorSpec, SupervisorSpec
from durable_otp.otp.errors import NotSupported
from durable_otp.otp.link import Message
from durable_otp.otp.process import Child
from durable_otp.otp.server import Server, until_finished
from durable_otp.otp.supervisor import SupervisorActor


class RootHooks:
    """What an owner adds to the root; every method runs in the root's event loop."""

    def before_children(self, root: "Root") -> None:
        """Prepare the process that all others are forked from, e.g. import what they need."""

    def on_started(self, root: "Root") -> None:
        """Hear that every child is up, in a root in the foreground: a host is told otherwise."""

    def on_child_message(self, child_id: str, message: Message, root: "Root") -> None:
        """Hear what a child of the root sent; "state" and "tree" are merged already."""

    def on_event(self, event: SupervisorEvent, root: "Root") -> None:
        """Hear what happened anywhere in the tree."""

    def on_stopping(self, root: "Root") -> None:
        """Hear that the root was asked to stop; the children are stopped one by one after this."""

    async def on_request(
        self, kind: str, fields: dict[str, Any], root: "Root"
    ) -> dict[str, Any] | None:
        """Answer a request of the host; None when the kind is unknown."""
        _ = kind, fields, root
        return None


class Root:
    """The root's inside: its supervisor, its tree, its ways to send."""

    def __init__(
        self,
        spec: SupervisorSpec | DynamicSupervisorSpec,
        hooks: RootHooks,
        send_up: Callable[[Message], None],
        stop: Callable[[], None],
    ) -> None:
        self.hooks = hooks
        self.stop = stop
        """Begins the stop in order, as a first SIGTERM does."""
        self.started_at = monotonic()
        self._send_up = send_up
        flags = spec.flags if isinstance(spec, SupervisorSpec) else None
        self._supervision = flags and {
            "strategy": flags.strategy,
            "on_exceeded": flags.on_exceeded,
        }
        self.server = Server(spec, send_up, on_event=self._event, on_message=self._hear)

    def _event(self, event: SupervisorEvent) -> None:
        _guard(lambda: self.hooks.on_event(event, self))

    def _hear(self, child: Child, message: Message) -> None:
        _guard(lambda: self.hooks.on_child_message(child.id, message, self))

    def tree(self) -> dict[str, Any]:
        """Return the whole tree as it was last heard of."""
        return {
            "id": "root",
            "role": "supervisor",
            "pid": os.getpid(),
            "status": "running",
            "restarts": 0,
            "started_at": self.started_at,
            "supervision": self._supervision,
            "children": self.server.actor.nodes(),
        }

    def child(self, child_id: str) -> Child | None:
        """Return the running child of the root of this id."""
        return self.server.actor.child(child_id)

    async def end_child(self, child_id: str, child: Child, seconds: float) -> bool:
        """Have this process end as its specification says, and its place kept without one.

        Unlike ``terminate_child`` it keeps no other child waiting, however long it takes. Returns
        False, and has it restarted if it ends later, when it has not ended after ``seconds``.
        """
        actor = self.server.actor
        if not isinstance(actor, SupervisorActor):
            raise NotSupported("end_child")
        actor.let_go(child_id, child)
        stopping = asyncio.ensure_future(child.stop())
        ends: set[asyncio.Future[Any]] = {stopping, child.exited}
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not child.exited.done():
            actor.let_go(child_id, None)
        return child.exited.done()

    def send(
        self, child_id: str, kind: str, fields: dict[str, Any] | None = None, body: bytes = b""
    ) -> bool:
        """Send a message to a child of the root; return whether it is running."""
        child = self.child(child_id)
        if child is None:
            return False
        child.send(kind, fields, body)
        return True

    def push(self, kind: str, fields: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Send a message to the host, if there is one."""
        self._send_up(Message(kind, fields or {}, body))

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Do one of the calls of OTP in the root's supervisor."""
        return await self.server.call(name, *arguments, **options)


def _guard(hook: Callable[[], None]) -> None:
    """Call an owner's hook; its error must not take the whole tree down."""
    try:
        hook()
    except Exception as error:  # noqa: BLE001 - reported; there is nobody above the root
        emit("root_hook_failed", level=logging.ERROR, error=repr(error))


def run_root(
    spec: SupervisorSpec | DynamicSupervisorSpec,
    hooks: RootHooks | None = None,
    *,
    title: str | None = None,
) -> int:
    """Be the root, in the foreground of this process, until it ends; return the exit code.

    The process must have one thread. SIGINT or SIGTERM stops the tree in order (0), a second one
    kills it (1). A tree that gave up is 1.

    Raises:
        StartFailed: a child did not start; nothing is left running.
        InvalidSpec: the specification is wrong; nothing was started.
    """
    if title is not None:
        setproctitle.setproctitle(title)
    return asyncio.run(_foreground(spec, hooks or RootHooks()))


async def _foreground(spec: SupervisorSpec | DynamicSupervisorSpec, hooks: RootHooks) -> int:
    process.orphanage.spare(linux.child_pids())  # as PID 1 it has adopted what came before it
    stopping = asyncio.Event()
    async with loop.Surroundings(lambda _: stop_or_end(stopping)):
        root = Root(spec, hooks, lambda _: None, stopping.set)
        program.take_signals()
        hooks.before_children(root)
        await until_finished(
            root.server.actor,
            stopping,
            lambda: hooks.on_started(root),
            lambda: hooks.on_stopping(root),
        )
    return 0 if stopping.is_set() else 1


def stop_or_end(stopping: asyncio.Event) -> None:
    """Ask for a stop in order; asked again, end at once."""
    if stopping.is_set():
        loop.end_at_once()
    stopping.set()
