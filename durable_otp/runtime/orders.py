"""What operators order processes to do, carried out in the root: it supervises them.

An order names a place in the tree and one life of the process there. The root looks at its own
children itself and passes what is meant for a worker on to the worker's manager. It remembers every
order, so that one which its registrar brings again, because it or another before it died meanwhile,
is answered and not carried out again.
"""

import asyncio
import logging
from collections import deque
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from durable_otp.events import emit
from durable_otp.otp import ExitReason, NotFound, Root, SupervisorError
from durable_otp.otp.process import Child
from durable_otp.otp.stacks import own
from durable_otp.runtime import messages, tree_view
from durable_otp.storage.commands import Status, Verb
from durable_otp.storage.processes import ROOT

REGISTRAR = "registrar"
KEPT_WHOLE = 50
"""Longer answers than a sentence are kept whole until so many others have come."""
SENTENCE = 500


@dataclass(frozen=True)
class Order:
    """A command on its way from the registrar; ``started_at`` as the tree shows it."""

    id: str
    verb: str
    target: str
    pid: int | None
    started_at: str | None
    seconds: float


@dataclass(frozen=True)
class Result:
    """What became of an order."""

    status: Status
    outcome: str


class Refusal(Exception):  # noqa: N818 - it is an answer
    """Carries the result of an order that cannot be carried out."""

    def __init__(self, status: Status, outcome: str) -> None:
        super().__init__(outcome)
        self.result = Result(status, outcome)


class Orders:
    """Carries out orders, each as a task, and answers the registrar that is there then."""

    def __init__(self) -> None:
        self._results: dict[str, Result | None] = {}
        self._whole: deque[str] = deque()
        self._answers: dict[str, asyncio.Future[Result]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, order: Order, root: Root, clocks: tuple[datetime, float]) -> None:
        """Carry an order out, or answer it again; ``clocks`` are those of the tree that is shown.

        The stop of the whole node is answered by the registrar, which is the last to leave.
        """
        if order.id in self._results:
            self._tell(order.id, root)
            return
        self._results[order.id] = None
        task = asyncio.get_running_loop().create_task(self._carry_out(order, root, clocks))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def answered(self, fields: dict[str, Any]) -> None:
        """Hear a manager's answer."""
        waiting = self._answers.get(fields["id"])
        if waiting is not None and not waiting.done():
            waiting.set_result(Result(Status(fields["status"]), fields["outcome"]))

    async def _carry_out(self, order: Order, root: Root, clocks: tuple[datetime, float]) -> None:
        try:
            result = await self._perform(order, root, clocks)
        except Refusal as refusal:
            result = refusal.result
        except NotFound:
            result = Result(Status.GONE, f"Process {order.pid} has just ended.")
        except SupervisorError as error:
            result = Result(Status.FAILED, f"{error}.")
        except Exception as error:  # noqa: BLE001 - a defect is an answer too, silence is none
            emit("order_failed", level=logging.ERROR, verb=order.verb, error=repr(error))
            result = Result(Status.FAILED, f"It met a defect: {error!r}.")
        if result is not None:
            self._results[order.id] = result
            self._tell(order.id, root)
            self._shorten(order.id)

    def _shorten(self, latest: str) -> None:
        """Keep every order's id, lest one is carried out twice, but few long answers."""
        self._whole.append(latest)
        if len(self._whole) > KEPT_WHOLE:
            oldest = self._whole.popleft()
            result = self._results[oldest]
            if result is not None:
                self._results[oldest] = Result(result.status, result.outcome[:SENTENCE])

    def _tell(self, order_id: str, root: Root) -> None:
        result = self._results[order_id]
        if result is not None:
            root.send(REGISTRAR, messages.ANSWER, {"id": order_id, **asdict(result)})

    async def _perform(
        self, order: Order, root: Root, clocks: tuple[datetime, float]
    ) -> Result | None:
        if order.seconds <= 0:
            raise Refusal(Status.EXPIRED, "Nobody waited for it any more.")
        place, _, worker = order.target.partition("/")
        if place == ROOT:
            return _order_root(order, root, clocks)
        if worker:
            return await self._order_worker(order, root, clocks)
        return await _order_child(order, root, clocks)

    async def _order_worker(
        self, order: Order, root: Root, clocks: tuple[datetime, float]
    ) -> Result:
        place, _, worker = order.target.partition("/")
        manager = root.child(place)
        if manager is None:
            raise Refusal(Status.GONE, f"The manager of worker {order.target!r} does not run.")
        shown = manager.state.get("children", ())
        node = next((each for each in shown if each["id"] == worker), None)
        node = _checked(order, node, clocks)
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._answers[order.id] = answer
        fields = {"id": order.id, "verb": order.verb, "worker": worker}
        manager.send(messages.ORDER, fields | {"pid": order.pid, "at": node["started_at"]})
        ends: set[asyncio.Future[Any]] = {answer, manager.exited}
        await asyncio.wait(ends, timeout=order.seconds, return_when=asyncio.FIRST_COMPLETED)
        del self._answers[order.id]
        if answer.done():
            return answer.result()
        if manager.exited.done():
            return Result(Status.UNKNOWN, "Its manager ended meanwhile, and all workers with it.")
        return Result(Status.UNKNOWN, f"Its manager has not answered in {order.seconds:.0f} s.")


def _order_root(order: Order, root: Root, clocks: tuple[datetime, float]) -> Result | None:
    _checked(order, root.tree(), clocks)
    match order.verb:
        case Verb.STOP:
            root.stop()
            return None
        case Verb.STACKS:
            return Result(Status.DONE, own())
        case _:
            raise Refusal(
                Status.REFUSED,
                f"Nobody is above the root who would start it again; stop it, and have it started "
                f"anew where it was started, instead of {order.verb}.",
            )


async def _order_child(order: Order, root: Root, clocks: tuple[datetime, float]) -> Result:
    child_id = order.target
    node = next((each for each in root.server.actor.nodes() if each["id"] == child_id), None)
    _checked(order, node, clocks)
    child = root.child(child_id)
    match order.verb:
        case Verb.RESTART:
            return await _restart(order, child, root)
        case Verb.STOP if child_id == REGISTRAR:
            raise Refusal(
                Status.REFUSED,
                "Without its registrar a node hears no commands; restart it, or stop the root.",
            )
        case Verb.STOP if child is not None:
            await _end(order, child, root)
            return Result(
                Status.DONE,
                f"{child_id!r} (process {child.pid}) has stopped, until it is restarted.",
            )
    if child is None:
        raise Refusal(Status.REFUSED, f"{child_id!r} does not run.")
    return await kill(child, child_id) if order.verb == Verb.KILL else await stacks(child, child_id)


async def _restart(order: Order, child: Child | None, root: Root) -> Result:
    root.send(order.target, messages.STAY)
    if child is not None:
        await _end(order, child, root)
    started = await root.call("restart_child", order.target)
    before = f" instead of {child.pid}" if child is not None else ""
    return Result(Status.DONE, f"{order.target!r} runs as process {started.pid}{before}.")


async def _end(order: Order, child: Child, root: Root) -> None:
    if not await root.end_child(order.target, child, order.seconds):
        raise Refusal(
            Status.FAILED,
            f"{order.target!r} (process {child.pid}) was told to end and has not in "
            f"{order.seconds:.0f} s; when it does, it is started again.",
        )


async def kill(child: Child, name: str) -> Result:
    """Kill a process; its supervisor starts another."""
    child.kill()
    reason: ExitReason = await asyncio.shield(child.exited)
    return Result(Status.DONE, f"{name!r} (process {child.pid}) has ended: {reason}.")


async def stacks(child: Child, name: str) -> Result:
    """Return what a process is doing."""
    text = await child.stacks()
    if text is None:
        raise Refusal(
            Status.FAILED,
            f"{name!r} (process {child.pid}) does not write its stacks: it is stopped or stuck in "
            "the kernel, or its code has a handler of its own for SIGUSR2.",
        )
    return Result(Status.DONE, text)


def _checked(
    order: Order, node: dict[str, Any] | None, clocks: tuple[datetime, float]
) -> dict[str, Any]:
    """Return the node of an order's process; refuse it if another one has its place now."""
    if node is None:
        raise Refusal(Status.GONE, f"There is no {order.target!r} any more.")
    started_at = tree_view.start_text(node["started_at"], *clocks)
    if (node["pid"], started_at) != (order.pid, order.started_at):
        now = f"process {node['pid']} has its place" if node["pid"] else "nothing has its place yet"
        raise Refusal(Status.GONE, f"Process {order.pid} has ended; {now}.")
    return node
