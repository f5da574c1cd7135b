"""Attempts as bars over time."""

from datetime import UTC, datetime, timedelta
from typing import Any

from durable_otp.cli.timeline import timeline
from durable_otp.workflow.execution import StepExecution
from durable_otp.workflow.state import StepState

START = datetime(2026, 1, 1, tzinfo=UTC)


def step(status: str, begin: float | None, end: float | None) -> StepExecution:
    def at(seconds: float | None) -> datetime | None:
        return None if seconds is None else START + timedelta(seconds=seconds)

    fields: dict[str, Any] = dict.fromkeys(StepExecution.__dataclass_fields__)
    fields |= {"status": StepState(status), "started_at": at(begin), "completed_at": at(end)}
    return StepExecution(**fields)


def drawn(*steps: StepExecution, now: float = 10, width: int = 20) -> list[str]:
    named = [(str(number), each) for number, each in enumerate(steps)]
    lines = timeline(named, now=START + timedelta(seconds=now), width=width)
    return [line.bar.rstrip() for line in lines]


def test_bars_lie_where_their_attempts_were() -> None:
    assert drawn(step("failed", 0, 5), step("completed", 5, 10)) == ["▓" * 10, " " * 10 + "█" * 10]


def test_what_has_not_ended_goes_on_until_now() -> None:
    assert drawn(step("completed", 0, 5), step("waiting", 5, None), now=10) == [
        "█" * 10,
        " " * 10 + "░" * 10,
    ]


def test_the_shortest_is_still_seen_and_nothing_is_wider_than_the_whole() -> None:
    assert drawn(step("completed", 0, 0), step("completed", 10, 10)) == ["█", " " * 19 + "█"]
    assert drawn(step("completed", 3, 3)) == ["█"]


def test_what_has_not_begun_has_no_line() -> None:
    assert drawn(step("running", None, None)) == []
    assert timeline([], now=START, width=80) == []
