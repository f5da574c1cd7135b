"""The engine without PostgreSQL or processes: a journal in memory, and a host that notes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

from durable_otp.engine.claim import Claim, Limits
from durable_otp.engine.compensation_journal import Undo
from durable_otp.engine.executor import execute
from durable_otp.engine.family_journal import (
    BlockState,
    ChildResult,
    Opening,
    Origin,
    Sibling,
)
from durable_otp.engine.host import Begun
from durable_otp.engine.journal import (
    Answer,
    Attempt,
    Completion,
    Entry,
    Failure,
    LogEntries,
    Usage,
    VisitRecord,
)
from durable_otp.engine.outcome import Outcome
from durable_otp.engine.position import first_context
from durable_otp.errors import ClaimLost, WorkflowNotFound
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.child_call import ChildCall
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.delta import fold
from durable_otp.workflow.json_form import canonical
from durable_otp.workflow.suspension import NO_VALUE, WaitRequest

LIMITS = Limits(max_payload=1 << 20, max_context=1 << 20)


@dataclass
class MemoryJournal:
    """Implements `engine.journal.Journal`; ``is_ours`` is the fence."""

    completions: list[Completion] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    waits: dict[tuple[str, int], Answer] = field(default_factory=dict)
    asked: dict[tuple[str, int], WaitRequest] = field(default_factory=dict)
    once: dict[tuple[str, int, str], Any] = field(default_factory=dict)
    ended: tuple[str, Any] | None = None
    reads: int = 0
    is_ours: bool = True
    confirms: Iterator[bool] = field(default_factory=lambda: repeat(True))
    is_compensating: bool = False

    def __post_init__(self) -> None:
        self.family = MemoryFamily(self)
        self.compensations = MemoryCompensations(self)

    def confirm(self) -> None:
        if not next(self.confirms):
            raise ClaimLost("another token is in force")

    def entries(self) -> Sequence[Entry]:
        self.reads += 1
        found = [
            Entry(
                c.attempt.position,
                c.attempt.path,
                c.attempt.visit,
                c.changes,
                c.snapshot,
                c.next_path,
                c.jumps,
            )
            for c in self.completions
        ]
        newest = max((e.position for e in found if e.snapshot is not None), default=0)
        return [entry for entry in found if entry.position >= newest]

    def visit(self, path: str) -> VisitRecord:
        self.reads += 1
        visit = 1 + sum(each.attempt.path == path for each in self.completions)
        recorded = sum(
            (each.attempt.path, each.attempt.visit) == (path, visit) for each in self.failures
        )
        answers = {ordinal: each for (at, ordinal), each in self.waits.items() if at == path}
        return VisitRecord(visit, recorded, recorded, answers)

    def checkpoint(self, completion: Completion) -> None:
        self.fence()
        self.completions.append(completion)
        if completion.next_path is None:
            self.ended = ("completed", None)

    def record_failure(self, failure: Failure) -> None:
        self.fence()
        self.failures.append(failure)

    def retry_later(self, failure: Failure, delay: float) -> None:
        self.record_failure(failure)
        self.ended = ("pending", delay)

    def fail(self, error: Mapping[str, Any], path: str | None, failure: Failure | None) -> None:
        self.fence()
        self.failures += [failure] if failure else []
        self.is_compensating = any(each.compensation for each in self.completions)
        self.ended = ("compensating" if self.is_compensating else "failed", error["type"])

    def move(self, queue: str, path: str) -> None:
        self.fence()
        self.ended = ("pending", queue)

    def suspend(
        self, path: str, visit: int, waits: Sequence[tuple[int, WaitRequest]], *, attempt: int = 1
    ) -> None:
        self.fence()
        for ordinal, request in waits:
            self.asked[path, ordinal] = request
            self.waits[path, ordinal] = Answer(request.kind, is_answered=False, names=request.names)
        self.ended = ("waiting", path)

    @property
    def once_results(self) -> "MemoryJournal":
        return self

    def kept(self, path: str, visit: int) -> Mapping[str, Any]:
        self.reads += 1
        return {key: value for (*at, key), value in self.once.items() if at == [path, visit]}

    def keep(self, path: str, visit: int, key: str, result: Any) -> Any:
        self.fence()
        return self.once.setdefault((path, visit, key), result)

    def answer(self, path: str, ordinal: int, value: Any) -> None:
        """Answer a wait, as JSON."""
        earlier = self.waits[path, ordinal]
        self.waits[path, ordinal] = replace(earlier, is_answered=True, value=value)

    def time_out(self, path: str, ordinal: int) -> None:
        """Let a wait's time be over."""
        value = self.asked[path, ordinal].timeout_value
        self.waits[path, ordinal] = replace(
            self.waits[path, ordinal],
            is_answered=value is not NO_VALUE,
            value=None if value is NO_VALUE else value,
            timed_out=True,
        )

    def answer_all(self) -> None:
        """Let every wait be over."""
        self.waits = {key: replace(each, is_answered=True) for key, each in self.waits.items()}

    def fence(self) -> None:
        if not self.is_ours:
            raise ClaimLost("another token is in force")


@dataclass
class Undone:
    """A recorded attempt of a handler; ``error`` None: it completed."""

    attempt: Attempt
    output: Any = None
    error: Mapping[str, Any] | None = None
    gave_up: bool = False

    @property
    def is_final(self) -> bool:
        return self.error is None or self.gave_up


@dataclass
class MemoryCompensations:
    """Implements `engine.compensation_journal.CompensationJournal` beside a `MemoryJournal`."""

    journal: MemoryJournal
    rows: list[Undone] = field(default_factory=list)

    def confirm(self) -> None:
        self.journal.confirm()

    def to_undo(self) -> Sequence[Undo]:
        compensable = [c for c in self.journal.completions if c.compensation is not None]
        found = [self._undo(each) for each in reversed(compensable)]
        ended = {(r.attempt.path, r.attempt.visit) for r in self.rows if r.is_final}
        return [undo for undo in found if (undo.path, undo.visit) not in ended]

    def context_of(self, execution_id: str, given: Any) -> dict[str, Any]:
        assert execution_id == "an id"
        changes = [operation for each in self.journal.completions for operation in each.changes]
        return fold(first_context(given), changes)

    def undone(
        self,
        attempt: Attempt,
        output: Any,
        logs: LogEntries,
        duration: float,
        usage: Usage | None = None,
    ) -> None:
        self._record(Undone(attempt, output))

    def record_failure(self, failure: Failure, *, gave_up: bool) -> None:
        self._record(Undone(failure.attempt, error=failure.error, gave_up=gave_up))

    def retry_later(self, failure: Failure, delay: float) -> None:
        self.record_failure(failure, gave_up=False)
        self.journal.ended = ("compensating", delay)

    def end(self) -> bool:
        self.journal.fence()
        has_failed = any(row.gave_up for row in self.rows)
        self.journal.ended = ("compensation_failed" if has_failed else "compensated", None)
        return not has_failed

    def _record(self, row: Undone) -> None:
        self.journal.fence()
        self.rows.append(row)

    def _undo(self, done: Completion) -> Undo:
        place = (done.attempt.path, done.attempt.visit)
        tried = sum((r.attempt.path, r.attempt.visit) == place for r in self.rows)
        position = len(self.journal.completions) + len(self.rows)
        return Undo("an id", *place, done.compensation or "", position, tried, tried)


@dataclass
class MemoryFamily:
    """Implements `engine.family_journal.FamilyJournal`; a test says how the children ended."""

    journal: MemoryJournal
    sibling: Sibling | None = None
    openings: list[Opening] = field(default_factory=list)
    ended: dict[tuple[str, int], list[ChildResult]] = field(default_factory=dict)
    started: dict[str, ChildCall] = field(default_factory=dict)

    def origin(self) -> Origin:
        return Origin(self.journal.is_compensating, self.sibling)

    def latest_results(self) -> Mapping[str, Any] | None:
        found = [each.results for each in self.journal.completions if each.results is not None]
        return found[-1] if found else None

    def block(self, path: str, visit: int) -> BlockState | None:
        for opening in self.openings:
            if (opening.path, opening.visit) == (path, visit):
                is_live = (path, visit) not in self.ended
                return BlockState(opening.total, opening.total, is_live, opening.on_error)
        return None

    def open(self, opening: Opening) -> None:
        self.openings.append(opening)
        self.journal.ended = ("waiting", opening.path)

    def children(self, path: str, visit: int) -> Sequence[ChildResult]:
        return self.ended[path, visit]

    def start(self, child: ChildCall, key: str) -> str:
        self.started.setdefault(key, child)
        return f"id of {key}"

    def end(self, *results: Any) -> None:
        """Let the children of the block that was opened last end: values, or errors to fail by."""
        opening = self.openings[-1]
        self.ended[opening.path, opening.visit] = [
            _child_result(opening, index, result) for index, result in enumerate(results)
        ]


def _child_result(opening: Opening, index: int, result: Any) -> ChildResult:
    failed = isinstance(result, Exception)
    return ChildResult(
        id=f"child {index}",
        index=index,
        start_path=opening.starts[min(index, len(opening.starts) - 1)][0],
        status="failed" if failed else "completed",
        result=None if failed else result,
        error={"type": type(result).__name__, "message": str(result)} if failed else None,
        ended_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


@dataclass
class NotingHost:
    """Implements `engine.host.Host`; ``stop_at`` is the path of the step during which it stops."""

    notes: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    stop_at: str = ""
    interrupted: bool = False
    stopping: bool = False

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)

    def find_workflow(self, name: str) -> tuple[Mapping[str, Any], Definition | None]:
        raise WorkflowNotFound(f"{name!r} is not known")

    def begun(self, begun: Begun) -> None:
        self.notes.append(f"begun {begun.attempt.path} {begun.attempt.number}")
        self.stopping = self.stopping or begun.attempt.path == self.stop_at

    def progress(self) -> None:
        self.notes.append("progress")

    def ended(self, end: Any) -> None:
        self.notes.append("ended")

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        yield

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return not self.stopping

    def start_capture(self) -> None:
        pass

    def captured(self) -> Sequence[Mapping[str, Any]]:
        return []

    def used(self) -> None:
        pass


def run(
    workflow: Workflow,
    given: Any = None,
    *,
    journal: MemoryJournal | None = None,
    family: MemoryFamily | None = None,
    host: NotingHost | None = None,
    limits: Limits = LIMITS,
    queue: str = "default",
) -> Outcome:
    """Give an execution to the engine once."""
    journal = MemoryJournal() if journal is None else journal
    family = journal.family if family is None else family
    journal.family = family
    is_begun = journal.completions or journal.failures or journal.waits or family.openings
    claim = Claim(
        "an id",
        canonical(given, what="input"),
        queue,
        "default",
        is_fresh=not is_begun,
        is_plain=family.sibling is None and not journal.is_compensating,
    )
    return execute(claim, workflow.definition(), journal, host or NotingHost(), limits)
