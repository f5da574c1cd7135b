"""The rows of executions that live in memory: what the tables of `migrations` hold, as objects."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from durable_otp.engine.journal import Attempt, Entry, LogEntries
from durable_otp.storage.identity import new_id
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.mailbox import Event
from durable_otp.workflow.state import State, StepState
from durable_otp.workflow.suspension import WaitRequest


@dataclass
class StepRow:
    """One attempt of one visit of a step that has ended; ``entry`` is what a completed one did."""

    attempt: Attempt
    status: StepState
    output: Any
    error: dict[str, Any] | None
    logs: LogEntries
    ended_at: datetime
    seconds: float
    entry: Entry | None = None
    id: str = field(default_factory=new_id)


@dataclass
class WaitRow:
    """Something that a visit of a step has asked for."""

    path: str
    visit: int
    ordinal: int
    request: WaitRequest
    due_at: datetime | None
    attempt: int
    created_at: datetime
    status: str = "open"
    answer: Any = None
    id: str = field(default_factory=new_id)

    @property
    def place(self) -> tuple[str, int, int]:
        """Where it lies in the order of calls."""
        return self.path, self.visit, self.ordinal

    def is_over(self, now: datetime) -> bool:
        """Return whether it is answered; a sleep is answered by the clock alone."""
        if self.request.kind == "sleep" and self.due_at is not None and self.due_at <= now:
            return True
        return self.status == "answered"


@dataclass
class ExecutionRow:
    """An execution with everything that is remembered of it.

    ``resumes_at`` is the path of the step that comes next, which PostgreSQL's row does not have:
    whoever is asked before each step is shown it.
    """

    definition: Definition
    input: Any
    queue: str
    priority: int
    scheduled_at: datetime | None
    inserted_at: datetime
    updated_at: datetime
    resumes_at: str
    status: State = State.PENDING
    home_queue: str | None = None
    deadline_at: datetime | None = None
    parent_id: str | None = None
    current_step: str | None = None
    begun: str | None = None
    error: dict[str, Any] | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    lock_token: str | None = None
    steps: list[StepRow] = field(default_factory=list)
    waits: list[WaitRow] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    once: dict[tuple[str, int, str], Any] = field(default_factory=dict)
    id: str = field(default_factory=new_id)

    @property
    def open_waits(self) -> list[WaitRow]:
        """The waits that nothing has ended yet, in the order of calls."""
        return sorted((w for w in self.waits if w.status == "open"), key=lambda w: w.place)

    def entries(self) -> list[Entry]:
        """Return the completed steps from the newest snapshot on, oldest first."""
        found = [step.entry for step in self.steps if step.entry is not None]
        newest = max((each.position for each in found if each.snapshot is not None), default=0)
        return [each for each in found if each.position >= newest]
