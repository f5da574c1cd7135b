"""The processes of a published tree, and the names that people call them by. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ROOT = "root"
_KEY_DIGITS = 8


def process_key(node_id: str, pid: int) -> str:
    """Return what a process is called in the rows of its attempts: short, and no other node's.

    The end of a node's id is chance; its beginning is the time, which nodes may share.
    """
    return f"{node_id[-_KEY_DIGITS:]}:{pid}"


@dataclass(frozen=True)
class Process:
    """A process of a node's tree, as it was last published.

    ``pid`` and ``started_at`` are of one life: an order to it never reaches another process. Both
    are None while it is down. ``name`` is how it is called: ``root``, ``sleep_waker``, ``queue
    default``, ``default/3`` (the third worker of that queue).
    """

    node: str
    name: str
    path: str
    role: str
    pid: int | None
    status: str
    restarts: int
    started_at: datetime | None
    cpu_percent: float | None
    rss_bytes: int | None
    queue: str | None
    execution_id: str | None
    workflow: str | None
    step: str | None
    last_exit: str | None = None
    died_at: Mapping[str, Any] | None = None
    """``execution_id`` and ``step`` at which the process before it died, if it did at one."""

    def answers_to(self, name: str) -> bool:
        """Return whether somebody who says this may mean it."""
        is_number = name.isascii() and name.isdigit()
        if name in (self.name, self.path) or (is_number and int(name) == self.pid):
            return True
        if self.role == "queue_manager":
            return name == self.queue and not is_number
        return self.role == "worker" and name == f"worker {self.name}"

    def __str__(self) -> str:
        return f"{self.name!r} (process {self.pid or '-'} of node {self.node})"


def processes_of(node_id: str, root: dict[str, Any]) -> Iterator[Process]:
    """Yield every process of a published tree, each before those it supervises."""
    yield from _below(node_id, root, ROOT, None)


def _below(node_id: str, shown: dict[str, Any], path: str, queue: str | None) -> Iterator[Process]:
    queue = shown.get("queue") or queue
    started_at = shown["started_at"]
    yield Process(
        node=node_id,
        name=_name(shown, queue),
        path=path,
        role=shown["role"],
        pid=shown["pid"],
        status=shown["status"],
        restarts=shown["restarts"],
        started_at=datetime.fromisoformat(started_at) if started_at else None,
        cpu_percent=shown.get("cpu_percent"),
        rss_bytes=shown.get("rss_bytes"),
        queue=queue,
        execution_id=shown.get("execution_id"),
        workflow=shown.get("workflow"),
        step=shown.get("step"),
        last_exit=shown.get("last_exit"),
        died_at=shown.get("died_at"),
    )
    for child in shown.get("children") or ():
        below = str(child["id"]) if path == ROOT else f"{path}/{child['id']}"
        yield from _below(node_id, child, below, queue)


def _name(shown: dict[str, Any], queue: str | None) -> str:
    match shown["role"]:
        case "supervisor":
            return ROOT
        case "queue_manager":
            return f"queue {queue}"
        case "worker":
            return f"{queue}/{shown['id']}"
        case _:
            return str(shown["id"])
