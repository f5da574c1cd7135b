"""A started execution, as whoever started it holds it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from durable_otp.clock import Deadline
from durable_otp.durations import in_seconds
from durable_otp.errors import ResultTimeout, WorkflowFailed
from durable_otp.workflow.execution import Execution
from durable_otp.workflow.state import FINAL, State

FIRST_POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 1.0


class Client(Protocol):
    """What a handle asks of its client."""

    def status(self, execution_id: str) -> State:
        """Return an execution's status."""
        ...

    def get_execution(self, execution_id: str, *, steps: bool = False) -> Execution:
        """Return an execution."""
        ...

    def wait_for_end(self, execution_id: str, deadline: Deadline) -> State:
        """Return the status once it is final, or when the deadline has passed."""
        ...

    def cancel(self, execution_id: str, reason: str | None = None) -> None:
        """Cancel an execution."""
        ...

    def send_event(self, execution_id: str, name: str, payload: Any = None) -> None:
        """Send an event to an execution."""
        ...

    def provide_input(self, execution_id: str, name: str, data: Any) -> None:
        """Answer an input of an execution."""
        ...

    def retry(self, execution_id: str) -> None:
        """Have an ended execution go on."""
        ...


@dataclass(frozen=True)
class Handle:
    """One execution, to ask about. Handles of one execution are equal."""

    id: str
    _client: Client = field(repr=False, compare=False)

    def status(self) -> State:
        """Return the status; raise ``ExecutionNotFound`` when the row is gone."""
        return self._client.status(self.id)

    def execution(self) -> Execution:
        """Return the execution with its steps; raise ``ExecutionNotFound`` when it is gone."""
        return self._client.get_execution(self.id, steps=True)

    def result(self, timeout: timedelta | float | None = None) -> dict[str, Any]:
        """Wait for the end and return the final context.

        Args:
            timeout: How long to wait; None for ever.

        Raises:
            WorkflowFailed: It ended in another way than completed.
            ResultTimeout: It has not ended in time; it goes on.
            ExecutionNotFound: The row is gone.
        """
        if self._client.wait_for_end(self.id, waiting_time(timeout)) not in FINAL:
            raise not_ended(self.id, timeout)
        return outcome(self._client.get_execution(self.id))

    def cancel(self, reason: str | None = None) -> None:
        """Cancel it and its children; raise ``AlreadyFinished`` when it has ended."""
        self._client.cancel(self.id, reason)

    def send_event(self, name: str, payload: Any = None) -> None:
        """Send it an event, which is kept until a wait consumes it; see ``Durable.send_event``."""
        self._client.send_event(self.id, name, payload)

    def provide_input(self, name: str, data: Any) -> None:
        """Answer an input that it asks for; see ``Durable.provide_input``."""
        self._client.provide_input(self.id, name, data)

    def retry(self) -> None:
        """Have it go on after it failed or was cancelled; see ``Durable.retry``."""
        self._client.retry(self.id)


def waiting_time(timeout: timedelta | float | None) -> Deadline:
    """Return the deadline that a timeout means; raise ``ValueError`` when it is negative."""
    return Deadline(None if timeout is None else in_seconds(timeout, what="timeout"))


def polls(deadline: Deadline) -> Iterator[float]:
    """Yield the seconds to wait before each look, growing to a second, until the deadline."""
    pause = FIRST_POLL_SECONDS
    while not deadline.passed:
        remaining = deadline.remaining
        yield pause if remaining is None else min(pause, remaining)
        pause = min(LONGEST_POLL_SECONDS, pause * 2)


def not_ended(execution_id: str, timeout: timedelta | float | None) -> ResultTimeout:
    """Return the error of a wait that was not long enough."""
    return ResultTimeout(
        f"Execution {execution_id} has not ended within {timeout!r}; it goes on, ask again later."
    )


def outcome(execution: Execution) -> dict[str, Any]:
    """Return an ended execution's output, or raise ``WorkflowFailed``."""
    if execution.status is State.COMPLETED:
        return execution.output or {}
    error = execution.error or {}
    reason = ": ".join(str(error[key]) for key in ("type", "message") if error.get(key))
    raise WorkflowFailed(
        f"Execution {execution.id} of workflow {execution.workflow!r} is {execution.status}"
        f"{f' ({reason})' if reason else ''}.",
        error=execution.error,
        status=execution.status,
    )
