"""The tree as it is shown: supervision's records turned into the nodes of the contract. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from durable_otp.workflow.execution import instant_text

MANAGER = "queue "
STATUS = {"running": "up", "undefined": "down", "stopped": "down"}
FIELDS = (
    *("id", "role", "pid", "status", "restarts", "budget", "started_at"),
    *("cpu_percent", "rss_bytes", "policy"),
)
BUDGETS = {"budget", "workers_budget"}
LONGEST_EXIT = 200
LATER_FIELDS = {
    "queue_manager": (
        *("queue", "concurrency", "busy", "paused", "workers_budget", "supervision"),
    ),
    "supervisor": ("supervision",),
    "worker": ("execution_id", "workflow", "step", "done", "failed", "died_at"),
}
SHARED_FIELDS = ("threads", "executions")
"""Only where several executions share a worker process."""

Node = dict[str, Any]


def view(node: Node, now: datetime, monotonic: float) -> Node:
    """Return a node and everything below it as ``tree --json`` shows them.

    Processes give their start on the machine's monotonic clock; ``now`` and ``monotonic`` are the
    same moment on both clocks.
    """
    role = _role(node)
    shown: Node = {field: node.get(field) for field in FIELDS}
    shown["last_exit"] = (node.get("last_exit") or "")[:LONGEST_EXIT] or None
    shown["role"] = role
    shown["status"] = _status(node)
    shown["started_at"] = start_text(node.get("started_at"), now, monotonic)
    shown |= {field: node.get(field) for field in LATER_FIELDS.get(role, ())}
    shown |= {field: node[field] for field in SHARED_FIELDS if field in node}
    for field in BUDGETS & shown.keys():
        shown[field] = _budget(shown[field], now, monotonic)
    if role == "queue_manager":
        shown["queue"] = unquote(
            str(node["id"]).removeprefix(MANAGER)
        )  # known while it is down too
    shown["children"] = [view(child, now, monotonic) for child in node.get("children", ())]
    return shown


def flatten(node: Node) -> Iterator[Node]:
    """Yield a node and everything below it, each before its children."""
    yield node
    for child in node["children"]:
        yield from flatten(child)


def _role(node: Node) -> str:
    role = node.get("role") or "worker"
    if node["id"] == "root" or (role in LATER_FIELDS and "queue" in node) or "execution_id" in node:
        return str(role)
    return "queue_manager" if str(node["id"]).startswith(MANAGER) else str(node["id"])


def _status(node: Node) -> str:
    """Return the contract's word; a child that supervision has let go of is about to end."""
    if node["status"] == "running" and node.get("pid") is None:
        return "stopping"
    return STATUS.get(node["status"], str(node["status"]))


def _budget(budget: Node | None, now: datetime, monotonic: float) -> Node | None:
    """Return a budget of restarts with its instants on the wall's clock."""
    if budget is None:
        return None
    times = [start_text(at, now, monotonic) for at in budget["restarted_at"]]
    return {**budget, "restarted_at": times}


def start_text(started_at: float | None, now: datetime, monotonic: float) -> str | None:
    """Return a start as it is shown."""
    if started_at is None:
        return None
    return instant_text(now - timedelta(seconds=monotonic - started_at))
