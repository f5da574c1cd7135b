"""What undoing asks of storage: a Protocol beside `engine.journal.Journal`, of the same claim.

Every write holds only while the claim's lock token is the row's and raises `ClaimLost` otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from durable_otp.engine.journal import Attempt, Failure, LogEntries, Usage


@dataclass(frozen=True)
class Undo:
    """A completed visit of a step that is still to be undone."""

    execution_id: str
    """Whose step it was: the execution itself, or a child of one of its blocks."""
    path: str
    visit: int
    compensation: str
    """The name of its handler."""
    position: int
    recorded_attempts: int = 0
    failed_attempts: int = 0


class CompensationJournal(Protocol):
    """What the engine needs remembered of handlers; each method is one write or one read."""

    def confirm(self) -> None:
        """Ask whether the claim still holds, if that has not been known for a while.

        Called right before a body begins: what was held up must not undo a step again.

        Raises:
            ClaimLost: Somebody else has the execution.
        """

    def to_undo(self) -> Sequence[Undo]:
        """Return what is still to be undone, the newest first; nothing if the claim is lost."""

    def context_of(self, execution_id: str, given: Any) -> dict[str, Any]:
        """Return the context after the last completed step; ``given`` is the workflow's input."""

    def undone(
        self,
        attempt: Attempt,
        output: Any,
        logs: LogEntries,
        duration: float,
        usage: Usage | None = None,
    ) -> None:
        """Record that a handler has completed."""

    def record_failure(self, failure: Failure, *, gave_up: bool) -> None:
        """Record a failed attempt; ``gave_up``: no other one follows."""

    def retry_later(self, failure: Failure, delay: float) -> None:
        """Record a failed attempt and give the claim back until ``delay`` seconds have passed."""

    def end(self) -> bool:
        """End the execution; return whether every handler had completed."""
