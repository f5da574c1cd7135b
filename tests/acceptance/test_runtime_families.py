"""Called workflows through the tree, and every way in which a child can end.

The sleep waker's rounds are short here: they find what nobody told of.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from durable_otp import (
    ChildFailed,
    Context,
    Retry,
    WaitTimeout,
    Workflow,
    WorkflowFailed,
    call_workflow,
    default_adapter,
    start_workflow,
)
from tests.support.postgres import fresh_schema
from tests.support.sink import note, perform
from tests.support.tree import STILL, Tree, running, still_queue
from tests.support.waiting import wait_until

AT_ONCE = Retry(max_attempts=2, backoff="constant", base=0, jitter=0)

leaf = Workflow("leaf", max_crashes=1)
leaf.step(name="leaf")(perform)

middle = Workflow("middle")
middle.step(name="middle")(lambda ctx: {"leaf": call_workflow("leaf", ctx.input)["leaf"] + 1})

top = Workflow("top")
top.step(name="top")(lambda ctx: {"middle": call_workflow(middle, ctx.input)["leaf"] + 1})

caller = Workflow("caller")


@caller.step
def call(ctx: Context) -> Any:
    try:
        got = call_workflow(leaf, ctx.input, **ctx.input.get("options", {}))
        return {"got": got if isinstance(got, str) else got["leaf"]}
    except ChildFailed as failed:
        return {"failed": [failed.status, failed.error["type"], failed.execution_id]}
    except WaitTimeout:
        return {"late": True}


again = Workflow("again", retry=AT_ONCE)


@again.step
def twice(ctx: Context) -> Any:
    kept = call_workflow(leaf, {**ctx.input, "actions": {}})["leaf"]
    if ctx.attempt == 1:
        call_workflow(leaf, {**ctx.input, "actions": {"leaf": "raise"}})
    return {
        "kept": kept,
        "second": call_workflow(leaf, {**ctx.input, "actions": {}}, ref="x")["leaf"],
    }


forgetful = Workflow("forgetful")


@forgetful.step
def fire(ctx: Context) -> Any:
    started = start_workflow("leaf", {**ctx.input, "actions": {}}, queue="parked")
    note(ctx, f"started {started}")
    if ctx.attempt == 1:
        os.kill(os.getpid(), 9)
    return {"started": started, "same": start_workflow("leaf", {**ctx.input}, ref="r",
                                                       queue="parked")}  # fmt: skip


lost = Workflow("lost")
lost.step(name="one")(lambda: call_workflow("nobody knows"))

block = Workflow("block", max_crashes=1)
with block.parallel(name="both", on_error="complete_all"):
    block.step(name="left")(perform)
    block.step(name="right", queue="parked")(perform)
block.step(name="after")(
    lambda ctx: {name: result.stored() for name, result in ctx.results.items()}
)


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    workflows = (leaf, middle, top, caller, again, forgetful, lost, block)
    settings = {**STILL, "wait_timeouts": {"interval": "100ms"}}
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, *workflows, queues={"default": still_queue(3)},
                **settings) as tree,
    ):  # fmt: skip
        yield tree


def test_calls_nest(tree: Tree) -> None:
    handle = tree.start("top")
    assert handle.result(timeout=30)["middle"] == 3
    (child,) = tree.durable.list_children(handle.id)
    (grandchild,) = tree.durable.list_children(child.id, "completed")
    assert (child.workflow, grandchild.workflow) == ("middle", "leaf")
    (step,) = handle.execution().steps
    assert (step.child_id, step.attempt) == (child.id, 1)


def test_a_completed_child_is_kept_and_a_failed_one_called_afresh(tree: Tree) -> None:
    handle = tree.start("again")
    result = handle.result(timeout=30)
    assert (result["kept"], result["second"]) == (1, 1)
    statuses = [str(child.status) for child in tree.durable.list_children(handle.id)]
    assert statuses == ["completed", "failed", "completed"]
    first, second = handle.execution().steps
    assert (first.error["type"], second.status) == ("ChildFailed", "completed")


def test_a_failed_child_is_told_with_its_error(tree: Tree) -> None:
    handle = tree.start("caller", leaf="raise:KeyError")
    status, kind, child = handle.result(timeout=30)["failed"]
    assert (status, kind) == ("failed", "KeyError")
    assert [each.id for each in tree.durable.list_children(handle.id)] == [child]


def test_a_call_past_its_time_cancels_the_child_and_goes_on(tree: Tree) -> None:
    for more, key, value in [({}, "late", True), ({"timeout_value": "none"}, "got", "none")]:
        options = {"timeout": 0.2, **more}
        handle = tree.durable.start(
            caller,
            {"ledger": None, "actions": {"leaf": "hang:sleep"}, "options": options},
        )
        assert handle.result(timeout=30)[key] == value
        (child,) = tree.durable.list_children(handle.id)
        assert child.status == "cancelled"


def test_what_is_started_is_started_once_over_a_crash_and_outlives_its_starter(
    tree: Tree,
) -> None:
    handle = tree.start("forgetful")
    result = handle.result(timeout=30)
    started = {line["what"] for line in tree.ledger(handle.id, "started%")}
    assert started == {f"started {result['started']}"}
    assert result["same"] != result["started"]
    assert tree.durable.list_children(handle.id) == []
    parked = tree.durable.list_executions(queue="parked", workflow="leaf")
    assert {each.id for each in parked} == {result["started"], result["same"]}
    assert {each.parent_id for each in parked} == {None}


def running_below(tree: Tree, parent: str) -> list[Any]:
    """Return the grandchildren that run."""
    children = tree.durable.list_children(parent)
    return [leaf for child in children for leaf in tree.durable.list_children(child.id, "running")]


def test_a_cancel_reaches_every_descendant(tree: Tree) -> None:
    handle = tree.start("top", leaf="hang:sleep")
    wait_until(lambda: running_below(tree, handle.id), what="the leaf")
    handle.cancel("enough")
    (child,) = tree.durable.list_children(handle.id)
    (grandchild,) = tree.durable.list_children(child.id)
    assert (handle.status(), child.status, grandchild.status) == ("cancelled",) * 3
    assert grandchild.error == {"type": "cancelled", "message": "enough"}


def cancel_it(tree: Tree, child: str) -> str:
    tree.durable.cancel(child, "by hand")
    return "cancelled"


def nack_it(tree: Tree, child: str) -> str:
    with default_adapter(tree.dsn, schema=tree.schema) as adapter:
        (job,) = [job for job in adapter.fetch_jobs("parked", 10, "test") if job.id == child]
        adapter.nack(job.id, "no", job.lock_token)
    return "error"


def write_it(tree: Tree, child: str) -> str:
    tree.sql(
        "UPDATE {s}.workflow_executions SET status = 'failed', completed_at = now(), "
        "error = %s WHERE id = %s",
        '{"type": "zombie_detected", "message": "m"}',
        child,
    )
    return "zombie_detected"


@pytest.mark.parametrize("end", [cancel_it, nack_it, write_it])
def test_whoever_ends_a_child_its_parent_goes_on(tree: Tree, end: Any) -> None:
    handle = tree.start("block", left="die:kill")

    def children() -> Any:
        found = tree.durable.list_children(handle.id)
        return found if len(found) == 2 and found[0].status == "failed" else None

    left, right = wait_until(children, what="the crash of one child") or ()
    assert handle.status() == "waiting"
    kind = end(tree, right.id)
    result = handle.result(timeout=30)
    assert [result[name][1]["type"] for name in ("left", "right")] == ["worker_crashed", kind]
    assert left.crashes == 1


def test_a_workflow_that_nobody_knows_fails_its_caller(tree: Tree) -> None:
    handle = tree.durable.start(lost)
    with pytest.raises(WorkflowFailed) as raised:
        handle.result(timeout=30)
    assert raised.value.error["type"] == "WorkflowNotFound"
    assert tree.durable.list_children(handle.id) == []
