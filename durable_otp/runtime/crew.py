"""The workers of a queue: as many as it may run executions, and one connected spare.

The spare is why a dead worker's execution runs again at once: nobody waits for a process to start.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from durable_otp.events import emit
from durable_otp.otp import ChildSpec, DynamicSupervisor, ExitReason, Killed, StartFailed
from durable_otp.otp.link import Message
from durable_otp.otp.process import Child
from durable_otp.runtime.held import Held
from durable_otp.runtime.output import OutputFile
from durable_otp.runtime.settings import ManagerSettings
from durable_otp.runtime.station import Left, Station
from durable_otp.runtime.worker import worker

SPARES = 1
START_TIMEOUT = 120.0


class Crew:
    """Starts, replaces, recycles and stops the workers of one queue.

    ``on_message(station, message)`` hears them. ``on_left(station, left, reason)`` is called when
    one has died, before its replacement starts; ``on_return(executions)`` when one that is to be
    replaced gives back what it has not begun.
    """

    def __init__(
        self,
        settings: ManagerSettings,
        on_message: Callable[[Station, Message], None],
        on_left: Callable[[Station, Left, ExitReason], None],
        on_return: Callable[[Sequence[Held]], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._on_message = on_message
        self._on_left = on_left
        self._on_return = on_return
        self._on_idle = on_idle
        self._stations: dict[str, Station] = {}
        self._wanted = 0
        self.known_workflows: list[dict[str, Any]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._supervisor = DynamicSupervisor(
            _template(settings),
            intensity=settings.max_restarts,
            period=settings.max_seconds,
            on_message=self._hear,
            on_exit=self._left,
            on_event=self._happened,
        )

    @property
    def exceeded(self) -> asyncio.Event:
        """Set when workers die too often for reasons of their own."""
        return self._supervisor.exceeded

    @property
    def stations(self) -> list[Station]:
        """Every place, in order of number."""
        return sorted(self._stations.values(), key=lambda station: station.number)

    def idle(self) -> list[Station]:
        """Return the places with a worker that waits for work."""
        return [station for station in self.stations if station.is_idle]

    async def start(self, concurrency: int) -> None:
        """Start all workers side by side; return when they are ready.

        Raises:
            StartFailed: One of them could not start; those that did are running.
        """
        self._wanted = concurrency + SPARES
        await asyncio.gather(*(self._hire() for _ in range(self._wanted)))

    def resize(self, concurrency: int) -> None:
        """Have more or fewer workers from now on; idle ones go first, busy ones finish."""
        self._wanted = concurrency + SPARES
        for _ in range(self._wanted - self._staying()):
            self._begin(self._hire_quietly())
        self.let_go()

    def let_go(self) -> None:
        """Retire idle workers as long as there are more than wanted."""
        for station in reversed(self.idle()):
            if self._staying() <= self._wanted:
                return
            self._retire(station)

    def done(self, station: Station, count: int) -> None:
        """Take note that a worker is done with so many; recycle it if it is large or old."""
        station.executions += count
        station.is_spent = station.is_spent or self._is_spent(station)
        if station.is_spent:
            self._on_return(station.take_back())
            if not (station.hand or station.is_retiring or station.is_relieved):
                self._begin(self._replace(station))
        self.let_go()

    def room(self, station: Station, most: int) -> int:
        """Return how many more a worker may be handed, when it may have so many in its hand."""
        if not station.is_open:
            return 0
        limit = self._settings.max_executions_per_worker
        left = most if limit is None else limit - station.executions
        return max(0, min(most, left) - len(station.hand))

    async def relieve(self, station: Station, worker: Child) -> None:
        """Have a worker finish its step and end, and another take its place; return at its end.

        It has as long for it as at a stop. What it has in hand then goes back uncounted.
        """
        station.is_relieved = True
        self._on_return(station.take_back())
        await worker.stop()

    async def stop(self, seconds: float) -> None:
        """Tell all workers to finish their step, and kill those that have not in time."""
        await self._supervisor.stop(seconds)
        for task in tuple(self._tasks):
            task.cancel()
        stations = self.stations
        self._stations.clear()
        for station in stations:
            station.close()

    def tree(self) -> list[dict[str, Any]]:
        """Return the workers' part of the tree."""
        nodes = {node["id"]: node for node in self._supervisor.nodes()}
        return [
            _node(nodes[key], station) for key, station in self._stations.items() if key in nodes
        ]

    def budget(self) -> dict[str, Any]:
        """Return how many restarts the workers have together, and when they were drawn on."""
        return self._supervisor.budget()

    # coming and going

    async def _hire(self) -> None:
        number = self._free_number()
        key = str(number)
        title = f"{self._settings.title} worker {self._settings.queue}/{number}"
        station = self._stations[key] = Station(number, OutputFile(title))
        try:
            await self._supervisor.start_child(
                title, station.output.descriptor, station.slate, station.permits, child_id=key
            )
        except StartFailed:
            del self._stations[key]
            station.close()
            raise

    async def _hire_quietly(self) -> None:
        try:
            await self._hire()
        except StartFailed as error:
            emit("worker_not_started", queue=self._settings.queue, reason=str(error))

    def _free_number(self) -> int:
        taken = {station.number for station in self._stations.values()}
        return next(number for number in range(1, len(taken) + 2) if number not in taken)

    def _retire(self, station: Station) -> None:
        station.is_retiring = True
        self._begin(self._dismiss(station))

    async def _dismiss(self, station: Station) -> None:
        child = station.child
        self._stations.pop(str(station.number), None)
        if child is not None:
            await self._supervisor.terminate_child(child)
        station.close()

    async def _replace(self, station: Station) -> None:
        station.is_retiring = True
        await self._dismiss(station)
        await self._hire_quietly()

    def _is_spent(self, station: Station) -> bool:
        settings, child = self._settings, station.child
        if child is None or station.is_retiring:
            return False
        most = settings.max_executions_per_worker
        if most is not None and station.executions >= most:
            return True
        return settings.max_memory is not None and _resident(child.pid) > settings.max_memory

    def _staying(self) -> int:
        return sum(not station.is_retiring for station in self._stations.values())

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # what the supervisor tells

    def _hear(self, child: Child, message: Message) -> None:
        station = self._stations.get(child.id)
        if station is not None and station.child is child:
            self._on_message(station, message)

    def _happened(self, event: Any) -> None:
        station = self._stations.get(event.path)
        if station is None:
            return
        if event.name == "started":
            station.child = self._supervisor.child(event.path)
            station.executions, station.is_spent, station.is_relieved = 0, False, False
            self.known_workflows = event.facts["info"]["workflows"]
            self._on_idle()

    def _left(self, child: Child, reason: ExitReason) -> bool:
        """Take note of a death; return whether it is charged to the restart intensity.

        A death with an execution in hand is charged to that execution. One that was killed from
        outside while it waited says nothing about whether starting another helps.
        """
        station = self._stations.get(child.id)
        if station is None:
            return False
        left = station.leave()
        running = left.begun[0].claim.id if left.begun else "none"
        emit("worker_died", queue=self._settings.queue, worker=station.number, pid=child.pid,
             reason=str(reason), execution=running)  # fmt: skip
        self._on_left(station, left, reason)
        station.output.clear()
        return not (left.begun or station.is_relieved or isinstance(reason, Killed))


def _template(settings: ManagerSettings) -> ChildSpec:
    return ChildSpec(
        "worker",
        worker,
        args=(settings.worker,),
        shutdown=settings.shutdown_timeout,
        start_timeout=START_TIMEOUT,
    )


def _resident(pid: int) -> int:
    """Return a process's resident memory in bytes; 0 when it has just ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * 4096


def _node(node: dict[str, Any], station: Station) -> dict[str, Any]:
    held = station.held
    begun = held.begun if held else None
    return {
        **node,
        "role": "worker",
        "execution_id": held.claim.id if held else None,
        "workflow": held.claim.workflow if held else None,
        "step": begun.path if begun else None,
    }
