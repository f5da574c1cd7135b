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
from durable_otp.engine.host import Host
from durable_otp.engine.journal import Answer, VisitRecord
from durable_otp.engine.once_journal import OnceResults
from durable_otp.errors import Fatal, WaitTimeout
from durable_otp.workflow.child_call import ChildMaker
from durable_otp.workflow.context import Context
from durable_otp.workflow.suspension import Suspension, WaitRequest, described


class StepRun:
    """The run that `workflow.current` shows to the body and to its helper threads."""

    def __init__(
        self,
        context: Context,
        record: VisitRecord,
        host: Host,
        once: OnceResults | None,
        children: ChildMaker | None,
        connection: Any = None,
    ) -> None:
        self.context = context
        self.connection = connection
        """Of the step's transaction, if it has one: nothing but what is done there is kept."""
        self._children = children
        self.changed: DefinitionChanged | None = None
        self.suspensions: list[tuple[int, WaitRequest]] = []
        self.suspended_at = ""
        self.failures_after_this = record.failed_attempts + 1
        self._record = record
        self._host = host
        self._once = once
        self._asked = 0
        self._turn = threading.Lock()

    def wait(self, request: WaitRequest) -> Any:
        """Return the answer that an earlier run's wait has got by now, or suspend the execution.

        Raises:
            Suspension: There is no answer yet.
            WaitTimeout: Its time is over, and it has no value for that.
            DefinitionChanged: An earlier run asked for something else at this place.
        """
        self._refuse_in_transaction("wait")
        with self._turn:
            ordinal, self._asked = self._asked, self._asked + 1
        earlier = self._record.answers.get(ordinal)
        if earlier is not None:
            self._check_unchanged(ordinal, earlier, request)
            if earlier.is_answered:
                return _answer(earlier)
            if earlier.timed_out:
                raise WaitTimeout(
                    f"The time of step {self.context.step!r} to wait for {request} is over."
                )
        with self._turn:
            self.suspensions.append((ordinal, request))
            self.suspended_at = self.suspended_at or _calling_line()
        raise Suspension(request)

    @property
    def children(self) -> ChildMaker:
        """What makes the executions that the body calls or starts."""
        self._refuse_in_transaction("call or start workflows")
        if self._children is None:
            raise RuntimeError("this run has no children")
        return self._children

    def once(self, key: str, call: Callable[[], Any]) -> Any:
        """Return what is kept under a key, or keep and return the result of a call."""
        self._refuse_in_transaction("use once()")
        if self._once is None:
            raise RuntimeError("nothing is kept for this run")
        return self._once.result(key, call)

    def _refuse_in_transaction(self, what: str) -> None:
        """Raise if what is asked for would have to be kept when the transaction is not."""
        if self.connection is not None:
            raise Fatal(
                f"Step {self.context.step!r} runs in a transaction and cannot {what}; do that in "
                "a step before it."
            )

    def now(self) -> datetime:
        """Return the database's time."""
        return self._host.now()

    def progress(self) -> None:
        """Tell that the step is getting on."""
        self._host.progress()

    def _check_unchanged(self, ordinal: int, earlier: Answer, request: WaitRequest) -> None:
        """Raise, and remember it in case the body swallows that, when another thing is asked."""
        if earlier.kind == request.kind and set(earlier.names) == set(request.names):
            return
        self.changed = DefinitionChanged(
            f"wait {ordinal + 1} of step {self.context.step!r} was for "
            f"{described(earlier.kind, earlier.names)} when the step ran before and is for "
            f"{request} now"
        )
        raise self.changed


def _answer(earlier: Answer) -> Any:
    """Return an answer as the body gets it: JSON has no tuples."""
    if earlier.kind == "any" and not earlier.timed_out:
        return tuple(earlier.value)
    return earlier.value


def _calling_line() -> str:
    """Return "file:line" of the user's code that asked, which is outside this package."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to look at one's callers
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("durable_otp."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
