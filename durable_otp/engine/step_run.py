"""One run of a step's body: the context it works on, and the waits it asks for.

The body runs again from its top each time its execution wakes; its waits are numbered in the order
of the calls, and those that were answered before return at once. A suspension is remembered here
when it is raised, so a body that swallows it still counts as suspended.
"""

import sys
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from durable_otp.engine.failure import DefinitionChanged
from durable_otp.engine.journal import VisitRecord
from durable_otp.workflow.context import Context
from durable_otp.workflow.wait import Suspension, WaitRequest


class StepRun:
    """The run that `workflow.current` shows to the body and to its helper threads."""

    def __init__(
        self,
        context: Context,
        record: VisitRecord,
        now: Callable[[], datetime],
        progress: Callable[[], None],
    ) -> None:
        self.context = context
        self.suspensions: list[tuple[int, WaitRequest]] = []
        self.suspended_at = ""
        self.failures_after_this = record.failed_attempts + 1
        self._record = record
        self._now = now
        self._progress = progress
        self._asked = 0
        self._turn = threading.Lock()

    def wait(self, request: WaitRequest) -> Any:
        """Return the answer that an earlier run's wait has got by now, or suspend the execution.

        Raises:
            Suspension: There is no answer yet.
            DefinitionChanged: An earlier run asked for something else at this place.
        """
        with self._turn:
            ordinal, self._asked = self._asked, self._asked + 1
        earlier = self._record.answers.get(ordinal)
        if earlier is not None and earlier.kind != request.kind:
            raise DefinitionChanged(
                f"wait {ordinal + 1} of step {self.context.step!r} was a {earlier.kind} when the "
                f"step ran before and is a {request.kind} now"
            )
        if earlier is not None and earlier.is_answered:
            return earlier.value
        with self._turn:
            self.suspensions.append((ordinal, request))
            self.suspended_at = self.suspended_at or _calling_line()
        raise Suspension(request)

    def now(self) -> datetime:
        """Return the database's time."""
        return self._now()

    def progress(self) -> None:
        """Tell that the step is getting on."""
        self._progress()


def _calling_line() -> str:
    """Return "file:line" of the user's code that asked, which is outside this package."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to look at one's callers
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("durable_otp."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
