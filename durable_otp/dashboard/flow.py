"""The flow graph of one execution: the published definition's picture, and what has happened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from durable_otp.dashboard.flow_layout import Card, Drawing, Edge, drawing, every_node
from durable_otp.dashboard.status import tier
from durable_otp.dashboard.wording import seconds
from durable_otp.storage.operation import Row
from durable_otp.workflow.execution import Execution, StepExecution
from durable_otp.workflow.state import State

NOT_REACHED = ""


@dataclass(frozen=True)
class Seen:
    """What has happened at a node: its status ("" when it was not reached), and a few words."""

    status: str = NOT_REACHED
    words: str = ""
    child_id: str | None = None
    visits: int = 0


@dataclass(frozen=True)
class DrawnCard:
    """A card, and what has happened there."""

    card: Card
    seen: Seen
    is_current: bool

    @property
    def tier(self) -> str:
        """The colour's meaning; none when it was not reached."""
        return tier(self.seen.status) if self.seen.status else "none"


@dataclass(frozen=True)
class DrawnEdge:
    """A line, and whether it was gone along."""

    edge: Edge
    taken: bool


@dataclass(frozen=True)
class Flow:
    """A picture to be drawn by a template."""

    drawing: Drawing
    cards: tuple[DrawnCard, ...]
    edges: tuple[DrawnEdge, ...]


def flow(definition: dict[str, Any], execution: Execution, family: Sequence[Row]) -> Flow:
    """Return the picture of an execution; ``family`` are the rows of its relatives."""
    nodes = definition["nodes"]
    picture = drawing(nodes)
    seen = happened(nodes, execution, family)
    current = None if execution.completed_at else execution.current_step
    cards = tuple(
        DrawnCard(card, _seen_at(card, seen, execution), bool(current) and card.path == current)
        for card in picture.cards
    )
    reached = {path for path, what in seen.items() if what.status}
    jumped = _jumped(execution.steps or ())
    edges = tuple(
        DrawnEdge(edge, _taken(edge, reached, jumped, execution)) for edge in picture.edges
    )
    return Flow(picture, cards, edges)


def happened(
    nodes: Sequence[dict[str, Any]], execution: Execution, family: Sequence[Row]
) -> dict[str, Seen]:
    """Return what has happened at each node, by its path."""
    found = {path: _of_steps(steps) for path, steps in _by_path(execution.steps or ()).items()}
    for node in every_node(nodes):
        children = _children(node["path"], execution.id, family)
        if children and node["kind"] == "parallel":
            found |= _of_parallel(node, children)
        if children and node["kind"] == "each":
            found[node["path"]] = _of_each(children)
    for node in reversed(list(every_node(nodes))):
        if node["kind"] in ("branch", "parallel") and node["path"] not in found:
            inner = [what for path, what in found.items() if path.startswith(f"{node['path']}/")]
            if inner:
                found[node["path"]] = Seen(_together(each.status for each in inner))
    return found


def _seen_at(card: Card, seen: dict[str, Seen], execution: Execution) -> Seen:
    if card.kind == "start":
        return Seen("completed" if execution.started_at else "")
    if card.kind == "end":
        return Seen("" if execution.completed_at is None else execution.status.value)
    return seen.get(card.path, Seen())


def _by_path(steps: Iterable[StepExecution]) -> dict[str, list[StepExecution]]:
    found: dict[str, list[StepExecution]] = {}
    for step in steps:
        if not step.is_compensation:
            found.setdefault(step.path, []).append(step)
    return found


def _of_steps(steps: list[StepExecution]) -> Seen:
    """Return what the newest attempt of the newest visit says of a node."""
    last = max(steps, key=lambda step: (step.visit, step.attempt))
    words = [] if last.duration_ms is None else [seconds(last.duration_ms / 1000)]
    if last.attempt > 1:
        words.append(f"attempt {last.attempt}")
    if last.visit > 1:
        words.append(f"visit {last.visit}")
    return Seen(last.status.value, " · ".join(words), last.child_id, last.visit)


def _children(path: str, id_: str, family: Sequence[Row]) -> list[Row]:
    """Return the children of a block's latest visit."""
    rows = [
        row
        for row in family
        if row["parent_id"] == id_
        and row["parent_path"] == path
        and row["parent_index"] is not None
    ]
    latest = max((row["parent_visit"] or 0 for row in rows), default=0)
    return [row for row in rows if (row["parent_visit"] or 0) == latest]


def _of_parallel(node: dict[str, Any], children: list[Row]) -> dict[str, Seen]:
    found = {}
    for child in children:
        if child["parent_index"] < len(node["nodes"]):
            path = node["nodes"][child["parent_index"]]["path"]
            took = child["completed_at"] and child["started_at"]
            words = seconds(child["completed_at"] - child["started_at"]) if took else ""
            found[path] = Seen(child["status"], words, child["id"], 1)
    return found


def _of_each(children: list[Row]) -> Seen:
    ended = sum(1 for child in children if child["completed_at"])
    return Seen(
        _together(c["status"] for c in children), f"{ended} of {len(children)} ended", None, 1
    )


def _together(statuses: Iterable[str]) -> str:
    """Return one status for many: the liveliest, then the worst."""
    all_of_them = set(statuses)
    for status in ("running", "compensating", "failed", "waiting", "pending"):
        if status in all_of_them:
            return status
    return "completed" if "completed" in all_of_them else next(iter(sorted(all_of_them)), "")


def _jumped(steps: Iterable[StepExecution]) -> set[tuple[str, str]]:
    """Return from where to where the execution went, by consecutive completed steps."""
    done = [step.path for step in steps if step.status.value == "completed"]
    return set(pairwise(done))


def _taken(
    edge: Edge, reached: set[str], jumped: set[tuple[str, str]], execution: Execution
) -> bool:
    if edge.kind == "jump":
        return (edge.start, edge.end) in jumped
    if edge.end == "otherwise" or (edge.kind == "clause" and not edge.end):
        inner = any(path.startswith(f"{edge.start}/") for path in reached)
        return edge.start in reached and not inner and _goes_on(edge, execution)
    if not edge.end:  # out of a column, or to the end
        return edge.start in reached and _goes_on(edge, execution)
    return edge.end in reached and (not edge.start or edge.start in reached)


def _goes_on(edge: Edge, execution: Execution) -> bool:
    """Return whether what is behind a block's last node was reached."""
    current = execution.current_step or ""
    return execution.status is State.COMPLETED or current != edge.start
