"""Several pieces at a time: lanes, each a process with a tree of its own.

A crash point is mostly waiting: for a death to be noticed, a poll, a restart. So lanes beside each
other cost little more than one. What needs the same kind of tree is swept together.
"""

import multiprocessing
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.queues import Queue, SimpleQueue
from pathlib import Path

from durable_otp.storage.statements import catalogue
from tests.crash.campaign import Line, Piece, read, revision, sweep, write
from tests.crash.coverage import exercised
from tests.crash.ground import VERB, Ground
from tests.crash.points import CrashPoint
from tests.crash.scenarios import SCENARIOS, TWELVE


@dataclass(frozen=True)
class Task:
    """A piece, broken in one way.

    Attributes:
        roles: Whose statements; empty: everybody's.
        missing: Only statements that no result in ``out`` has at that point.
    """

    piece: Piece
    action: str
    out: Path
    roles: tuple[str, ...] = ()
    missing: bool = False

    def done(self) -> dict[str, set[tuple[str, str]]]:
        """Return how each statement was broken already, where only others are asked for."""
        return exercised(read([self.out])) if self.missing and self.out.exists() else {}

    def wants(self, point: CrashPoint, done: Mapping[str, set[tuple[str, str]]]) -> bool:
        """Return whether a point is asked for."""
        is_known = not self.missing or point.statement in catalogue()
        is_done = self.missing and (self.action, point.point) in done.get(point.statement, ())
        return is_known and not is_done and (not self.roles or point.role in self.roles)

    @property
    def place(self) -> tuple[object, ...]:
        """When its turn is: those of one kind of tree together, what takes longest first."""
        if self.piece.commit == VERB:
            return (1,)
        scenario = SCENARIOS[self.piece.scenario]
        is_short = bool(self.piece.reborn or self.piece.first or scenario.name not in TWELVE)
        settings = tuple(str(each) for each in scenario.settings)
        return (0, settings, self.piece.commit == "each", is_short, -_index(scenario.name))


def _index(scenario: str) -> int:
    return TWELVE.index(scenario) if scenario in TWELVE else 0


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
                failed.put(f"{task.piece} {task.action}")
    finally:
        ground.leave()


def _leave(*_: object) -> None:
    """Take down what there is."""
    sys.exit(1)


def _swept(ground: Ground, task: Task) -> bool:
    """Sweep one piece in one way; return whether its undisturbed run was as it must be."""
    began, found, done = time.monotonic(), [], task.done()
    try:
        for line in sweep(ground, task.piece, task.action, lambda each: task.wants(each, done)):
            write(line, task.out)
            found.append(line)
            if line["reached"]:
                done.setdefault(line["statement"], set()).add((task.action, line["point"]))
    except Exception as error:  # a piece that cannot be swept must not take the others with it
        print(f"{task.piece} {task.action}: {error!r}", file=sys.stderr, flush=True)
        ground.leave()
        return False
    _tell(task, found, time.monotonic() - began)
    return True


def _tell(task: Task, found: list[Line], seconds: float) -> None:
    bad = sum(bool(line["violations"]) for line in found)
    text = f"{task.piece} {task.action}: {len(found)} points, {bad} bad, {seconds:.0f} s"
    print(text, file=sys.stderr, flush=True)
    whole = {"piece": str(task.piece), "action": task.action, "seconds": round(seconds, 1)}
    if not task.roles and not task.missing:
        write(whole | {"points": len(found), "revision": revision()}, task.out)
