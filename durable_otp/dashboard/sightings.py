"""What a dashboard has seen of processes while somebody looked: their memory, and what they ran.

It is kept in this process and nowhere else, so that it costs the nodes and the database nothing.
What went on while nobody looked was not seen.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock

from durable_otp.storage.nodes import Node
from durable_otp.storage.processes import Process

POINTS = 60
LANE_SECONDS = 300.0
MOST_SPANS = 200
WIDTH, HEIGHT = 60.0, 16.0
LANE_WIDTH = 1000.0
_AT_LEAST = 3.0


@dataclass(frozen=True)
class Span:
    """A worker at one step of one execution, from when to when it was seen there."""

    execution_id: str
    workflow: str
    step: str | None
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Bar:
    """A span in a lane's picture; places are pixels of ``LANE_WIDTH``."""

    span: Span
    x: float
    width: float


@dataclass(frozen=True)
class Lane:
    """A worker with what it was seen at."""

    process: Process
    bars: tuple[Bar, ...]


@dataclass
class _Seen:
    """Everything seen of one node."""

    at: datetime | None = None
    memory: dict[int, deque[int]] = field(default_factory=dict)
    spans: dict[str, deque[Span]] = field(default_factory=dict)


class Sightings:
    """The processes of all nodes as they were seen; safe to use from many threads."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Seen] = {}
        self._lock = Lock()

    def take(self, nodes: Iterable[Node]) -> None:
        """Look at nodes; one that has not published itself since is not looked at again."""
        with self._lock:
            before, self._nodes = self._nodes, {}
            for node in nodes:
                seen = self._nodes[node.id] = before.get(node.id, _Seen())
                if seen.at is None or node.seen_at > seen.at:
                    seen.at = node.seen_at
                    processes = node.processes
                    seen.memory = _memory(seen.memory, processes)
                    seen.spans = _spans(seen.spans, processes, node.seen_at)

    def memory(self, node_id: str) -> dict[int, tuple[int, ...]]:
        """Return the last measurements of every process of a node, by pid, in bytes."""
        with self._lock:
            seen = self._nodes.get(node_id, _Seen())
            return {pid: tuple(points) for pid, points in seen.memory.items()}

    def lanes(self, node: Node, now: datetime) -> list[Lane]:
        """Return what each worker of a node was seen at within the last minutes."""
        with self._lock:
            seen = self._nodes.get(node.id, _Seen())
            spans = {path: tuple(found) for path, found in seen.spans.items()}
        return [
            Lane(process, tuple(_bars(spans.get(process.path, ()), now)))
            for process in node.processes
            if process.role == "worker"
        ]


def sparkline(points: tuple[int, ...]) -> str:
    """Return measurements as the points of a line; empty for fewer than two."""
    if len(points) < 2:  # noqa: PLR2004 - one is no line
        return ""
    least, most = min(points), max(points)
    step = WIDTH / (POINTS - 1)
    first = WIDTH - step * (len(points) - 1)
    spread = most - least
    return " ".join(
        f"{first + number * step:.1f},"
        f"{HEIGHT / 2 if not spread else HEIGHT - 1 - (HEIGHT - 2) * (point - least) / spread:.1f}"
        for number, point in enumerate(points)
    )


def _memory(
    before: Mapping[int, deque[int]], processes: Iterable[Process]
) -> dict[int, deque[int]]:
    """Return the measurements with one more of each process that lives."""
    found: dict[int, deque[int]] = {}
    for process in processes:
        if process.pid is not None and process.rss_bytes is not None:
            points = found[process.pid] = before.get(process.pid, deque(maxlen=POINTS))
            points.append(process.rss_bytes)
    return found


def _spans(
    before: Mapping[str, deque[Span]], processes: Iterable[Process], at: datetime
) -> dict[str, deque[Span]]:
    """Return what workers were seen at, gone on with to this moment."""
    found: dict[str, deque[Span]] = {}
    for process in processes:
        if process.role != "worker":
            continue
        spans = found[process.path] = before.get(process.path, deque(maxlen=MOST_SPANS))
        if process.execution_id is None:
            continue
        last = spans[-1] if spans else None
        doing = (process.execution_id, process.step)
        if last is not None and (last.execution_id, last.step) == doing:
            spans[-1] = replace(last, until=at)
        else:
            name = process.workflow or ""
            spans.append(Span(process.execution_id, name, process.step, at, at))
    return found


def _bars(spans: Iterable[Span], now: datetime) -> Iterable[Bar]:
    start = now - timedelta(seconds=LANE_SECONDS)
    for span in spans:
        if span.until > start:
            x = max(0.0, LANE_WIDTH * (span.since - start).total_seconds() / LANE_SECONDS)
            end = LANE_WIDTH * (span.until - start).total_seconds() / LANE_SECONDS
            width = max(_AT_LEAST, min(LANE_WIDTH, end) - x)
            yield Bar(span, round(min(x, LANE_WIDTH - _AT_LEAST), 1), round(width, 1))
