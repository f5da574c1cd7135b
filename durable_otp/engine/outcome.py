"""How a worker's time with an execution, or one attempt of a step, can end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from durable_otp.engine.family_journal import Opening
from durable_otp.workflow.suspension import WaitRequest


class Outcome(StrEnum):
    """What became of an execution in this worker's hands."""

    COMPLETED = "completed"
    FAILED = "failed"
    """It has failed, or begins to undo what it did: under another claim."""
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"
    WAITING = "waiting"
    RETRY_LATER = "retry_later"
    MOVED = "moved"
    """The next step runs on another queue."""
    RELEASED = "released"
    """The worker is to stop: the claim is whole and its manager gives it back."""
    INTERRUPTED = "interrupted"
    """The body was told to leave; whoever told it settles the attempt."""
    CLAIM_LOST = "claim_lost"


class Returned(NamedTuple):
    """The body returned, and what it returned and changed can be stored."""

    output: Any
    changes: Sequence[Sequence[Any]]
    jump: str | None = None
    """The target it asked to go on at."""
    next_path: str | None = None
    """Where the execution goes on; None: it has reached its end."""
    results: Mapping[str, Any] | None = None
    """What a block's children gave, in JSON form; None for what is no block."""


@dataclass(frozen=True)
class Raised:
    """The body raised, or gave what cannot be stored."""

    error: Mapping[str, Any]
    may_retry: bool


@dataclass(frozen=True)
class Suspended:
    """The body waits for something that has not happened yet."""

    waits: Sequence[tuple[int, WaitRequest]]


@dataclass(frozen=True)
class FannedOut:
    """A block is to be opened, or its children have not all ended: it waits for them."""

    opening: Opening


@dataclass(frozen=True)
class Interrupted:
    """The body was interrupted by its manager."""


Unfinished = Raised | Suspended | FannedOut | Interrupted
AttemptEnd = Returned | Unfinished
