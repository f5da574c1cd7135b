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
    """A node as it last published itself."""

    id: str
    name: str
    hostname: str
    pid: int
    tree: dict[str, Any] | None
    workflows: list[list[str]]
    started_at: datetime
    seen_at: datetime


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


def publish_node(node: dict[str, Any], beat: int) -> Operation[None]:
    """Publish a node (id, name, hostname, pid, tree, workflows) and show that it lives."""
    texts = {"tree": json_text(node["tree"]), "workflows": json_text(node["workflows"])}
    yield Statement("publish_node", {**node, **texts, "beat": beat})


def node_beats() -> Operation[dict[str, int]]:
    """Return every node's beat by its id."""
    rows = yield Statement("node_beats")
    return {row["id"]: row["beat"] for row in rows}


def forget_nodes(ids: Sequence[str]) -> Operation[None]:
    """Remove nodes, and what was set for them alone."""
    yield Statement("forget_nodes", {"ids": list(ids)})


def live_nodes(silent_for: float) -> Operation[list[Node]]:
    """Return the nodes that were heard of within so many seconds."""
    rows = yield Statement("live_nodes", {"silent_for": silent_for})
    return [Node(**row) for row in rows]


def queue_settings(queue: str, node_id: str) -> Operation[QueueSettings]:
    """Return what holds for a queue on a node."""
    rows = yield Statement("queue_settings", {"queue": queue, "node_id": node_id})
    return QueueSettings(**rows[0])


@transaction
def set_queue(
    queue: str, node_id: str, *, paused: bool | None = None, concurrency: int | None = None
) -> Operation[None]:
    """Set what is not None for a queue on a node, or on all (``ALL_NODES``)."""
    yield Statement(
        "set_queue",
        {"queue": queue, "node_id": node_id, "paused": paused, "concurrency": concurrency},
    )
