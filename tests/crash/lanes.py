"""Several pieces at a time: lanes, each a process with a tree of its own.

A crash point is mostly waiting: for a death to be noticed, a poll, a restart. So lanes beside each
other cost little more than one. What needs the same kind of tree is swept together.
"""

import multiprocessing
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.queues import Queue, SimpleQueue
from pathlib import Path

from tests.crash.campaign import Line, Piece, look, revision, sweep, write
from tests.crash.choice import Place, Swept
from tests.crash.ground import VERB, Ground
from tests.crash.points import CrashPoint
from tests.crash.scenarios import SCENARIOS, TWELVE

LOOK = "look"
"""In the place of how a piece is broken: it is not."""


@dataclass(frozen=True)
class Task:
    """A piece, or a part of it, broken in one way.

    Attributes:
        roles: Whose statements; empty: everybody's.
        full: Whether points that are the same elsewhere are swept here too.
        start: From which byte on ``out`` tells of this sweep.
        part: Which part of the piece's points, of how many.
        also: Commits whose results count as if they were of the one that is checked out.
    """

    piece: Piece
    action: str
    out: Path
    roles: tuple[str, ...] = ()
    full: bool = False
    start: int = 0
    part: tuple[int, int] = (0, 1)
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        number, of = self.part
        return f"{self.piece} {self.action}{f' part {number + 1} of {of}' if of > 1 else ''}"

    def chosen(self, place: Place, points: list[CrashPoint]) -> Iterator[CrashPoint]:
        """Yield the points that are to be swept, each judged when its turn has come."""
        number, of = self.part
        swept = Swept(self.out, (revision(), *self.also), self.start)
        for point in points[number::of]:
            is_new = self.full or swept.is_new(place, point, self.action)
            if is_new and (not self.roles or point.role in self.roles):
                yield point

    @property
    def place(self) -> tuple[object, ...]:
        """When its turn is: those of one kind of tree together, the quickest first.

        So what is swept once is swept where it takes least.
        """
        if self.piece.commit == VERB:
            return (1,)
        scenario = SCENARIOS[self.piece.scenario]
        settings = tuple(str(each) for each in scenario.settings)
        kind = (settings, self.piece.commit == "each", not self.piece.is_quiet)
        return (0, *kind, _index(scenario.name), self.action == "reset")


def _index(scenario: str) -> int:
    return TWELVE.index(scenario) if scenario in TWELVE else -1


def sweep_all(dsn: str, tasks: Iterable[Task], lanes: int) -> list[str]:
    """Sweep everything; return what came to no sound end, by name."""
    context = multiprocessing.get_context("spawn")
    waiting: Queue[Task | None] = context.Queue()  # holds them all, and a pipe would not
    failed: SimpleQueue[str] = context.SimpleQueue()
    for task in sorted(tasks, key=lambda task: task.place):
        waiting.put(task)
    for _ in range(lanes):
        waiting.put(None)
    crew = [context.Process(target=_lane, args=(dsn, waiting, failed)) for _ in range(lanes)]
    signal.signal(signal.SIGTERM, _leave)
    try:
        for process in crew:
            process.start()
        for process in crew:
            process.join()
    finally:
        for process in crew:
            process.terminate()
        waiting.cancel_join_thread()
    found = [f"a lane ended with {process.exitcode}" for process in crew if process.exitcode]
    while not failed.empty():
        found.append(failed.get())
    return found


def _lane(dsn: str, waiting: "Queue[Task | None]", failed: "SimpleQueue[str]") -> None:
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started the lanes ends them
    ground = Ground(dsn)
    try:
        while (task := waiting.get()) is not None:
            if not (_swept(ground, task) or _swept(ground, task)):  # a machine may be too busy once
                failed.put(str(task))
    finally:
        ground.leave()


def _leave(*_: object) -> None:
    """Take down what there is."""
    sys.exit(1)


def _swept(ground: Ground, task: Task) -> bool:
    """Sweep one piece in one way; return whether its undisturbed run was as it must be."""
    began, found = time.monotonic(), []
    try:
        if task.action == LOOK:
            write(look(ground, task.piece) | {"action": LOOK, "revision": revision()}, task.out)
            return True
        for line in sweep(ground, task.piece, task.action, task.chosen):
            write(line, task.out)
            found.append(line)
    except Exception as error:  # a piece that cannot be swept must not take the others with it
        print(f"{task}: {error!r}", file=sys.stderr, flush=True)
        ground.leave()
        return False
    _tell(task, found, time.monotonic() - began)
    return True


def _tell(task: Task, found: list[Line], seconds: float) -> None:
    bad = sum(bool(line["violations"]) for line in found)
    text = f"{task}: {len(found)} points, {bad} bad, {seconds:.0f} s"
    print(text, file=sys.stderr, flush=True)
    if not task.roles:
        whole = {"piece": str(task.piece), "action": task.action, "part": list(task.part)}
        more = {"seconds": round(seconds, 1), "points": len(found), "revision": revision()}
        write(whole | more, task.out)
