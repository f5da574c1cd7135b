"""Driving an execution from a test, from one suspension to the next."""

from datetime import timedelta
from typing import Any

from durable_otp.durations import in_seconds
from durable_otp.testing.world import LIMITS, World
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.execution import Execution
from durable_otp.workflow.json_form import canonical
from durable_otp.workflow.options import LONGEST_DURATION
from durable_otp.workflow.wait import check_wait_name


class WorkflowTester:
    """An execution in memory whose time and whose answers are the test's to give.

    It runs, in the test's thread, to its first suspension or to its end. ``connection`` is an open
    psycopg connection for steps with a transaction.
    """

    def __init__(
        self,
        workflow: Workflow,
        input: Any = None,  # noqa: A002 - the contract's name
        *,
        connection: Any = None,
    ) -> None:
        self._world = World(workflow, input, connection=connection)
        self._world.run_due()

    def __repr__(self) -> str:
        root = self._world.root
        return f"WorkflowTester({root.definition.name!r}, status={root.status.value!r})"

    @property
    def execution(self) -> Execution:
        """The execution as it is now, with its steps."""
        return self._world.execution

    def advance(self, duration: timedelta | float) -> Execution:
        """Let time pass (a ``timedelta`` or seconds), run what becomes due; return the execution.

        Raises:
            TypeError: It is not a duration.
            ValueError: It is negative, not finite, or longer than 100 years.
        """
        seconds = in_seconds(duration, what="advance's duration")
        if seconds > LONGEST_DURATION:
            raise ValueError(f"advance's duration must be at most 100 years, not {duration!r}.")
        self._world.advance(seconds)
        return self.execution

    def send_event(self, name: str, payload: Any = None) -> Execution:
        """Send an event, run what it wakes, and return the execution.

        It is kept until a wait consumes it: one of the execution, or of a child.

        Raises:
            AlreadyFinished: The execution has ended, or is compensating.
            SerializationError: The payload has no JSON form.
            TypeError: The name is no text.
            ValueError: The name is empty, too long or not printable.
        """
        checked = check_wait_name(name, "An event's name")
        form = canonical(payload, what="payload", max_bytes=LIMITS.max_payload)
        self._world.send_event(checked, form)
        self._world.run_due()
        return self.execution

    def provide_input(self, name: str, data: Any) -> Execution:
        """Answer an open input of the execution or of a child, run on, and return the execution.

        Raises:
            InputRejected: The answer does not fit what was asked for; the input stays open.
            NoPendingInput: No such input is open.
            SerializationError: The answer has no JSON form.
        """
        form = canonical(data, what="data", max_bytes=LIMITS.max_payload)
        self._world.provide_input(name, form)
        self._world.run_due()
        return self.execution
