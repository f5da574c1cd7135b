"""Running a workflow to its end inside a test."""

from collections.abc import Callable, Mapping
from typing import Any

from durable_otp.testing.world import World
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.execution import Execution


def run_inline(
    workflow: Workflow,
    input: Any = None,  # noqa: A002 - the contract's name
    *,
    events: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
    until: Callable[[Execution], bool] | None = None,
) -> Execution:
    """Run an execution in memory until it ends or nothing can wake it; return it with its steps.

    Its code runs in this thread and blocks; sleeps, back-offs and timeouts are skipped.
    """
    world = World(workflow, input, until)
    world.run_to_the_end()
    return world.execution
