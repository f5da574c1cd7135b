"""What processes say of themselves in the database, and what operators set for queues.

Whether a manager or a node lives is never read off a clock: `beat` moves while it lives, and who
wants to know watches it (`runtime.pulse`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from durable_otp.storage.journal_writing import json_text
from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.processes import Process, processes_of
from durable_otp.storage.statements import Statement

ALL_NODES = ""
"""The node id under which settings hold for every node."""


@dataclass(frozen=True)
class ManagerId:
    """One incarnation of a queue's manager on a node; ``id`` is what ``locked_by`` holds."""

    id: str
    node_id: str
    queue: str


@dataclass(frozen=True)
class QueueSettings:
    """What operators have set: whether a queue is paused, and how many it may run (None: unset).

    Attributes:
        paused: Whether nothing is claimed.
        concurrency: How many a node may run.
        is_limited: Whether something holds for all nodes together (`storage.limits`).
    """

    paused: bool = False
    concurrency: int | None = None
    is_limited: bool = False


@dataclass(frozen=True)
class Node:
    """A node as it last published itself; ``tree`` is that of ``tree --json``."""

    id: str
    name: str
    hostname: str
    pid: int
    tree: dict[str, Any] | None
    workflows: list[list[str]]
    started_at: datetime
    seen_at: datetime

    @property
    def processes(self) -> list[Process]:
        """Every process of its tree, each before those it supervises."""
        return [] if not self.tree else list(processes_of(self.id, self.tree))


def beat_manager(manager: ManagerId, beat: int) -> Operation[None]:
    """Show that a manager lives."""
    parameters = {"id": manager.id, "node_id": manager.node_id, "queue": manager.queue}
    yield Statement("beat_manager", {**parameters, "beat": beat})


def predecessors(manager: ManagerId) -> Operation[list[str]]:
    """Return the ids of a manager's dead predecessors in the same place of the tree."""
    parameters = {"id": manager.id, "node_id": manager.node_id, "queue": manager.queue}
    rows = yield Statement("predecessors", parameters)
    return [row["id"] for row in rows]


def manager_beats() -> Operation[dict[str, int]]:
    """Return every manager's beat by its id."""
    rows = yield Statement("manager_beats")
    return {row["id"]: row["beat"] for row in rows}


def forget_managers(ids: Sequence[str]) -> Operation[None]:
    """Remove managers whose claims were recovered."""
    yield Statement("forget_managers", {"ids": list(ids)})


def publish_node(node: dict[str, Any], beat: int) -> Operation[bool]:
    """Show what a node is, and that it lives; return whether somebody watches it.

    Of a node: id, name, hostname, pid, tree, workflows, node_timeout.
    """
    texts = {"tree": json_text(node["tree"]), "workflows": json_text(node["workflows"])}
    rows = yield Statement("publish_node", {**node, **texts, "beat": beat})
    return bool(rows[0]["is_watched"])


def node_beats() -> Operation[dict[str, int]]:
    """Return every node's beat by its id."""
    rows = yield Statement("node_beats")
    return {row["id"]: row["beat"] for row in rows}


def withdraw_nodes(ids: Sequence[str]) -> Operation[None]:
    """Show nodes no more, until they publish themselves again."""
    yield Statement("withdraw_nodes", {"ids": list(ids)})


def forget_nodes(ids: Sequence[str]) -> Operation[None]:
    """Remove nodes that have ended, and what was set for them alone; answer for them."""
    yield Statement("forget_nodes", {"ids": list(ids)})


def live_nodes() -> Operation[list[Node]]:
    """Return the nodes that have not been silent for longer than they said they may be."""
    rows = yield Statement("live_nodes")
    return [Node(**row) for row in rows]


def silent_nodes() -> Operation[list[Node]]:
    """Return the nodes that have been silent for longer, the latest heard of first; bounded."""
    rows = yield Statement("silent_nodes")
    return [Node(**row) for row in rows]


def watch_nodes(seconds: float) -> Operation[None]:
    """Have all nodes measure their processes every second, for so many seconds."""
    yield Statement("watch_nodes", {"seconds": seconds})


def queue_settings(queue: str, node_id: str) -> Operation[QueueSettings]:
    """Return what holds for a queue on a node."""
    rows = yield Statement("queue_settings", {"queue": queue, "node_id": node_id})
    return QueueSettings(**rows[0])


@transaction
def set_queue(
    queue: str, node_id: str, *, paused: bool | None = None, concurrency: int | None = None
) -> Operation[None]:
    """Set what is not None for a queue on a node, or on all (``ALL_NODES``)."""
    settings = {"queue": queue, "paused": paused, "concurrency": concurrency}
    if node_id == ALL_NODES:
        yield Statement("unset_own_queue", settings)
    yield Statement("set_queue", {**settings, "node_id": node_id})
