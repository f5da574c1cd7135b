"""A saga that does what its input says: `sink` steps, each undone by a handler of the same sort.

The step ``one`` is undone by ``undo_one`` and so on; an input gives each of them its action.
"""

from typing import Any

from durable_otp import Retry, Workflow
from tests.support.sink import STEPS, perform
from tests.support.tree import Tree


def saga(
    name: str = "saga",
    *,
    steps: tuple[str, ...] = STEPS,
    undo_retry: Retry | None = None,
    undo_timeout: float | None = None,
    step_timeout: float | None = None,
    **options: Any,
) -> Workflow:
    """Return a saga; the last step has no handler."""
    workflow = Workflow(name, **options)
    for step in steps[:-1]:
        workflow.step(name=step, compensate=f"undo_{step}")(perform)
        workflow.compensate(name=f"undo_{step}", retry=undo_retry, timeout=undo_timeout)(perform)
    workflow.step(name=steps[-1], timeout=step_timeout)(perform)
    return workflow


def undone(tree: Tree, execution_id: str) -> list[tuple[str, int]]:
    """Return which bodies of handlers ran, as (handler, attempt)."""
    return [
        (line["step"], line["attempt"])
        for line in tree.ledger(execution_id)
        if line["step"].startswith("undo")
    ]


def results(execution: Any) -> list[tuple[str, str, str, str | None]]:
    """Return an execution's compensation results, errors by their type."""
    return [
        (
            each["step"],
            each["compensation"],
            each["status"],
            each["error"] and each["error"]["type"],
        )
        for each in execution.compensation_results
    ]
