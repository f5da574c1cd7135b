"""What the engine asks of storage: a Protocol that `storage.journal` and the tests' twin implement.

A journal belongs to one claim. Every write holds only while the claim's lock token is the row's and
raises `ClaimLost` otherwise; a write whose answer was lost is repeated under the same row id.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from durable_otp.engine.once_journal import OnceJournal
from durable_otp.workflow.suspension import WaitRequest

Changes = Sequence[Sequence[Any]]
LogEntries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Entry:
    """A completed step as the journal gives it back."""

    position: int
    path: str
    visit: int
    changes: Changes
    snapshot: dict[str, Any] | None
    next_path: str | None
    jumps: int


@dataclass(frozen=True)
class Answer:
    """What an earlier run of a step asked for at one ordinal, and whether it was answered.

    Attributes:
        value: The answer; after a timeout the wait's ``timeout_value``, if it has one.
        timed_out: Its time was over in this very attempt. Without a value it is not answered.
    """

    kind: str
    is_answered: bool
    value: Any = None
    names: tuple[str, ...] = ()
    timed_out: bool = False


_NO_ANSWERS: Mapping[int, Answer] = MappingProxyType({})


class VisitRecord(NamedTuple):
    """What is recorded of the visit that an execution stands at."""

    visit: int = 1
    recorded_attempts: int = 0
    failed_attempts: int = 0
    answers: Mapping[int, Answer] = _NO_ANSWERS


class Attempt(NamedTuple):
    """Which run of which step: what every row of the journal begins with."""

    position: int
    path: str
    name: str
    type: str
    visit: int
    number: int


class Usage(NamedTuple):
    """What an attempt used of its process, and which that was."""

    cpu_seconds: float
    peak_rss: int | None
    """The most memory that the process held, in bytes; None where several executions share it."""
    process: str | None = None
    """Which process that was, as `storage.processes.process_key` names it."""


class Completion(NamedTuple):
    """A step that completed: its output, what it changed, and where the execution goes on."""

    attempt: Attempt
    output: Any
    changes: Changes
    snapshot: dict[str, Any] | None
    next_path: str | None
    jumps: int
    """How often the execution has jumped so far, this step included."""
    logs: LogEntries
    duration: float
    compensation: str | None = None
    """The name of the handler that undoes the step."""
    results: Mapping[str, Any] | None = None
    """What a block's children gave, in JSON form; None for what is no block."""
    value: Any = None
    """What a block's child gives, with its last step."""
    usage: Usage | None = None


class Failure(NamedTuple):
    """An attempt that failed."""

    attempt: Attempt
    error: Mapping[str, Any]
    logs: LogEntries
    duration: float
    usage: Usage | None = None


class TransactionRefused(Exception):  # noqa: N818 - reads as the sentence it reports
    """A step's transaction cannot be committed; the cause says why."""


class Journal(Protocol):
    """What the engine needs remembered; each method is one committed write or one read."""

    @property
    def once_results(self) -> OnceJournal:
        """What ``once`` keeps, under the same claim."""

    def confirm(self) -> None:
        """Ask whether the claim still holds, if that has not been known for a while.

        Called right before a body begins: what was held up must not repeat another's step.

        Raises:
            ClaimLost: Somebody else has the execution.
        """

    def entries(self) -> Sequence[Entry]:
        """Return the completed steps from the newest snapshot on, oldest first.

        Raises:
            ClaimLost: What is recorded may be another's.
        """

    def visit(self, path: str) -> VisitRecord:
        """Return what is recorded of the visit that comes next at ``path``."""

    def checkpoint(self, completion: Completion) -> None:
        """Record a completed step; without a ``next_path`` the execution is completed with it."""

    def in_transaction(self, run: Callable[[Any], Completion | None]) -> None:
        """Run a step's body and record its completion in one transaction; blocks.

        Args:
            run: Called with the connection; returns what is to be recorded, or None when the step
                has not completed and nothing is to be kept. It is called again when the connection
                is lost before the commit.

        Raises:
            TransactionRefused: The database takes the transaction as the body has left it not.
        """

    def record_failure(self, failure: Failure) -> None:
        """Record a failed attempt that the same worker follows up."""

    def retry_later(self, failure: Failure, delay: float) -> None:
        """Record a failed attempt and give the claim back until ``delay`` seconds have passed."""

    def fail(self, error: Mapping[str, Any], path: str | None, failure: Failure | None) -> None:
        """End the execution as failed, together with its last attempt if there was one."""

    def move(self, queue: str, path: str) -> None:
        """Give the claim back to another queue, where the step at ``path`` is to run."""

    def suspend(
        self, path: str, visit: int, waits: Sequence[tuple[int, WaitRequest]], *, attempt: int = 1
    ) -> None:
        """Record the waits by ordinal and give the claim back until one of them is answered.

        ``attempt`` is the one that waits: a timeout counts for it and for no other.
        """
