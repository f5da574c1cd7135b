"""The rows of executions that live in memory: what the tables of `migrations` hold, as objects."""

from bisect import insort
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from durable_otp.engine.family_journal import Opening, Sibling
from durable_otp.engine.journal import Attempt, Entry, LogEntries
from durable_otp.engine.position import first_context
from durable_otp.storage.identity import new_id
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.delta import fold
from durable_otp.workflow.json_form import decode, encode
from durable_otp.workflow.mailbox import Event
from durable_otp.workflow.state import State, StepState
from durable_otp.workflow.suspension import WaitRequest

Visit = tuple[str, int]
"""A path, and how often it was reached."""


@dataclass
class StepRow:
    """One attempt of one visit of a step, or of its handler, that has ended.

    Attributes:
        entry: What a completed step did; None for any other row.
        compensation: The handler that a completed step names; of a handler that has given up, its
            own name.
        results: What a block's children gave.
        seconds: How long the body took; None: it did not run to its end.
        began_at: When the attempt began, if time has passed since.
    """

    attempt: Attempt
    status: StepState
    output: Any
    error: dict[str, Any] | None
    logs: LogEntries
    ended_at: datetime
    seconds: float | None
    entry: Entry | None = None
    compensation: str | None = None
    is_compensation: bool = False
    results: Any = None
    began_at: datetime | None = None
    id: str = field(default_factory=new_id)

    @property
    def visit(self) -> Visit:
        """Which visit of which step."""
        return self.attempt.path, self.attempt.visit

    @property
    def is_to_be_undone(self) -> bool:
        """Whether it is a completed step that names a handler."""
        return self.entry is not None and self.compensation is not None


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
    child_id: str | None = None
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
class BlockRow:
    """An opened parallel or each, and how many of its children have been created."""

    opening: Opening
    created: int = 0


@dataclass(frozen=True)
class Lineage:
    """Whose child an execution is; ``sibling`` if it is one of a block."""

    parent_id: str
    path: str
    visit: int
    sibling: Sibling | None = None


@dataclass
class ExecutionRow:
    """An execution with everything that is remembered of it.

    PostgreSQL's row does not have these:

    Attributes:
        resumes_at: The path of the step that comes next, for whoever is asked before each step.
        generation: By how many starts that nobody waits for it goes back to the one under test.
    """

    definition: Definition
    input: Any
    queue: str
    priority: int
    scheduled_at: datetime | None
    inserted_at: datetime
    updated_at: datetime
    resumes_at: str
    generation: int = 0
    deadline_at: datetime | None = None
    lineage: Lineage | None = None
    status: State = State.PENDING
    home_queue: str | None = None
    current_step: str | None = None
    begun: str | None = None
    error: dict[str, Any] | None = None
    result: Any = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    lock_token: str | None = None
    steps: list[StepRow] = field(default_factory=list)
    waits: list[WaitRow] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    once: dict[tuple[str, int, str], Any] = field(default_factory=dict)
    blocks: dict[Visit, BlockRow] = field(default_factory=dict)
    id: str = field(default_factory=new_id)

    @property
    def sibling(self) -> Sibling | None:
        """What it begins with as a child of a parallel or an each; None if it is none."""
        return None if self.lineage is None else self.lineage.sibling

    @property
    def open_waits(self) -> list[WaitRow]:
        """The waits that nothing has ended yet, in the order of calls."""
        return [wait for wait in self.waits if wait.status == "open"]

    def add_wait(self, wait: WaitRow) -> WaitRow:
        """Keep a wait where it lies in the order of calls, and return it."""
        insort(self.waits, wait, key=lambda each: each.place)
        return wait

    def entries(self) -> list[Entry]:
        """Return the completed steps from the newest snapshot on, oldest first."""
        found = [step.entry for step in self.steps if step.entry is not None]
        newest = max((each.position for each in found if each.snapshot is not None), default=0)
        return [each for each in found if each.position >= newest]

    def context(self) -> dict[str, Any]:
        """Return the context after the last completed step."""
        context = first_context(self.input) if self.sibling is None else self.sibling.context
        for entry in self.entries():
            context = fold(context, entry.changes) if entry.snapshot is None else entry.snapshot
        found: dict[str, Any] = copied(context)
        return found


def copied(value: Any) -> Any:
    """Return a JSON value that shares nothing with this one, as if it had been stored and read."""
    return decode(encode(value))
