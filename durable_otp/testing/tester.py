"""Driving an execution from a test, from one suspension to the next."""

from datetime import timedelta
from typing import Any

from durable_otp.durations import in_seconds
from durable_otp.testing.world import World
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.execution import Execution


class WorkflowTester:
    """An execution in memory whose time and whose answers are the test's to give.

    It runs, in the test's thread, to its first suspension or to its end.
    """

    def __init__(self, workflow: Workflow, input: Any = None) -> None:  # noqa: A002 - the contract's name
        self._world = World(workflow, input)
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
            ValueError: It is negative or not finite.
        """
        self._world.advance(in_seconds(duration, what="advance's duration"))
        return self.execution
