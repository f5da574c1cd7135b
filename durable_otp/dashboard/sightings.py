"""What a dashboard has seen of processes while somebody looked: their memory.

It is kept in this process and nowhere else, so that it costs the nodes and the database nothing.
What went on while nobody looked was not seen.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from durable_otp.storage.nodes import Node
from durable_otp.storage.processes import Process

POINTS = 60
WIDTH, HEIGHT = 60.0, 16.0


@dataclass
class _Seen:
    """Everything seen of one node."""

    at: datetime | None = None
    memory: dict[int, deque[int]] = field(default_factory=dict)


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
                    seen.memory = _memory(seen.memory, node.processes)

    def memory(self, node_id: str) -> dict[int, tuple[int, ...]]:
        """Return the last measurements of every process of a node, by pid, in bytes."""
        with self._lock:
            seen = self._nodes.get(node_id, _Seen())
            return {pid: tuple(points) for pid, points in seen.memory.items()}


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
