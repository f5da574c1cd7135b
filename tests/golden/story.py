"""What the executions of a golden journal were doing, and what they are given when resumed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from durable_otp import Durable
from durable_otp.storage.database import Database
from durable_otp.storage.test_clock import advance
from durable_otp.workflow.execution import Execution
from tests.golden.workflows import WORKFLOWS
from tests.support.tree import HOUR, STILL, Tree, running
from tests.support.waiting import wait_until

BARRIER = Path("/tmp/durable-otp-golden-journal")  # is in every journal, and must not exist then
QUICK: dict[str, Any] = {
    **STILL,
    "node_timeout": 0.4,
    "stale_job_recovery": {"interval": 0.1},
    "sleep_waker": {"interval": 0.1},
    "wait_timeouts": {"interval": 0.1},
    "zombie_recovery": {"interval": HOUR},
}
WRITTEN_WITH: dict[str, Any] = {**QUICK, "node_timeout": HOUR}
HELD = ("steps", "blocks", "each", "saga", "loop")
WAITS = ("retrying", "sleeping", "mail", "timed", "approval", "parent")
INPUTS: dict[str, dict[str, Any]] = {"each": {"items": [1, 2, 3]}, "loop": {"kind": "long"}}
ENDED = ("completed", "failed", "cancelled", "compensated", "compensation_failed")


def begin(tree: Tree) -> dict[str, str]:
    """Bring one execution of each workflow to its interesting point; return their ids by name."""
    handles = {
        workflow.name: tree.durable.start(
            workflow, {"hold": str(BARRIER), **INPUTS.get(workflow.name, {})}
        )
        for workflow in WORKFLOWS
    }
    handles["mail"].send_event("lying", [1, 2])
    handles["mail"].send_event("early", {"n": 1})
    handles["finished"] = tree.durable.start("steps", {"hold": "/nowhere"})
    handles["finished"].result(timeout=30)
    wait_until(lambda: len(reached()) == len(HELD), what="the holds")
    tree.until(handles["retrying"], "pending")
    for name in set(WAITS) - {"retrying"}:
        tree.until(handles[name], "waiting")
    (child,) = wait_until(lambda: tree.durable.list_children(handles["parent"].id))
    wait_until(lambda: tree.durable.get_execution(child.id).status == "waiting")
    open_event = lambda: tree.durable.list_pending_events(handles["mail"].id)  # noqa: E731
    wait_until(lambda: [each.kind for each in open_event()] == ["any"])
    wait_until(lambda: tree.durable.list_pending_inputs(handles["approval"].id))
    return {name: handle.id for name, handle in handles.items()}


def reached() -> list[Path]:
    """Return which executions stand at the barrier."""
    return list(BARRIER.parent.glob(f"{BARRIER.name}.reached.*"))


@contextmanager
def barrier() -> Iterator[None]:
    """Hold whoever comes to a hold meanwhile."""
    BARRIER.touch()
    try:
        yield
    finally:
        BARRIER.unlink()
        for mark in reached():
            mark.unlink()


def resume(dsn: str, schema: str, ids: dict[str, str]) -> dict[str, Any]:
    """Run the executions of a schema to their ends; return what became of each."""
    database = Database(dsn, schema, role="test")
    database.run(advance, timedelta(days=2))
    database.close()
    with running(dsn, schema, *WORKFLOWS, queues={"default": 4}, **QUICK) as tree:
        tree.durable.send_event(ids["mail"], "late", {"n": 2})
        tree.durable.provide_input(ids["approval"], "boss", "approved")
        return {name: told(_ended(tree.durable, each)) for name, each in ids.items()}


def _ended(durable: Durable, execution_id: str) -> Execution:
    def ended() -> Execution | None:
        execution = durable.get_execution(execution_id, steps=True)
        return execution if execution.status in ENDED else None

    found = wait_until(ended, timeout=60, what=execution_id)
    assert found is not None
    return found


def told(execution: Execution) -> dict[str, Any]:
    """Return what must be the same whenever an execution is resumed: no ids, no times."""
    context = {key: value for key, value in (execution.context or {}).items() if key != "hold"}
    completed = [step for step in execution.steps or () if step.status == "completed"]
    return {
        "workflow": execution.workflow,
        "status": str(execution.status),
        "error": execution.error and execution.error["type"],
        "context": context,
        "completed": [[step.path, step.visit] for step in completed],
        "undone": [[each["step"], each["status"]] for each in execution.compensation_results],
    }
