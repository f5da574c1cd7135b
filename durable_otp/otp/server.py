"""A supervisor that is a process: its program, and what it has in common with the root.

It serves calls that come down its link (for itself, or for a supervisor below it), reports events
upwards with the path they happened at, and pushes its part of the tree when that changed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from durable_otp.otp import calls, link, loop
from durable_otp.otp.calls import Call, ChildCounts, ChildInfo, SupervisorEvent
from durable_otp.otp.channel import AsyncParentLink
from durable_otp.otp.child_spec import DynamicSupervisorSpec, SupervisorSpec
from durable_otp.otp.dynamic import DynamicSupervisor
from durable_otp.otp.errors import (
    InvalidSpec,
    NoProcess,
    NotSupported,
    StartFailed,
    SupervisorError,
)
from durable_otp.otp.exit_reason import ExitReason, Shutdown, StartFailure
from durable_otp.otp.link import InitError, Message, ParentLink
from durable_otp.otp.process import Child
from durable_otp.otp.supervisor import SupervisorActor

_PUSH_AFTER = 0.05  # changes that come together are pushed together


class Actor(Protocol):
    """A supervisor in an event loop: with fixed children, or dynamic."""

    finished: "asyncio.Future[ExitReason]"

    async def boot(self) -> None:
        """Start the first children."""

    async def stop(self) -> None:
        """Stop everything."""

    def child(self, child_id: str) -> Child | None:
        """Return a running child."""

    def nodes(self) -> list[dict[str, Any]]:
        """Return the children's part of the tree."""

    async def which_children(self) -> list[ChildInfo]:
        """Return a line per child."""

    async def count_children(self) -> ChildCounts:
        """Return how many there are."""


class DynamicActor(DynamicSupervisor):
    """A dynamic supervisor with nobody but OTP's rules as its owner."""

    def __init__(self, spec: DynamicSupervisorSpec, **hooks: Any) -> None:
        self._left: Callable[[Child], None] = hooks.pop("on_exit")
        super().__init__(
            spec.template,
            intensity=spec.intensity,
            period=spec.period,
            max_children=spec.max_children,
            auto_shutdown=spec.auto_shutdown,
            on_exit=self._charge,
            **hooks,
        )
        self.finished: asyncio.Future[ExitReason] = asyncio.get_running_loop().create_future()
        self._watch: asyncio.Task[None] | None = None

    def _charge(self, child: Child, _: ExitReason) -> bool:
        self._left(child)
        return True

    async def boot(self) -> None:
        """Begin to watch the intensity; there is no child to start."""
        self._watch = asyncio.create_task(self._give_up())

    async def _give_up(self) -> None:
        await self.exceeded.wait()
        await self.stop()

    async def stop(self, *_: Any, **__: Any) -> None:
        """Stop all children at once, and the supervisor."""
        await super().stop()
        if not self.finished.done():
            self.finished.set_result(Shutdown())

    async def terminate_child(self, child: Any) -> Any:
        """Stop a child given by id or pid; a pid that is gone already is no error, as in OTP."""
        await self._serving()
        found = next((c for c in self.children if child in (c.id, c.pid)), None)
        if found is not None:
            await super().terminate_child(found)
        elif isinstance(child, str) and not self.cancel_restart(child):
            raise NotSupported("terminate_child")

    async def which_children(self) -> list[ChildInfo]:
        """Return a line per child, those being restarted included."""
        await self._serving()
        return await super().which_children()

    async def count_children(self) -> ChildCounts:
        """Return how many children there are."""
        await self._serving()
        return await super().count_children()

    async def _serving(self) -> None:
        """Wait for the end of a supervisor that is ending, and say that it has."""
        if self._stopping.is_set() or self.exceeded.is_set():
            await asyncio.wait({self.finished})
            raise NoProcess(self.template.id)


class Server:
    """Serves calls for one actor and everything below it.

    ``send_up`` takes the messages for whoever is above; ``on_event`` and ``on_message`` are for an
    owner that wants to hear them too.
    """

    def __init__(
        self,
        spec: SupervisorSpec | DynamicSupervisorSpec,
        send_up: Callable[[Message], None],
        *,
        on_event: Callable[[SupervisorEvent], None] = lambda _: None,
        on_message: Callable[[Child, Message], None] = lambda _, __: None,
    ) -> None:
        self._send_up = send_up
        self._on_event = on_event
        self._on_message = on_message
        self._pending: dict[int, tuple[Child, int]] = {}
        self._number = 0
        self._events = 0
        self._push: asyncio.TimerHandle | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self.actor = self._make(spec)

    def _make(self, spec: SupervisorSpec | DynamicSupervisorSpec) -> Actor:
        hooks: dict[str, Any] = {
            "on_event": self._event,
            "on_message": self._hear,
            "on_exit": self._child_left,
        }
        if isinstance(spec, DynamicSupervisorSpec):
            return DynamicActor(spec, **hooks)
        return SupervisorActor(spec, nested=serve, **hooks)

    # upwards

    def _event(self, event: SupervisorEvent) -> None:
        self._events += 1
        event = replace(event, number=self._events)
        self._send_up(Message(calls.EVENT, event.to_fields()))
        self._on_event(event)
        self.changed()

    def _hear(self, child: Child, message: Message) -> None:
        match message.kind:
            case calls.EVENT:
                self._event(SupervisorEvent(**message.fields).below(child.id))
            case link.REPLY:
                self._pass_reply(message)
            case _:
                if message.kind in (link.STATE, link.TREE):
                    self.changed()
                self._on_message(child, message)

    def changed(self) -> None:
        """Push this part of the tree upwards, soon."""
        if self._push is None:
            self._push = asyncio.get_running_loop().call_later(_PUSH_AFTER, self.push_now)

    def push_now(self) -> None:
        """Push this part of the tree upwards."""
        if self._push is not None:
            self._push.cancel()
        self._push = None
        self._send_up(Message(link.TREE, {"children": self.actor.nodes()}))

    # downwards

    def receive_call(self, message: Message) -> None:
        """Answer a call, or pass it on to the child that is next on its path."""
        path = message.fields["path"]
        if path:
            self._pass_call(message, self.actor.child(path[0]))
        else:
            task = asyncio.get_running_loop().create_task(self._answer(calls.from_message(message)))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    def _pass_call(self, message: Message, child: Child | None) -> None:
        number = message.fields["number"]
        if child is None or not child.is_alive:
            self._send_up(calls.refuse(number, NoProcess("/".join(message.fields["path"]))))
            return
        self._number += 1
        self._pending[self._number] = (child, number)
        below = calls.one_level_down(message, self._number)
        child.send(*below)

    def _pass_reply(self, message: Message) -> None:
        pending = self._pending.pop(message.fields["number"], None)
        if pending is not None:
            self._send_up(calls.relabelled(message, pending[1]))

    def _child_left(self, child: Child) -> None:
        for mine, (asked, number) in tuple(self._pending.items()):
            if asked is child:
                del self._pending[mine]
                self._send_up(calls.refuse(number, NoProcess(child.id)))

    async def _answer(self, call: Call) -> None:
        try:
            result = await self.call(call.name, *call.arguments, **call.options)
        except SupervisorError as error:
            self._send_up(calls.refuse(call.number, error))
        except Exception as error:  # noqa: BLE001 - the caller's mistake must not be his silence
            self._send_up(calls.refuse(call.number, SupervisorError(f"{call.name}: {error!r}")))
        else:
            self._send_up(calls.answer(call.number, calls.portable(result)))

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Do one of the calls of OTP in this supervisor."""
        if name not in calls.NAMES:
            raise NotSupported(name)
        return await getattr(self.actor, name)(*arguments, **options)


def serve(parent: ParentLink, spec: SupervisorSpec | DynamicSupervisorSpec) -> None:
    """Be a nested supervisor: the program of its process."""
    loop.run(parent, partial(_serve, parent), spec)


async def _serve(
    parent: ParentLink, up: AsyncParentLink, spec: SupervisorSpec | DynamicSupervisorSpec
) -> None:
    try:
        server = Server(spec, lambda message: up.send(*message))
    except InvalidSpec as error:
        failure = StartFailure("invalid", str(error))
        raise InitError(str(error), detail=failure.to_fields()) from None
    up.on_call = server.receive_call
    up.on_message = lambda _: None
    try:
        await until_finished(server.actor, up.stopping, lambda: _ready(server, up))
    except StartFailed as error:
        failure = StartFailure(
            "child", fatal=error.failure.fatal, child_id=error.child_id, cause=error.failure
        )
        raise InitError(str(error), detail=failure.to_fields()) from None
    await up.flush()
    parent.exit(Shutdown())


def _ready(server: Server, up: AsyncParentLink) -> None:
    server.push_now()  # first, so that whoever hears "ready" knows the whole tree
    up.ready()


async def _abandon(actor: Actor, boot: "asyncio.Future[None]") -> None:
    await actor.stop()  # shortens the start that is in progress
    with contextlib.suppress(StartFailed):
        await boot
    await actor.stop()


async def until_finished(
    actor: Actor,
    stopping: asyncio.Event,
    ready: Callable[[], None],
    before_stop: Callable[[], None] = lambda: None,
) -> None:
    """Boot the supervisor, say ``ready``, and return when it has ended: stopped, or by itself.

    ``before_stop`` is called when it was asked to stop, before the first child is told.

    Raises:
        StartFailed: a child did not start; everything is stopped.
    """
    boot: asyncio.Future[Any] = asyncio.ensure_future(actor.boot())
    stop: asyncio.Future[Any] = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({boot, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not boot.done():
            await _abandon(actor, boot)
            return
        await boot
        ready()
        waiting: set[asyncio.Future[Any]] = {actor.finished, stop}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if stop.done():
            before_stop()
        await actor.stop()
        actor.finished.result()  # an error of the supervisor's own ends the process
    finally:
        stop.cancel()
