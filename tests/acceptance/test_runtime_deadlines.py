"""Workflow deadlines through the tree: running, waiting, pending; waits closed, children cancelled.

Every timer is set to an hour: an earlier deadline is notified, and whoever ends what is overdue
sleeps exactly until the next one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_otp import Runtime, WorkflowFailed
from tests.support.postgres import fresh_schema
from tests.support.saga import results, saga, undone
from tests.support.sink import given, sink
from tests.support.tree import STILL, Tree, is_gone, paused, running, still_queue
from tests.support.waiting import wait_until

LIMIT = 1.0
UNDONE = [("two", "undo_two", "completed", None), ("one", "undo_one", "completed", None)]


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    workflows = (saga(timeout=LIMIT), sink(max_crashes=1), sink("hasty", timeout=LIMIT))
    with (
        fresh_schema(postgres_dsn) as schema,
        running(
            postgres_dsn, schema, *workflows, queues={"default": still_queue(2)}, **STILL
        ) as tree,
    ):  # fmt: skip
        yield tree


def test_a_running_body_is_stopped_and_what_was_done_is_undone(tree: Tree) -> None:
    handle = tree.start("saga", three="hang:sleep")
    worker = tree.pid_in(handle, "three")
    with pytest.raises(WorkflowFailed) as failure:
        handle.result(timeout=30)
    assert failure.value.status == "compensated"
    assert failure.value.error == {
        "type": "workflow_timeout",
        "message": "Workflow 'saga' did not end within its timeout of 1 s.",
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
    execution = tree.until(handle, "failed")
    assert (execution.error["type"], execution.crashes) == ("workflow_timeout", 0)
    wait_until(lambda: is_gone(worker))
    tree.start("sink").result(timeout=30)


def test_waiting_is_included(tree: Tree) -> None:
    handle = tree.start("saga", two="nap:3600")
    tree.until(handle, "waiting")
    execution = tree.until(handle, "compensated", "failed")
    assert (execution.status, execution.error["type"]) == ("compensated", "workflow_timeout")
    assert results(execution) == UNDONE[1:]
    waits = tree.sql("SELECT status FROM {s}.waits WHERE execution_id = %s", handle.id)
    assert waits == [{"status": "cancelled"}]


def test_one_that_nobody_has_claimed_fails_as_well(tree: Tree) -> None:
    with paused(tree):
        handle = tree.start("hasty")
        execution = tree.until(handle, "failed")
    assert (execution.error["type"], execution.started_at) == ("workflow_timeout", None)
    tree.start("sink").result(timeout=30)
    assert tree.bodies(handle) == []


def test_one_that_ends_in_time_is_left_alone(tree: Tree) -> None:
    quick, slow = tree.start("hasty"), tree.start("hasty", one="nap:3600")
    assert quick.result(timeout=30)["three"] == 1
    tree.until(slow, "failed")
    assert quick.status() == "completed"


def test_its_children_are_cancelled_and_their_bodies_stopped(tree: Tree, tmp_path: Path) -> None:
    parent = tree.start("hasty", one="nap:3600")
    child = tree.start("sink", one="hang:sleep")
    tree.pid_in(child)
    tree.sql(
        "UPDATE {s}.workflow_executions SET parent_id = %s WHERE id = %s RETURNING id",
        parent.id,
        child.id,
    )
    tree.until(parent, "failed")
    assert tree.until(child, "cancelled").error["type"] == "cancelled"
    wait_until(lambda: tree.ledger(child.id, "finally"), what="the child's body to leave")


def test_a_compensation_has_no_deadline(tree: Tree, tmp_path: Path) -> None:
    handle = tree.start("saga", three="hang:sleep", undo_one=f"gate:{tmp_path / 'gate'}")
    tree.pid_in(handle, "undo_one")
    other = tree.start("hasty", one="nap:3600")  # its deadline is a second after the first one's
    tree.until(other, "failed")
    assert handle.status() == "compensating"
    (tmp_path / "gate").touch()
    assert results(tree.until(handle, "compensated")) == UNDONE


def test_a_deadline_that_passed_while_no_node_ran_ends_it_at_the_next_start(
    dsn: str, schema: str
) -> None:
    hasty = sink("hasty", timeout=LIMIT)
    settings: dict[str, Any] = {"queues": {"default": still_queue(1)}, **STILL}
    with running(dsn, schema, hasty, **settings) as tree:
        tree.runtime.stop()
        handle = tree.durable.start(hasty, given(dsn, schema))
        wait_until(
            lambda: tree.sql("SELECT FROM {s}.workflow_executions WHERE deadline_at < now()")
        )
        with Runtime(dsn=dsn, schema=schema, workflows=[hasty], **settings):
            tree.until(handle, "failed", "completed")
