"""An execution's attempts as bars over time; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from durable_otp.workflow.execution import StepExecution

BAR = {"completed": "█", "failed": "▓", "waiting": "░", "running": "▒"}
LEAST_WIDTH = 20


@dataclass(frozen=True)
class Line:
    """An attempt: how it is called, its bar, and how it ended."""

    title: str
    bar: str
    status: str


def timeline(
    steps: Sequence[tuple[str, StepExecution]], *, now: datetime, width: int
) -> list[Line]:
    """Return a line for each attempt that has begun, from the first one's begin to the last's end.

    Args:
        steps: What each is called, and the attempt.
        now: The end of what has not ended.
        width: Of the bars, in characters.
    """
    begun = [(title, step) for title, step in steps if step.started_at is not None]
    if not begun:
        return []
    spans = [_span(step, now) for _, step in begun]
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    columns = max(LEAST_WIDTH, width)
    whole = max((last - first).total_seconds(), 1e-6)
    lines = []
    for (title, step), (start, end) in zip(begun, spans, strict=True):
        offset = min(columns - 1, int((start - first).total_seconds() / whole * columns))
        length = round((end - start).total_seconds() / whole * columns)
        bar = BAR[step.status] * min(max(1, length), columns - offset)
        lines.append(Line(title, (" " * offset + bar).ljust(columns), step.status))
    return lines


def _span(step: StepExecution, now: datetime) -> tuple[datetime, datetime]:
    start = step.started_at or now
    return start, max(start, step.completed_at or now)
