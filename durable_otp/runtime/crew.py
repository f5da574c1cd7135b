"""The workers of a queue: as many as it needs to run its executions, and one spare.

The spare is why a dead worker's execution runs again at once: nobody waits for a process to start.
A worker has a place here, or one for each of its threads: what concerns the process (that it is to
be replaced, retired or relieved) then holds for all of them.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from durable_otp.events import emit
from durable_otp.otp import ChildSpec, DynamicSupervisor, ExitReason, Killed, NotFound, StartFailed
from durable_otp.otp.link import Message
from durable_otp.otp.process import Child
from durable_otp.runtime.descriptors import allow_descriptors
from durable_otp.runtime.held import Held
from durable_otp.runtime.output import OutputFile
from durable_otp.runtime.settings import ManagerSettings
from durable_otp.runtime.shared_worker import shared_worker
from durable_otp.runtime.station import Left, Station
from durable_otp.runtime.worker import worker
from durable_otp.storage.processes import process_key
from durable_otp.storage.server_limits import worker_processes

SPARES = 1
START_TIMEOUT = 120.0
DESCRIPTORS_PER_PLACE = 3


class Crew:
    """Starts, replaces, recycles and stops the workers of one queue.

    ``on_message(station, message)`` hears them. ``on_left(left, reason)`` is called when one has
    died, with what was at each of its places, before its replacement starts;
    ``on_return(executions)`` when one that is to be replaced gives back what it has not begun.
    """

    def __init__(
        self,
        settings: ManagerSettings,
        on_message: Callable[[Station, Message], None],
        on_left: Callable[[Sequence[tuple[Station, Left]], ExitReason], None],
        on_return: Callable[[Sequence[Held]], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._on_message = on_message
        self._on_left = on_left
        self._on_return = on_return
        self._on_idle = on_idle
        self._threads = settings.threads
        self._stations: dict[str, Station] = {}
        self._wanted = 0
        self._is_stopping = False
        self.known_workflows: list[dict[str, Any]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._supervisor = DynamicSupervisor(
            _template(settings),
            intensity=settings.max_restarts,
            period=settings.max_seconds,
            on_message=self._hear if self._threads == 1 else self._hear_thread,
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

    @property
    def is_shared(self) -> bool:
        """Whether several executions share a worker."""
        return self._threads > 1

    def workers(self) -> dict[str, list[Station]]:
        """Return the places of each worker, in order of number."""
        found: dict[str, list[Station]] = {}
        for station in self.stations:
            found.setdefault(station.worker, []).append(station)
        return found

    def idle(self) -> list[Station]:
        """Return the places with a worker that waits for work."""
        return [station for station in self.stations if station.is_idle]

    async def start(self, concurrency: int) -> None:
        """Start all workers side by side; return when they are ready.

        Raises:
            StartFailed: One of them could not start; those that did are running.
        """
        self._wanted = worker_processes(concurrency, self._threads) + SPARES
        await asyncio.gather(*(self._hire() for _ in range(self._wanted)))

    def resize(self, concurrency: int) -> None:
        """Have more or fewer workers from now on; idle ones go first, busy ones finish."""
        self._wanted = worker_processes(concurrency, self._threads) + SPARES
        for _ in range(self._wanted - self._staying()):
            self._begin(self._hire_quietly())
        self.let_go()

    def let_go(self) -> None:
        """Retire idle workers as long as there are more than wanted."""
        for station in reversed(self.idle()):
            if self._staying() <= self._wanted:
                return
            if all(mate.is_idle for mate in self._mates(station)):
                self._retire(station)

    def done(self, station: Station, count: int) -> None:
        """Take note that a worker is done with so many; recycle it if it is large or old."""
        if self._is_stopping:
            return
        station.executions += count
        station.is_spent = station.is_spent or self._is_spent(station)
        if station.is_spent:
            mates = self._mates(station)
            for mate in mates:
                mate.is_spent = True
                self._on_return(mate.take_back())
            in_hand = any(mate.hand for mate in mates)
            if not (in_hand or station.is_retiring or station.is_relieved):
                self._begin(self._replace(mates))
        self.let_go()

    def room(self, station: Station, most: int) -> int:
        """Return how many more a worker may be handed, when it may have so many in its hand."""
        if not station.is_open:
            return 0
        limit = self._settings.max_executions_per_worker
        left = most if limit is None else limit - self._taken(station)
        return max(0, min(most, left) - len(station.hand))

    async def relieve(self, station: Station, worker: Child) -> None:
        """Have a worker finish its step and end, and another take its place; return at its end.

        It has as long for it as at a stop. What it has in hand then goes back uncounted.
        """
        for mate in self._mates(station):
            mate.is_relieved = True
            self._on_return(mate.take_back())
        await worker.stop()

    async def stop(self, seconds: float) -> None:
        """Tell all workers to finish their step, and kill those that have not in time."""
        self._is_stopping = True
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
        workers = self.workers()
        return [_node(nodes[key], places) for key, places in workers.items() if key in nodes]

    def budget(self) -> dict[str, Any]:
        """Return how many restarts the workers have together, and when they were drawn on."""
        return self._supervisor.budget()

    # coming and going

    async def _hire(self) -> None:
        worker = self._free_worker()
        title = f"{self._settings.title} worker {self._settings.queue}/{worker}"
        mates = self._make_places(worker, title)
        shared = [(each.output.descriptor, each.slate, each.permits) for each in mates]
        places = shared[0] if self._threads == 1 else (shared,)
        try:
            await self._supervisor.start_child(title, *places, child_id=worker)
        except StartFailed:
            self._clear(mates)
            raise

    def _make_places(self, worker: str, title: str) -> list[Station]:
        """Make the places of a worker that is to come."""
        if self._threads == 1:
            station = self._stations[worker] = Station(
                int(worker), OutputFile(title), worker=worker
            )
            return [station]
        allow_descriptors(DESCRIPTORS_PER_PLACE * (len(self._stations) + self._threads))
        first = (int(worker) - 1) * self._threads + 1
        mates = []
        for thread in range(self._threads):
            output = OutputFile(f"{title} thread {thread}")
            station = Station(first + thread, output, worker=worker, thread=thread)
            self._stations[_key(worker, thread)] = station
            mates.append(station)
        return mates

    def _clear(self, mates: Sequence[Station]) -> None:
        """Take the places of a worker away that is gone, or never came."""
        self._stations = {
            key: station for key, station in self._stations.items() if station not in mates
        }
        for station in mates:
            station.close()

    def _mates(self, station: Station) -> list[Station]:
        """Return all places that have the worker of this one."""
        return [station] if self._threads == 1 else self._places_of(station.worker)

    def _places_of(self, worker: str) -> list[Station]:
        return [station for station in self._stations.values() if station.worker == worker]

    async def _hire_quietly(self) -> None:
        try:
            await self._hire()
        except StartFailed as error:
            emit("worker_not_started", queue=self._settings.queue, reason=str(error))

    def _free_worker(self) -> str:
        taken = {station.worker for station in self._stations.values()}
        return next(str(n) for n in range(1, len(taken) + 2) if str(n) not in taken)

    def _taken(self, station: Station) -> int:
        """Return how many its worker has done, and has in hand at its other places."""
        if self._threads == 1:
            return station.executions
        mates = self._mates(station)
        in_hand = sum(len(mate.hand) for mate in mates) - len(station.hand)
        return sum(mate.executions for mate in mates) + in_hand

    def _retire(self, station: Station) -> None:
        mates = self._mates(station)
        for mate in mates:
            mate.is_retiring = True
        self._begin(self._dismiss(mates))

    async def _dismiss(self, mates: Sequence[Station]) -> None:
        child = mates[0].child
        for mate in mates:
            self._stations.pop(_key(mate.worker, mate.thread), None)
        if child is not None:
            with suppress(NotFound):  # the supervisor is stopping, and this one with it
                await self._supervisor.terminate_child(child)
        for mate in mates:
            mate.close()

    async def _replace(self, mates: Sequence[Station]) -> None:
        for mate in mates:
            mate.is_retiring = True
        await self._dismiss(mates)
        if not self._is_stopping:
            await self._hire_quietly()

    def _is_spent(self, station: Station) -> bool:
        settings, child = self._settings, station.child
        if child is None or station.is_retiring:
            return False
        most = settings.max_executions_per_worker
        if most is not None and sum(mate.executions for mate in self._mates(station)) >= most:
            return True
        return settings.max_memory is not None and _resident(child.pid) > settings.max_memory

    def _staying(self) -> int:
        places = sum(not station.is_retiring for station in self._stations.values())
        return places // self._threads

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # what the supervisor tells

    def _hear(self, child: Child, message: Message) -> None:
        station = self._stations.get(child.id)
        if station is not None and station.child is child:
            self._on_message(station, message)

    def _hear_thread(self, child: Child, message: Message) -> None:
        """Hear one of a worker's threads."""
        thread = message.fields.pop("thread", None)
        station = self._stations.get(_key(child.id, thread))
        if station is not None and station.child is child:
            self._on_message(station, message)

    def _happened(self, event: Any) -> None:
        mates = self._places_of(event.path)
        if not mates:
            return
        if event.name == "started":
            child = self._supervisor.child(event.path)
            process = process_key(self._settings.worker.node_id, event.facts["pid"])
            for station in mates:
                station.child, station.process = child, process
                station.executions, station.is_spent, station.is_relieved = 0, False, False
                station.told = station.failures = 0
            self.known_workflows = event.facts["info"]["workflows"]
            self._on_idle()

    def _left(self, child: Child, reason: ExitReason) -> bool:
        """Take note of an end; return whether it is charged to the restart intensity.

        One that ends in order with nothing in hand was told to (a stop, a restart by an operator),
        and that is no death.
        A death with an execution in hand is charged to that execution. One that was killed from
        outside while it waited says nothing about whether starting another helps.
        """
        mates = self._places_of(child.id)
        if not mates:
            return False
        left = [station.leave() for station in mates]
        if self._threads == 1:  # else nobody knows whose memory it was
            for held in left[0].begun:
                held.peak_rss = child.peak_rss
        at = [held for each in left for held in each.begun[:1]]
        mates[0].died_at = _running(at[0]) if at else None
        begun = [held.claim.id for held in at]
        name = "worker_ended" if reason.is_clean and not begun else "worker_died"
        emit(name, queue=self._settings.queue, worker=int(child.id), pid=child.pid,
             reason=str(reason), execution=",".join(begun) or "none")  # fmt: skip
        self._on_left(list(zip(mates, left, strict=True)), reason)
        for station in mates:
            station.output.clear()
        return not (begun or mates[0].is_relieved or isinstance(reason, Killed))


def _template(settings: ManagerSettings) -> ChildSpec:
    return ChildSpec(
        "worker",
        worker if settings.threads == 1 else shared_worker,
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


def _key(worker: str, thread: int | None) -> str:
    """Return what a place is found by."""
    return worker if thread is None else f"{worker}.{thread}"


def _node(node: dict[str, Any], places: Sequence[Station]) -> dict[str, Any]:
    """Return a worker's node; one with several threads also tells what each of them runs."""
    running = [_running(station.hand[0]) for station in places if station.hand]
    first = running[0] if running else dict.fromkeys(("execution_id", "workflow", "step"))
    tally = {"done": sum(each.told for each in places)}
    tally["failed"] = sum(each.failures for each in places)
    node = {**node, "role": "worker", **first, **tally, "died_at": places[0].died_at}
    return node if places[0].thread is None else {**node, "executions": running}


def _running(held: Held) -> dict[str, Any]:
    return {
        "execution_id": held.claim.id,
        "workflow": held.claim.workflow,
        "step": held.begun.path if held.begun else None,
    }
