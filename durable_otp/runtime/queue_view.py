"""Queues as operators see them: what waits in them, who runs them, and what was set."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from durable_otp.runtime.tree_view import flatten
from durable_otp.storage.limits import QueueLimits, all_limits
from durable_otp.storage.nodes import ALL_NODES, Node, QueueSettings
from durable_otp.storage.overview import all_queue_settings
from durable_otp.storage.queue import all_stats
from durable_otp.workflow.execution import QueueStats, as_json


class Database(Protocol):
    """Whoever runs operations of storage."""

    def run(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run an operation and return its answer."""


@dataclass(frozen=True)
class Manager:
    """A queue's manager on a live node, as the node published it."""

    node_id: str
    concurrency: int
    busy: int
    paused: bool


@dataclass(frozen=True)
class QueueView:
    """A queue over all nodes."""

    stats: QueueStats
    settings: QueueSettings
    managers: list[Manager] = field(default_factory=list)
    limits: QueueLimits = field(default_factory=QueueLimits)

    @property
    def paused(self) -> bool:
        """Whether nothing of it is claimed anywhere."""
        return self.settings.paused or (
            bool(self.managers) and all(manager.paused for manager in self.managers)
        )

    @property
    def paused_text(self) -> str:
        """The same for a person: also on how many nodes."""
        count = sum(manager.paused for manager in self.managers)
        if self.paused or not count:
            return "yes" if self.paused else "no"
        return f"on {count} of {len(self.managers)} nodes"

    @property
    def concurrency(self) -> int:
        """How many executions all nodes together run at once."""
        return sum(manager.concurrency for manager in self.managers)

    def as_json(self) -> dict[str, Any]:
        """Return everything, the counts flat."""
        nodes = [
            {"node": each.node_id, "concurrency": each.concurrency, "busy": each.busy}
            | {"paused": each.paused}
            for each in self.managers
        ]
        summary = {"paused": self.paused, "concurrency": self.concurrency, "nodes": nodes}
        limits = {} if self.limits.are_none else {"limits": as_json(self.limits)}
        return as_json(self.stats) | summary | limits


def queue_views(
    database: Database, nodes: list[Node], stats: dict[str, QueueStats] | None = None
) -> dict[str, QueueView]:
    """Return every queue that has rows, a manager or a setting, by its name.

    The rows are counted, unless ``stats`` says how many there are.
    """
    stats = database.run(all_stats) if stats is None else stats
    settings = database.run(all_queue_settings)
    limits = database.run(all_limits)
    managers: dict[str, list[Manager]] = {}
    for node in nodes:
        for queue, manager in managers_of(node):
            managers.setdefault(queue, []).append(manager)
    for_all = {queue: value for (queue, node_id), value in settings.items() if node_id == ALL_NODES}
    return {
        queue: QueueView(
            stats.get(queue) or QueueStats(queue),
            for_all.get(queue, QueueSettings()),
            managers.get(queue, []),
            limits.get(queue, QueueLimits()),
        )
        for queue in sorted({*stats, *managers, *for_all, *limits})
    }


def managers_of(node: Node) -> Iterator[tuple[str, Manager]]:
    """Yield the queues that a node runs, each with its manager."""
    for child in flatten(node.tree) if node.tree else ():
        if child["role"] == "queue_manager" and child.get("queue"):
            yield (
                child["queue"],
                Manager(
                    node.id,
                    child.get("concurrency") or 0,
                    child.get("busy") or 0,
                    bool(child.get("paused")),
                ),
            )
