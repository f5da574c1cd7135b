"""When what happened: a line per node, in per cent of the whole, waits apart from work. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from durable_otp.dashboard.status import tier
from durable_otp.dashboard.wording import seconds
from durable_otp.storage.operation import Row
from durable_otp.workflow.execution import Execution, StepExecution

TICKS = 6
MOST_LINES = 300
MOST_BARS = 200
NARROWEST = 0.4
_NICE = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600,
    900, 1800, 3600, 7200, 14400, 21600, 43200, 86400,
)  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """A stretch of time, from ``left`` on in per cent; ``words`` say what it was."""

    left: float
    width: float
    tier: str
    words: str
    is_live: bool = False


@dataclass
class Line:
    """Everything of one node, or of one child."""

    label: str
    depth: int = 0
    bars: list[Bar] = field(default_factory=list)
    attempts: int = 0
    status: str = ""
    href_id: str | None = None
    took: str = ""
    process: str | None = None
    """The process that ran its last attempt, as the row names it."""


@dataclass(frozen=True)
class Timeline:
    """All lines, how many more there would be, and the marks above them as (per cent, words)."""

    lines: tuple[Line, ...]
    more: int
    ticks: tuple[tuple[float, str], ...]
    span: str
    is_live: bool


@dataclass(frozen=True)
class _Scale:
    begins: datetime
    ends: datetime

    @property
    def seconds(self) -> float:
        return max(0.001, (self.ends - self.begins).total_seconds())

    def bar(self, start: datetime, end: datetime | None, what: str, words: str) -> Bar:
        """Return the bar of a stretch; one that has not ended ends now."""
        until = self.ends if end is None else end
        left = 100 * (start - self.begins).total_seconds() / self.seconds
        width = 100 * (until - start).total_seconds() / self.seconds
        left = min(max(left, 0.0), 100.0 - NARROWEST)
        width = min(max(width, NARROWEST), 100.0 - left)
        took = seconds(until - start)
        return Bar(round(left, 3), round(width, 3), what, f"{words}, {took}", end is None)


def timeline(
    execution: Execution, waits: Sequence[Row], family: Sequence[Row], now: datetime
) -> Timeline:
    """Return when everything of an execution happened; what goes on goes on until ``now``."""
    live = execution.completed_at is None
    scale = _Scale(execution.inserted_at, now if live else _last(execution, family))
    lines = [_queued(execution, scale), *_steps(execution, waits, family, scale)]
    drawn = [line for line in lines if line.bars]
    for line in drawn:
        line.bars = line.bars[-MOST_BARS:]
    return Timeline(
        tuple(drawn[:MOST_LINES]),
        len(drawn) - len(drawn[:MOST_LINES]),
        tuple(_ticks(scale.seconds)),
        seconds(scale.seconds),
        live,
    )


def _last(execution: Execution, family: Sequence[Row]) -> datetime:
    ends = [execution.completed_at or execution.updated_at]
    ends += [step.completed_at for step in execution.steps or () if step.completed_at]
    ends += [row["completed_at"] for row in family if row["completed_at"]]
    return max(ends)


def _queued(execution: Execution, scale: _Scale) -> Line:
    line = Line("queued")
    first = execution.started_at
    if first is None or first - execution.inserted_at > timedelta(0):
        line.bars.append(scale.bar(execution.inserted_at, first, "idle", "waiting for a worker"))
    return line


def _steps(
    execution: Execution, waits: Sequence[Row], family: Sequence[Row], scale: _Scale
) -> list[Line]:
    lines: dict[str, Line] = {}
    for step in sorted(execution.steps or (), key=lambda each: each.started_at or scale.begins):
        label = f"{step.path} (undo)" if step.is_compensation else step.path
        line = lines.setdefault(label, Line(label))
        line.attempts += 1
        line.status = step.status.value
        line.process = step.process
        line.bars.append(_attempt(step, scale))
    for wait in waits:
        line = lines.setdefault(wait["path"], Line(wait["path"], status="waiting"))
        words = f"waited: {wait_words(wait)}"
        line.bars.append(scale.bar(wait["created_at"], wait["answered_at"], "warn", words))
    found = []
    for label, line in lines.items():
        found.append(line)
        found += [_child(row, scale) for row in _children_at(label, execution.id, family)]
    return found


def _attempt(step: StepExecution, scale: _Scale) -> Bar:
    started = step.started_at or step.completed_at or scale.begins
    words = f"attempt {step.attempt} {step.status.value}"
    meaning = "undo" if step.is_compensation and step.status.value == "completed" else None
    return scale.bar(started, step.completed_at, meaning or tier(step.status.value), words)


def wait_words(wait: dict[str, Any]) -> str:
    """Return what is waited for."""
    names = ", ".join(wait["names"] or ())
    match wait["kind"]:
        case "sleep":
            return "a sleep"
        case "input":
            return f"an answer to “{wait['input'] or names}”"
        case "child":
            return "children"
        case "any":
            return f"any event of {names}"
        case "all":
            return f"all events of {names}"
    return f"event “{names}”"


def _children_at(label: str, id_: str, family: Sequence[Row]) -> list[Row]:
    return [row for row in family if row["parent_id"] == id_ and row["parent_path"] == label][:60]


def _child(row: Row, scale: _Scale) -> Line:
    label = row["workflow"]
    if row["parent_index"] is not None:
        label = f"{row['parent_path']}[{row['parent_index']}]"
    line = Line(label, 1, status=row["status"], href_id=row["id"])
    started = row["started_at"]
    line.bars.append(
        scale.bar(row["inserted_at"], started or row["completed_at"], "idle", "queued")
    )
    if started is not None:
        line.bars.append(
            scale.bar(started, row["completed_at"], tier(row["status"]), row["status"])
        )
    return line


def _ticks(span: float) -> list[tuple[float, str]]:
    step = next((each for each in _NICE if span / each <= TICKS), None)
    if step is None:
        step = 86_400 * (int(span / 86_400 / TICKS) + 1)
    count = int(span / step)
    return [
        (round(100 * number * step / span, 3), seconds(number * step))
        for number in range(count + 1)
    ]
