"""The lives of processes: when each began, was ready and ended, and how; bounded."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from durable_otp.storage.identity import is_id, new_id
from durable_otp.storage.journal_writing import json_text
from durable_otp.storage.operation import Operation
from durable_otp.storage.processes import Process, process_key
from durable_otp.storage.statements import Statement
from durable_otp.workflow.execution import instant_text

MOST_KEPT = 5000
LINES = 5
LEFT = "taken off the tree"
UNKNOWN = "ended"


@dataclass(frozen=True)
class Life:
    """One life of a process; ``reason`` is how it ended, None while it has not.

    ``id`` is of its beginning: lives are in the order of their ids. ``execution_id`` and ``step``
    are what it was at when it ended.
    """

    id: str
    path: str
    role: str
    queue: str | None
    pid: int
    restarts: int | None
    started_at: datetime | None
    is_ready: bool = False
    reason: str | None = None
    execution_id: str | None = None
    step: str | None = None


class Lives:
    """The lives of one node's processes, as its published trees tell them. Pure.

    Args:
        open_lives: Those that were going on when somebody last looked.
    """

    def __init__(self, open_lives: Sequence[Life] = ()) -> None:
        self._open = {life.path: life for life in open_lives}
        self._doing: dict[str, tuple[str | None, str | None]] = {}

    def seen(self, processes: Sequence[Process]) -> list[Life]:
        """Return the lives that have begun, become ready or ended since the tree before."""
        changed: list[Life] = []
        for process in processes:
            before = self._open.get(process.path)
            after = _after(before, process)
            if before is not None and (after is None or after.id != before.id):
                changed.append(self._succeeded(before, process))
            if after is not None and after != before:
                changed.append(after)
                self._open[process.path] = after
            self._doing[process.path] = (process.execution_id, process.step)
        gone = self._open.keys() - {process.path for process in processes}
        return changed + [self._ended(self._open[path], LEFT) for path in sorted(gone)]

    def _succeeded(self, life: Life, process: Process) -> Life:
        """Return a life with its end, as it is told by what is in its place now.

        Of a worker its manager knows at what it died, if at anything; one that came with a new
        manager knows nothing of those before, which were at what they were seen at.
        """
        if process.role == "worker" and process.last_exit is not None:
            at = process.died_at or {}
            self._doing[life.path] = (at.get("execution_id"), at.get("step"))
        return self._ended(life, process.last_exit or UNKNOWN)

    def _ended(self, life: Life, reason: str) -> Life:
        execution_id, step = self._doing.pop(life.path, (None, None))
        self._open.pop(life.path, None)
        return replace(life, reason=reason, execution_id=execution_id, step=step)


def _after(life: Life | None, process: Process) -> Life | None:
    """Return the life that goes on at a place of the tree; None when there is none."""
    if process.pid is None:  # about to end, and not said how yet
        return life if process.status == "stopping" else None
    is_ready = process.status == "up"
    if life is not None and life.pid == process.pid:
        return replace(life, is_ready=life.is_ready or is_ready)
    return Life(
        id=new_id(),
        path=process.path,
        role=process.role,
        queue=process.queue,
        pid=process.pid,
        restarts=process.restarts,
        started_at=process.started_at,
        is_ready=is_ready,
    )


def record_lives(node_id: str, lives: Sequence[Life]) -> Operation[None]:
    """Write down what became of lives; twice is once."""
    latest = {life.id: life for life in lives}  # a row can be changed once in a statement
    texts = json_text([_as_row(life) for life in latest.values()])
    yield Statement("record_lives", {"node_id": node_id, "lives": texts, "most": MOST_KEPT})


def open_lives(node_id: str) -> Operation[list[Life]]:
    """Return the lives of a node that have not ended, as far as is known."""
    rows = yield Statement("open_lives", {"node_id": node_id})
    return [Life(**row) for row in rows]


def lives(
    *, limit: int, node_id: str | None = None, path: str | None = None, after: str | None = None
) -> Operation[list[dict[str, Any]]]:
    """Return lives, the newest first."""
    place = after if after is not None and is_id(after) else None
    narrowed = {"node_id": node_id, "path": path, "after": place, "limit": limit}
    return [dict(row) for row in (yield Statement("lives", narrowed))]


def lives_just_ended(seconds: float, limit: int) -> Operation[list[dict[str, Any]]]:
    """Return the lives that ended within the last seconds, the latest first."""
    rows = yield Statement("lives_just_ended", {"seconds": seconds, "limit": limit})
    return [dict(row) for row in rows]


def last_words(ended: Sequence[Mapping[str, Any]]) -> Operation[dict[str, list[str]]]:
    """Return the last lines that each of these lives printed, where it died at a step.

    What others print goes to the standard error of their node, which nobody keeps here.
    """
    dead = [life for life in ended if life["execution_id"] and life["step"] and life["ended_at"]]
    if not dead:
        return {}
    rows = yield Statement(
        "last_words",
        {
            "ids": [life["id"] for life in dead],
            "execution_ids": [life["execution_id"] for life in dead],
            "steps": [life["step"] for life in dead],
            "ends": [life["ended_at"] for life in dead],
            "processes": [process_key(life["node_id"], life["pid"]) for life in dead],
        },
    )
    return {row["id"]: [str(line["message"]) for line in row["logs"][-LINES:]] for row in rows}


def _as_row(life: Life) -> dict[str, Any]:
    started_at = life.started_at
    text = None if started_at is None else instant_text(started_at)
    return asdict(life) | {"started_at": text}
