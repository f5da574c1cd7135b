"""A supervisor of many alike: children made from one template at run time, in no order.

Erlang's ``simple_one_for_one`` and Elixir's ``DynamicSupervisor``. Starts and stops may go on side
by side. The owner may decide by ``on_exit`` that a death is not the supervisor's concern: it is
then not charged to the restart intensity.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.otp import process, restart
from durable_otp.otp.calls import ChildCounts, ChildInfo, SupervisorEvent
from durable_otp.otp.child_spec import ChildSpec, DynamicSupervisorSpec, Shutdown
from durable_otp.otp.errors import MaxChildren, NoProcess, NotFound, NotSupported, StartFailed
from durable_otp.otp.exit_reason import ExitReason, StartFailure, to_fields
from durable_otp.otp.link import Message
from durable_otp.otp.process import Acknowledgement, Child, Ignored, Ready


@dataclass(eq=False)
class _Place:
    """What stays when a child is replaced: its id, its arguments, its history."""

    spec: ChildSpec
    child: Child | None = None
    starting: Child | None = None
    latest: Child | None = None
    """The last that has started, though it may have ended since."""
    restarts: int = 0
    last_exit: str | None = None
    failures: int = 0
    lived: float = 0.0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def removed(self) -> bool:
        """Whether nobody is to live here any more."""
        return self.gone.is_set()


class DynamicSupervisor:
    """Supervises any number of children of one template.

    ``on_message(child, message)`` hears what they send. ``on_exit(child, reason)`` is called the
    moment a child that had been ready has ended, before anything is decided, and returns whether
    the death is charged to the intensity; a death before that always is. ``exceeded`` is set when
    there were too many, or ``auto_shutdown`` asks for the end: nothing is restarted from then on,
    and the owner should stop.
    ``max_children`` counts those being restarted.
    """

    def __init__(  # noqa: PLR0913 - each is a separate choice of the owner's, and named
        self,
        template: ChildSpec,
        *,
        intensity: int = 3,
        period: float = 5.0,
        max_children: int | None = None,
        auto_shutdown: restart.AutoShutdown = "never",
        on_message: Callable[[Child, Message], None] | None = None,
        on_exit: Callable[[Child, ExitReason], bool] | None = None,
        on_event: Callable[[SupervisorEvent], None] | None = None,
    ) -> None:
        DynamicSupervisorSpec(template, intensity, period, max_children, auto_shutdown).check()
        self.template = template
        self.max_children = max_children
        self._auto_shutdown = auto_shutdown
        self.exceeded = asyncio.Event()
        self._intensity = restart.RestartIntensity(intensity, period)
        self._on_message = on_message
        self._on_exit = on_exit
        self._on_event = on_event
        self._places: list[_Place] = []
        self._born = 0
        self._stopping = asyncio.Event()
        self._restarts: set[asyncio.Task[None]] = set()
        if on_event is not None:
            process.orphanage.on_orphan = lambda pid, name: on_event(
                SupervisorEvent("orphan", "", {"pid": pid, "program": name})
            )

    @property
    def children(self) -> list[Child]:
        """The children that are started, oldest first."""
        return [place.child for place in self._places if place.child is not None]

    async def start_child(self, *extra: Any, child_id: str | None = None) -> Child | None:
        """Start one more, with ``extra`` after the template's arguments; None when it ignored.

        What is returned has been ready; it may have ended since.
        ``child_id`` names it in titles and events, default the template's id and a number. A
        replacement after a crash has the same id and arguments.

        Raises:
            MaxChildren: there are as many as there may be.
            StartFailed: it did not start, and nothing is kept.
            NoProcess: the supervisor is stopping.
        """
        if self._stopping.is_set():
            raise NoProcess(self.template.id)
        if self.max_children is not None and len(self._places) >= self.max_children:
            raise MaxChildren(self.max_children)
        self._born += 1
        name = child_id or f"{self.template.id}.{self._born}"
        title = self.template.title and f"{self.template.title}/{self._born}"
        args = (*self.template.args, *extra)
        place = _Place(replace(self.template, id=name, args=args, title=title))
        self._places.append(place)
        outcome = await self._start(place)
        if isinstance(outcome, StartFailure):
            self._remove(place)
            raise StartFailed(name, outcome)
        if isinstance(outcome, Ignored):
            self._remove(place)
        return place.latest

    async def terminate_child(self, child: Child) -> ExitReason:
        """Stop a child and forget it, whatever its restart type; return its reason.

        Raises:
            NotFound: it is not a child of this supervisor any more, and has no replacement.
        """
        place = next((p for p in self._places if p.child is child or p.starting is child), None)
        if place is None:
            raise NotFound(child.id)
        self._remove(place)
        return await child.stop()

    def cancel_restart(self, child_id: str) -> bool:
        """Forget a child that is between two lives; return whether there was one of this id."""
        waiting = [p for p in self._places if p.spec.id == child_id and p.child is None]
        for place in waiting:
            self._remove(place)
        return bool(waiting)

    async def stop(self, timeout: float | None = None, *, brutal: bool = False) -> None:  # noqa: ASYNC109 - the deadline each child gets before SIGKILL
        """Stop everyone at once, under one deadline (default: the template's); start no more."""
        self._stopping.set()
        shutdown: Shutdown | None = "brutal_kill" if brutal else timeout
        places, self._places = self._places, []
        for place in places:
            place.gone.set()
        processes = [p for place in places for p in (place.child, place.starting) if p is not None]
        await asyncio.gather(*(each.stop(shutdown) for each in processes))
        if self._restarts:
            await asyncio.wait(self._restarts)

    # what happens

    async def _start(self, place: _Place) -> Acknowledgement:
        try:
            child = Child(
                place.spec,
                on_message=self._on_message,
                on_exit=lambda child, reason: self._exited(place, child, reason),
                on_hung=self._report_hang,
            )
        except OSError as error:
            return StartFailure("exited", f"it could not be forked ({error})")
        place.starting = child
        outcome = await child.started(self._stopping)
        place.starting = None
        if isinstance(outcome, Ready):
            place.child = place.latest = child
        self._report_start(child, outcome)
        if isinstance(outcome, Ready) and not child.is_alive:  # it ended in the same breath
            self._report_end(place, child, child.exited.result())
        return outcome

    def _report_hang(self, child: Child) -> None:
        self._emit("hung", child, pid=child.pid, watchdog=child.spec.watchdog)

    def _exited(self, place: _Place, child: Child, reason: ExitReason) -> None:
        place.last_exit = str(reason)
        if place.starting is not child and child.is_ready:
            self._report_end(place, child, reason)

    def _report_end(self, place: _Place, child: Child, reason: ExitReason) -> None:
        facts = {"pid": child.pid, "clean": reason.is_clean, **to_fields(reason)}
        self._emit("stopped", child, **facts)
        charged = True if self._on_exit is None else self._on_exit(child, reason)
        place.child = None
        place.lived = monotonic() - child.started_at
        if place.removed or self._stopping.is_set():
            return
        if not restart.should_restart(place.spec.restart, reason):
            self._leave(place)
        elif self._may_restart(place, charged=charged):
            self._begin(place)

    def _leave(self, place: _Place) -> None:
        """Let a child go that has ended and does not come back, perhaps all others with it."""
        self._remove(place)
        if restart.ends_supervisor(
            self._auto_shutdown,
            significant=place.spec.significant,
            others_significant=[each.spec.significant for each in self._places],
        ):
            self.exceeded.set()

    def _may_restart(self, place: _Place, *, charged: bool) -> bool:
        if self.exceeded.is_set():
            return False
        if charged and self._intensity.exceeded(monotonic()):
            self._remove(place)
            self.exceeded.set()
            return False
        return True

    def _begin(self, place: _Place) -> None:
        task = asyncio.get_running_loop().create_task(self._restart(place))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _restart(self, place: _Place) -> None:
        """Start the replacement; one that does not start counts as another death."""
        while not (place.removed or self._stopping.is_set()):
            await self._back_off(place)
            if place.removed:
                return
            place.restarts += 1
            if place.spec.type == "supervisor":
                await process.orphans_gone()
            outcome = await self._start(place)
            if isinstance(outcome, Ignored):
                self._remove(place)
            if not isinstance(outcome, StartFailure) or place.removed:
                return
            if outcome.fatal:
                self._remove(place)
                self.exceeded.set()
            if not self._may_restart(place, charged=True):
                return

    async def _back_off(self, place: _Place) -> None:
        """Wait as the template's backoff says; being removed, or the stop, shortens it."""
        backoff = place.spec.backoff
        if backoff is None:
            return
        if place.lived >= backoff.reset_after:
            place.failures = 0
        place.failures += 1
        place.lived = 0.0
        delay = backoff.delay(place.failures, random.random())  # noqa: S311 - spreads, hides nothing
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(place.gone.wait(), delay)

    def _remove(self, place: _Place) -> None:
        place.gone.set()
        with contextlib.suppress(ValueError):
            self._places.remove(place)

    def _report_start(self, child: Child, outcome: Acknowledgement) -> None:
        match outcome:
            case Ready():
                self._emit("started", child, pid=child.pid, info=child.info)
            case Ignored():
                self._emit("start_ignored", child, pid=child.pid)
            case StartFailure():
                self._emit("start_failed", child, pid=child.pid, failure=outcome.to_fields())

    def _emit(self, name: str, child: Child, **facts: Any) -> None:
        if self._on_event is not None:
            self._on_event(SupervisorEvent(name, child.id, facts))

    # the calls of OTP

    async def which_children(self) -> list[ChildInfo]:
        """Return a line per child, those being restarted included."""
        kind = self.template.type or "worker"
        return [
            ChildInfo(p.spec.id, p.child.pid if p.child else None, _state(p), kind)
            for p in reversed(self._places)
        ]

    async def count_children(self) -> ChildCounts:
        """Return how many children there are; the one specification is the template."""
        total = len(self._places)
        supervisors = total if self.template.type == "supervisor" else 0
        return ChildCounts(1, len(self.children), supervisors, total - supervisors)

    async def get_childspec(self, child_id: str) -> ChildSpec:
        """Return the template, which is the only one known. Raises NotFound."""
        if child_id != self.template.id:
            raise NotFound(child_id)
        return self.template

    async def restart_child(self, _: str) -> None:
        """Refuse: there are no ids."""
        raise NotSupported("restart_child")

    async def delete_child(self, _: str) -> None:
        """Refuse: there are no ids."""
        raise NotSupported("delete_child")

    def child(self, child_id: str) -> Child | None:
        """Return the running child of this id, if there is one."""
        return next((child for child in self.children if child.id == child_id), None)

    def budget(self) -> dict[str, Any]:
        """Return the restarts that all children have together, and when they were drawn on."""
        return self._intensity.shown()

    def nodes(self) -> list[dict[str, Any]]:
        """Return a node of the tree per child, oldest first."""
        return [_node(place) for place in self._places]


def _state(place: _Place) -> Any:
    return "up" if place.child else "restarting"


def _node(place: _Place) -> dict[str, Any]:
    child = place.child
    return {
        "id": place.spec.id,
        "role": place.spec.type,
        "pid": child.pid if child else None,
        "status": "running" if child else "restarting",
        "restarts": place.restarts,
        "last_exit": place.last_exit,
        "policy": {"restart": place.spec.restart, "shutdown": place.spec.patience},
        "started_at": child.started_at if child else None,
        "children": [],
        **(child.state if child else {}),
    }
