"""What the engine asks of the process it runs in: a Protocol that the worker implements."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from durable_otp.engine.journal import Attempt, Usage
from durable_otp.engine.outcome import AttemptEnd
from durable_otp.workflow.definition import Definition


class Begun(NamedTuple):
    """What a manager must know to settle an attempt whose worker cannot do so any more."""

    attempt: Attempt
    timeout: float | None
    retry_after_timeout: float | None
    """Seconds until the next attempt if this one times out; None: it was the last."""
    progress_deadline: float | None = None


class Host(Protocol):
    """The process around an execution."""

    @property
    def stopping(self) -> bool:
        """Whether to take no further step: the process is asked to end."""

    @property
    def interrupted(self) -> bool:
        """Whether the manager has stopped this run of the execution."""

    def now(self) -> datetime:
        """Return the database's time."""

    def find_workflow(self, name: str) -> tuple[Mapping[str, Any], Definition | None]:
        """Return a workflow's published form, and its definition if this process knows it.

        Raises:
            WorkflowNotFound: It is neither known here nor published.
        """

    def begun(self, begun: Begun) -> None:
        """Tell the manager which attempt begins now."""

    def ended(self, end: AttemptEnd) -> None:
        """Tell the manager that the body is over: its timeout measures nothing any more."""

    def progress(self) -> None:
        """Tell the manager that the body is getting on; safe in any thread of it."""

    def interruptible(self) -> AbstractContextManager[None]:
        """Let the manager's interrupt raise `StepInterrupted` inside; nowhere else does it."""

    def pause(self, seconds: float) -> bool:
        """Wait before the next attempt; return False when the process should end instead."""

    def start_capture(self) -> None:
        """Let what is printed and logged from here on belong to the attempt that begins."""

    def captured(self) -> Sequence[Mapping[str, Any]]:
        """Return what was printed and logged since ``start_capture``."""

    def used(self) -> Usage | None:
        """Return what the body that has ended last used; None where nobody measures."""
