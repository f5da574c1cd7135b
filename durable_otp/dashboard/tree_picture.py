"""A node's tree as boxes and lines: who supervises whom, from left to right. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from durable_otp.dashboard.status import tier
from durable_otp.dashboard.tree_rows import Ghost, TreeRow
from durable_otp.dashboard.wording import short_id, spoken
from durable_otp.storage.processes import ROOT

WIDTH, HEIGHT, COLUMN, LINE, MARGIN = 200, 42, 260, 52, 8


@dataclass(frozen=True)
class Box:
    """A process; ``path`` is its place in the tree, ``href_id`` the execution that it is at."""

    x: int
    y: float
    path: str
    name: str
    words: str
    tier: str
    title: str
    href_id: str | None = None
    is_ghost: bool = False


@dataclass(frozen=True)
class Line:
    """From a supervisor to a child, as SVG writes it."""

    path: str
    has_escalated: bool = False


@dataclass(frozen=True)
class Picture:
    """All boxes, the lines between them, and how large it is."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: int
    height: float


def picture(rows: Sequence[TreeRow | Ghost]) -> Picture:
    """Return rows as boxes: who has children stands at the middle of them."""
    places = {row.path: row for row in rows if isinstance(row, TreeRow)}
    parents = [_parent(row, places) for row in rows]
    ys = _heights(rows, parents)
    boxes, lines = [], []
    where = {row.path: n for n, row in enumerate(rows) if isinstance(row, TreeRow)}
    for number, (row, parent) in enumerate(zip(rows, parents, strict=True)):
        level = row.level if isinstance(row, TreeRow) else places[parent or ROOT].level + 1
        box = _box(row, MARGIN + COLUMN * (level - 1), ys[number])
        boxes.append(box)
        if parent is not None:
            above = boxes[where[parent]]
            lines.append(Line(_line(above, box), has_escalated=row.has_escalated))
    return Picture(
        tuple(boxes),
        tuple(lines),
        max((box.x for box in boxes), default=0) + WIDTH + MARGIN,
        max(ys, default=0) + HEIGHT + MARGIN,
    )


def _parent(row: TreeRow | Ghost, places: dict[str, TreeRow]) -> str | None:
    """Return the place of who supervises it; None for the root."""
    path = row.path if isinstance(row, TreeRow) else str(row.life["path"])
    if isinstance(row, TreeRow) and path == ROOT:
        return None
    above = path.rpartition("/")[0] or ROOT
    return above if above in places else ROOT


def _heights(rows: Sequence[TreeRow | Ghost], parents: Sequence[str | None]) -> list[float]:
    """Return where each row is: a line of its own for who has nobody below, else their middle."""
    below: dict[str, list[int]] = {}
    for number, parent in enumerate(parents):
        if parent is not None:
            below.setdefault(parent, []).append(number)
    ys = [0.0] * len(rows)
    line = 0
    for number, row in enumerate(rows):
        if isinstance(row, Ghost) or not below.get(row.path):
            ys[number] = MARGIN + LINE * line
            line += 1
    for number in reversed(range(len(rows))):
        row = rows[number]
        children = below.get(row.path, []) if isinstance(row, TreeRow) else []
        if children:
            ys[number] = (ys[children[0]] + ys[children[-1]]) / 2
    return ys


def _box(row: TreeRow | Ghost, x: int, y: float) -> Box:
    if isinstance(row, Ghost):
        life = row.life
        words = f"{life['reason']}, pid {life['pid']}"
        name = f"{spoken(life['role'])} {life['path']}"
        return Box(x, y, life["path"], name, words, "bad", f"ended: {words}", is_ghost=True)
    process = row.process
    doing = _at(process) or row.doing
    name = f"{spoken(process['role'])} {process.get('queue') or _number(process)}".strip()
    title = ", ".join(
        filter(
            None, (name, f"pid {process['pid'] or 'none'}", process["status"], doing, row.policy)
        )
    )
    meaning = "run" if process.get("execution_id") else tier(process["status"])
    words = f"{process['pid'] or ''} · {doing or spoken(process['status'])}"
    return Box(x, y, row.path, name, words, meaning, title, process.get("execution_id"))


def _number(process: dict[str, Any]) -> str:
    return str(process["id"]) if process["role"] == "worker" else ""


def _at(process: dict[str, Any]) -> str:
    if not process.get("execution_id"):
        return ""
    return f"{short_id(process['execution_id'])} {process.get('step') or ''}".strip()


def _line(above: Box, below: Box) -> str:
    x, y = above.x + WIDTH, above.y + HEIGHT / 2
    middle = (x + below.x) / 2
    return f"M{x} {y:g}H{middle:g}V{below.y + HEIGHT / 2:g}H{below.x}"
