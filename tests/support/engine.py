"""The engine without PostgreSQL or processes: a journal in memory, and a host that notes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from durable_otp.engine.executor import Claim, Limits, execute
from durable_otp.engine.host import Begun
from durable_otp.engine.journal import Answer, Completion, Entry, Failure, VisitRecord
from durable_otp.engine.outcome import Outcome
from durable_otp.errors import ClaimLost
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.json_form import canonical
from durable_otp.workflow.wait import WaitRequest

LIMITS = Limits(max_payload=1 << 20, max_context=1 << 20)


@dataclass
class MemoryJournal:
    """Implements `engine.journal.Journal`; ``is_ours`` is the fence."""

    completions: list[Completion] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    waits: dict[tuple[str, int], Answer] = field(default_factory=dict)
    ended: tuple[str, Any] | None = None
    reads: int = 0
    is_ours: bool = True

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
        self._fence()
        self.completions.append(completion)
        if completion.next_path is None:
            self.ended = ("completed", None)

    def record_failure(self, failure: Failure) -> None:
        self._fence()
        self.failures.append(failure)

    def retry_later(self, failure: Failure, delay: float) -> None:
        self.record_failure(failure)
        self.ended = ("pending", delay)

    def fail(self, error: Mapping[str, Any], path: str | None, failure: Failure | None) -> None:
        self._fence()
        self.failures += [failure] if failure else []
        self.ended = ("failed", error["type"])

    def move(self, queue: str, path: str) -> None:
        self._fence()
        self.ended = ("pending", queue)

    def suspend(self, path: str, visit: int, waits: Sequence[tuple[int, WaitRequest]]) -> None:
        self._fence()
        for ordinal, request in waits:
            self.waits[path, ordinal] = Answer(request.kind, is_answered=False)
        self.ended = ("waiting", path)

    def answer_all(self) -> None:
        """Let every wait be over."""
        self.waits = {key: Answer(each.kind, is_answered=True) for key, each in self.waits.items()}

    def _fence(self) -> None:
        if not self.is_ours:
            raise ClaimLost("another token is in force")


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

    def begun(self, begun: Begun) -> None:
        self.notes.append(f"begun {begun.attempt.path} {begun.attempt.number}")
        self.stopping = self.stopping or begun.attempt.path == self.stop_at

    def progress(self) -> None:
        self.notes.append("progress")

    def ended(self) -> None:
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


def run(
    workflow: Workflow,
    given: Any = None,
    *,
    journal: MemoryJournal | None = None,
    host: NotingHost | None = None,
    limits: Limits = LIMITS,
    queue: str = "default",
) -> Outcome:
    """Give an execution to the engine once."""
    journal = MemoryJournal() if journal is None else journal
    is_fresh = not (journal.completions or journal.failures or journal.waits)
    claim = Claim("an id", canonical(given, what="input"), queue, "default", is_fresh)
    return execute(claim, workflow.definition(), journal, host or NotingHost(), limits)
