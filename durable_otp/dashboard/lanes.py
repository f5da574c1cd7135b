"""Workers over time: for each place of the tree what its processes ran when, as bars. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from durable_otp.dashboard.status import tier
from durable_otp.dashboard.wording import seconds, short_id
from durable_otp.storage.lanes import Ran, RanAttempt
from durable_otp.storage.nodes import Node
from durable_otp.storage.processes import Process, process_key

RANGES = {"1m": 60.0, "5m": 300.0, "30m": 1800.0, "3h": 10_800.0}
USUAL = "5m"
WIDTH, ROW, MARGIN = 1000.0, 18, 6
MOST_BARS = 400
_NARROWEST = 3.0
_OVERLAP = timedelta(milliseconds=50)
"""What two bars may overlap and still be one after the other: steps that are committed together."""


@dataclass(frozen=True)
class Bar:
    """An attempt on a worker's line; places are pixels of ``WIDTH``."""

    execution_id: str
    x: float
    y: int
    width: float
    tier: str
    words: str


@dataclass(frozen=True)
class Lane:
    """A place of the tree with what its processes ran, and when one of them died there.

    Attributes:
        completed: How many of the attempts that are shown completed.
        failed: How many failed.
        deaths: As (pixel, words).
    """

    process: Process
    bars: tuple[Bar, ...]
    height: int
    completed: int
    failed: int
    deaths: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Window:
    """The time that is shown."""

    ends: datetime
    seconds: float

    def x(self, at: datetime) -> float:
        """Return the pixel of an instant, no further left or right than the picture."""
        begins = self.ends - timedelta(seconds=self.seconds)
        return min(WIDTH, max(0.0, WIDTH * (at - begins).total_seconds() / self.seconds))


@dataclass
class _Stretch:
    since: datetime
    until: datetime
    execution_id: str
    tier: str
    words: str


def workers_of(node: Node) -> list[Process]:
    """Return a node's workers, in the order of the tree."""
    return [process for process in node.processes if process.role == "worker"]


def places_of(nodes: Iterable[Node]) -> dict[str, Process]:
    """Return the living workers by what they are called in the rows of their attempts."""
    return {
        process_key(node.id, process.pid): process
        for node in nodes
        for process in workers_of(node)
        if process.pid is not None
    }


def keys_of(nodes: Iterable[Node], lives: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return what the processes are called that were workers of these nodes lately."""
    return set(places_of(nodes)) | {process_key(life["node_id"], life["pid"]) for life in lives}


def lanes_of(
    node: Node, ran: Ran, lives: Sequence[Mapping[str, Any]], window: Window
) -> list[Lane]:
    """Return a lane for each worker of a node; ``lives`` are those that ended in this time."""
    here = [life for life in lives if life["node_id"] == node.id]
    return [
        _lane(worker, ran, [life for life in here if life["path"] == worker.path], window)
        for worker in workers_of(node)
    ]


def _lane(worker: Process, ran: Ran, lives: Sequence[Mapping[str, Any]], window: Window) -> Lane:
    keys = {process_key(worker.node, life["pid"]) for life in lives}
    keys |= {process_key(worker.node, worker.pid)} if worker.pid is not None else set()
    mine = [each for each in ran.attempts if each.process in keys or _died_at(each, lives)]
    stretches = [_stretch(each) for each in reversed(mine[:MOST_BARS])]
    stretches += _now(worker, ran, stretches, window)
    bars, rows = _placed(stretches, window)
    return Lane(
        worker,
        tuple(bars),
        2 * MARGIN + ROW * max(1, rows),
        sum(each.status == "completed" for each in mine),
        sum(each.status == "failed" for each in mine),
        tuple(
            (round(window.x(life["ended_at"]), 1), f"process {life['pid']}: {life['reason']}")
            for life in lives
        ),
    )


def _died_at(attempt: RanAttempt, lives: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether it is the attempt at which one of these died: its manager recorded it."""
    return attempt.process is None and any(
        (attempt.execution_id, attempt.path) == (life["execution_id"], life["step"])
        and attempt.completed_at >= life["started_at"]
        for life in lives
    )


def _stretch(each: RanAttempt) -> _Stretch:
    since = each.started_at or each.completed_at
    undo = each.is_compensation and each.status == "completed"
    words = (
        f"{each.workflow}:{each.path}{' (undo)' if each.is_compensation else ''}, attempt "
        f"{each.attempt} {each.status}, {seconds(each.completed_at - since)}, "
        f"execution {short_id(each.execution_id)}"
    )
    meaning = "undo" if undo else tier(each.status)
    return _Stretch(since, each.completed_at, each.execution_id, meaning, words)


def _now(worker: Process, ran: Ran, before: Sequence[_Stretch], window: Window) -> list[_Stretch]:
    """Return what it is at: since its manager says, else since what it did before.

    What its node said last may be over: then nobody holds it any more.
    """
    if worker.execution_id is None or worker.execution_id not in ran.began:
        return []
    last = max((each.until for each in before), default=worker.started_at or window.ends)
    since = max(ran.began[worker.execution_id] or last, last)
    words = (
        f"{worker.workflow}:{worker.step or '?'} running, execution {short_id(worker.execution_id)}"
    )
    ends = max(since, window.ends)
    return [_Stretch(since, ends, worker.execution_id, "run", words)]


def _placed(stretches: Sequence[_Stretch], window: Window) -> tuple[list[Bar], int]:
    """Return the bars, those of threads that ran side by side on rows of their own."""
    ends: list[datetime] = []
    bars = []
    for each in sorted(stretches, key=lambda stretch: stretch.since):
        row = next((n for n, end in enumerate(ends) if each.since >= end - _OVERLAP), len(ends))
        ends[row : row + 1] = [each.until]
        x = min(window.x(each.since), WIDTH - _NARROWEST)
        width = max(_NARROWEST, window.x(each.until) - x)
        y = MARGIN + ROW * row
        bars.append(Bar(each.execution_id, round(x, 1), y, round(width, 1), each.tier, each.words))
    return bars, len(ends)
