"""What can be asked about an execution: frozen records with the fields of the contract."""

from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from durable_otp.workflow.state import State, StepState


class Settled(StrEnum):
    """How a write under a lock token ended."""

    OK = "ok"
    NOT_FOUND = "not_found"
    FENCED = "fenced"
    """The row is not the caller's to change, and was not changed."""


@dataclass(frozen=True)
class Job:
    """An execution as its claimer receives it; ``lock_token`` fences every later write."""

    id: str
    workflow: str
    version: str
    queue: str
    priority: int
    input: Any
    context: Any
    scheduled_at: datetime | None
    current_step: str | None
    lock_token: str
    crashes: int


@dataclass(frozen=True)
class StepExecution:
    """One attempt of one visit of a step; a crashed attempt is a row too."""

    id: str
    path: str
    name: str
    type: str
    visit: int
    attempt: int
    status: StepState
    output: Any
    error: dict[str, Any] | None
    logs: list[dict[str, Any]]
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: float | None
    is_compensation: bool
    compensation_for: str | None
    child_id: str | None
    cpu_seconds: float | None = None
    """User and system time of its process meanwhile; None where nobody has measured."""
    peak_rss: int | None = None
    """The most memory in bytes that its process held."""
    process: str | None = None
    """The process that ran it: the end of its node's id, a colon, its pid; None: not known."""


@dataclass(frozen=True)
class Execution:
    """One run of a workflow; lists leave ``context`` and ``steps`` None."""

    id: str
    workflow: str
    version: str
    status: State
    queue: str
    priority: int
    input: Any
    context: dict[str, Any] | None
    output: dict[str, Any] | None
    current_step: str | None
    error: dict[str, Any] | None
    parent_id: str | None
    scheduled_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    inserted_at: datetime
    updated_at: datetime
    locked_by: str | None
    crashes: int
    interruptions: int
    compensation_results: list[dict[str, Any]] = field(default_factory=list)
    steps: list[StepExecution] | None = None


@dataclass(frozen=True)
class StateMove:
    """An execution came into a status, at its current ``step`` if it has begun one."""

    execution_id: str
    workflow: str
    queue: str
    status: State
    step: str | None
    at: datetime


@dataclass(frozen=True)
class QueueStats:
    """How many executions of a queue are in each status; ``scheduled`` is a part of ``pending``."""

    queue: str
    pending: int = 0
    scheduled: int = 0
    running: int = 0
    waiting: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    compensating: int = 0
    compensated: int = 0
    compensation_failed: int = 0
    total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", sum(getattr(self, state) for state in State))


def as_json(instance: Any) -> dict[str, Any]:
    """Return a record's fields in order, ready for JSON: instants as ISO 8601 in UTC with Z."""
    return {item.name: _plain(getattr(instance, item.name)) for item in fields(instance)}


def instant_text(instant: datetime) -> str:
    """Return an aware instant as ISO 8601 in UTC with Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(value)
    return value
