"""Workflow deadlines through the tree: running, waiting, pending; waits closed, children cancelled.

The schema's clock is moved past the deadline once an execution is where it is wanted. Every timer
is set to an hour: whoever ends what is overdue is told.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from durable_otp import Durable, Runtime, Workflow, WorkflowFailed
from durable_otp.storage import test_clock
from durable_otp.storage.database import Database
from durable_otp.storage.migrator import Migrator
from tests.support.postgres import fresh_schema
from tests.support.saga import results, saga, undone
from tests.support.sink import STEPS, given, perform, sink
from tests.support.tree import STILL, Tree, is_gone, paused, prepare, running, still_queue
from tests.support.waiting import wait_until

LIMIT = 3600.0
DAYS = "nap:864000"
QUEUES = {"default": still_queue(2)}
UNDONE = [("two", "undo_two", "completed", None), ("one", "undo_one", "completed", None)]


def plain(name: str, timeout: float) -> Workflow:
    """Return a workflow with a deadline and nothing to undo."""
    workflow = Workflow(name, timeout=timeout)
    for step in STEPS:
        workflow.step(name=step)(perform)
    return workflow


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    workflows = (saga(timeout=LIMIT), sink(), plain("hasty", LIMIT), saga("brief", timeout=1.0))
    with fresh_schema(postgres_dsn) as schema:
        Migrator(postgres_dsn, schema).migrate(test_clock=True)
        with running(postgres_dsn, schema, *workflows, queues=QUEUES, **STILL) as tree:
            yield tree


def pass_deadlines(tree: Tree) -> None:
    """Let an hour pass."""
    database = Database(tree.dsn, tree.schema, role="test")
    database.run(test_clock.advance, timedelta(hours=1))
    database.close()


def test_a_running_body_is_stopped_and_what_was_done_is_undone(tree: Tree) -> None:
    handle = tree.start("saga", three="hang:sleep")
    worker = tree.pid_in(handle, "three")
    pass_deadlines(tree)
    with pytest.raises(WorkflowFailed) as failure:
        handle.result(timeout=30)
    assert failure.value.status == "compensated"
    assert failure.value.error == {
        "type": "workflow_timeout",
        "message": "Workflow 'saga' did not end within its timeout of 3600 s.",
        "stacktrace": None,
    }
    execution = handle.execution()
    assert results(execution) == UNDONE
    assert undone(tree, handle.id) == [("undo_two", 1), ("undo_one", 1)]
    assert [line["what"] for line in tree.ledger(handle.id, "finally")] == ["finally"]
    assert not is_gone(worker)
    assert execution.crashes == execution.interruptions == 0
    wait_until(lambda: len(tree.idle()) == 3, what="every worker idle again")


def test_a_body_in_c_is_killed_at_the_deadline_and_nothing_is_charged(tree: Tree) -> None:
    handle = tree.start("hasty", one="hang:c")
    worker = tree.pid_in(handle)
    pass_deadlines(tree)
    execution = tree.until(handle, "failed")
    assert (execution.error["type"], execution.crashes) == ("workflow_timeout", 0)
    wait_until(lambda: is_gone(worker))
    tree.start("sink").result(timeout=30)


def test_waiting_is_included(tree: Tree) -> None:
    handle = tree.start("saga", two=DAYS)
    tree.until(handle, "waiting")
    pass_deadlines(tree)
    execution = tree.until(handle, "compensated", "failed")
    assert (execution.status, execution.error["type"]) == ("compensated", "workflow_timeout")
    assert results(execution) == UNDONE[1:]
    waits = tree.sql("SELECT status FROM {s}.waits WHERE execution_id = %s", handle.id)
    assert waits == [{"status": "cancelled"}]


def test_one_that_nobody_has_claimed_fails_as_well(tree: Tree) -> None:
    with paused(tree):
        handle = tree.start("hasty")
        pass_deadlines(tree)
        execution = tree.until(handle, "failed")
    assert (execution.error["type"], execution.started_at) == ("workflow_timeout", None)
    tree.start("sink").result(timeout=30)
    assert tree.bodies(handle) == []


def test_one_that_ends_in_time_is_left_alone(tree: Tree) -> None:
    quick, slow = tree.start("hasty"), tree.start("hasty", one=DAYS)
    assert quick.result(timeout=30)["three"] == 1
    tree.until(slow, "waiting")
    pass_deadlines(tree)
    tree.until(slow, "failed")
    assert quick.status() == "completed"


def test_an_earlier_deadline_is_noticed_by_itself(tree: Tree) -> None:
    handle = tree.start("brief", two=DAYS)
    execution = tree.until(handle, "compensated", "failed")
    assert execution.error["type"] == "workflow_timeout"


def test_its_children_are_cancelled_and_their_bodies_stopped(tree: Tree) -> None:
    parent = tree.start("hasty", one=DAYS)
    tree.until(parent, "waiting")
    child = tree.start("sink", one="hang:sleep")
    tree.pid_in(child)
    tree.sql(
        "UPDATE {s}.workflow_executions SET parent_id = %s WHERE id = %s RETURNING id",
        parent.id,
        child.id,
    )
    pass_deadlines(tree)
    tree.until(parent, "failed")
    assert tree.until(child, "cancelled").error["type"] == "cancelled"
    wait_until(lambda: tree.ledger(child.id, "finally"), what="the child's body to leave")


def test_a_compensation_has_no_deadline(tree: Tree, tmp_path: Path) -> None:
    handle = tree.start("saga", three="hang:sleep", undo_one=f"gate:{tmp_path / 'gate'}")
    tree.pid_in(handle, "three")
    pass_deadlines(tree)
    tree.pid_in(handle, "undo_one")
    other = tree.start("hasty", one=DAYS)
    tree.until(other, "waiting")
    pass_deadlines(tree)
    tree.until(other, "failed")
    assert handle.status() == "compensating"
    (tmp_path / "gate").touch()
    assert results(tree.until(handle, "compensated")) == UNDONE


def test_a_deadline_that_passed_while_no_node_ran_ends_it_at_the_next_start(
    dsn: str, schema: str
) -> None:
    hasty = plain("hasty", 0.1)
    prepare(dsn, schema)
    settings: dict[str, Any] = {"queues": QUEUES, **STILL}
    with Durable(dsn, schema=schema) as durable:
        handle = durable.start(hasty, given(dsn, schema, one=DAYS))
        with Runtime(dsn=dsn, schema=schema, workflows=[hasty], **settings):
            wait_until(lambda: handle.status() == "failed")
        assert (handle.execution().error or {})["type"] == "workflow_timeout"
