"""Compensations through the tree: order, retries, failures and deaths at every place.

Every timer is set to an hour, so that only what is notified or noticed can have moved anything.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_otp import AlreadyFinished, Context, Durable, Retry, Workflow, WorkflowFailed, goto
from tests.support.postgres import fresh_schema
from tests.support.saga import results, saga, undone
from tests.support.sink import RETRY_AT_ONCE, note
from tests.support.tree import STILL, Tree, kill, running, still_queue
from tests.support.waiting import wait_until

FINE = [("two", "undo_two", "completed", None), ("one", "undo_one", "completed", None)]
LATER = Retry(max_attempts=2, backoff="constant", base=1.2, jitter=0)

loop = Workflow("loop")


@loop.step(compensate="cancel")
def book(ctx: Context) -> Any:
    return {"n": ctx.get("n", 0) + 1}


@loop.decision(targets=["book"])
def again(ctx: Context) -> Any:
    return goto("book") if ctx["n"] < 3 else None


@loop.step
def ship(ctx: Context) -> None:
    raise ValueError("no truck")


@loop.compensate
def cancel(ctx: Context) -> dict[str, Any]:
    note(ctx, ctx.idempotency_key.partition(":")[2])
    return {"cancelled": ctx["n"], "n": 99}


moving = Workflow("moving")


@moving.step(compensate="tidy")
def at_home(ctx: Context) -> None:
    note(ctx, "begun")


@moving.step(queue="slow")
def away(ctx: Context) -> None:
    raise ValueError("as told")


@moving.compensate
def tidy(ctx: Context) -> dict[str, Any]:
    return {"pid": os.getpid()}


WORKFLOWS = (
    saga(), loop, moving,
    saga("retried", undo_retry=RETRY_AT_ONCE),
    saga("later", undo_retry=LATER),
    saga("limited", undo_timeout=1.0),
    saga("slow_step", step_timeout=1.0),
    saga("once", max_crashes=1),
)  # fmt: skip


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    queues = {"default": still_queue(2), "slow": still_queue(1)}
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, *WORKFLOWS, queues=queues, **STILL) as tree,
    ):
        yield tree


def test_completed_steps_are_undone_newest_first_and_the_end_is_seen(tree: Tree) -> None:
    handle = tree.start("saga", three="raise", undo_two="print")
    with pytest.raises(WorkflowFailed) as failure:
        handle.result(timeout=30)
    assert failure.value.status == "compensated"
    assert (failure.value.error or {})["type"] == "ValueError"
    execution = handle.execution()
    assert results(execution) == FINE
    assert undone(tree, handle.id) == [("undo_two", 1), ("undo_one", 1)]
    assert [
        (s.path, s.name, s.type, s.is_compensation, s.compensation_for) for s in execution.steps
    ] == [
        ("one", "one", "step", False, None),
        ("two", "two", "step", False, None),
        ("three", "three", "step", False, None),
        ("two", "undo_two", "compensation", True, "two"),
        ("one", "undo_one", "compensation", True, "one"),
    ]
    assert execution.steps[3].logs[0]["message"] == "printed 1"
    assert execution.completed_at is not None
    assert (execution.error["type"], execution.output) == ("ValueError", None)
    assert "undo_two" not in execution.context


def test_success_and_failures_with_nothing_to_undo_run_no_handler(tree: Tree) -> None:
    fine, early = tree.start("saga"), tree.start("saga", one="raise")
    fine.result(timeout=30)
    assert tree.until(early, "failed").compensation_results == []
    assert undone(tree, fine.id) == undone(tree, early.id) == []


def test_each_visit_of_a_loop_is_undone_the_newest_first(tree: Tree) -> None:
    handle = tree.durable.start(loop, {"ledger": [tree.dsn, tree.schema]})
    execution = tree.until(handle, "compensated")
    assert [line["what"] for line in tree.ledger(handle.id, "%")] == [
        f"book:{visit}:cancel" for visit in (3, 2, 1)
    ]
    rows = [step for step in execution.steps if step.is_compensation]
    assert [(step.path, step.visit) for step in rows] == [("book", 3), ("book", 2), ("book", 1)]
    assert rows[0].output == {"cancelled": 3, "n": 99}
    assert execution.context["n"] == 3


def test_an_execution_that_fails_on_another_queue_is_undone_at_home(tree: Tree) -> None:
    handle = tree.durable.start(moving, {"ledger": [tree.dsn, tree.schema]})
    execution = tree.until(handle, "compensated")
    assert execution.queue == "default"
    assert execution.steps[-1].output["pid"] not in {each["pid"] for each in tree.workers("slow")}


def test_a_handler_is_retried_and_a_long_back_off_waits_in_the_database(tree: Tree) -> None:
    soon = tree.start("retried", three="raise", undo_two=["raise", "raise", "ok"])
    late = tree.start("later", three="raise", undo_two=["raise", "ok"])
    execution = tree.until(soon, "compensated")
    assert [s.attempt for s in execution.steps if s.name == "undo_two"] == [1, 2, 3]
    assert results(execution) == FINE
    wait_until(lambda: len(tree.recorded(late)) == 4)
    between = late.execution()
    assert (between.status, between.locked_by) == ("compensating", None)
    assert results(tree.until(late, "compensated")) == FINE


def test_a_handler_that_fails_is_shown_and_the_others_still_run(tree: Tree) -> None:
    handle = tree.start("saga", three="raise:KeyError", undo_two="raise")
    with pytest.raises(WorkflowFailed) as failure:
        handle.result(timeout=30)
    assert failure.value.status == "compensation_failed"
    assert (failure.value.error or {})["type"] == "KeyError"
    assert results(handle.execution()) == [
        ("two", "undo_two", "failed", "ValueError"),
        ("one", "undo_one", "completed", None),
    ]


def test_a_handler_that_waits_fails_and_does_not_wait(tree: Tree) -> None:
    handle = tree.start("saga", three="raise", undo_two="nap:60")
    execution = tree.until(handle, "compensation_failed")
    assert results(execution)[0] == ("two", "undo_two", "failed", "Fatal")
    assert tree.sql("SELECT id FROM {s}.waits WHERE execution_id = %s", handle.id) == []


def test_a_handlers_timeout_stops_it_and_the_others_run(tree: Tree) -> None:
    handle = tree.start("limited", three="raise", undo_two="hang:sleep")
    execution = tree.until(handle, "compensation_failed")
    assert results(execution) == [("two", "undo_two", "failed", "step_timeout"), FINE[1]]
    message = execution.compensation_results[0]["error"]["message"]
    assert message.startswith("Compensation 'undo_two' of step 'two' did not end within")


@pytest.mark.parametrize("handler", ["undo_one", "undo_two"])
@pytest.mark.parametrize("how", ["die:kill", "die:segv"])
def test_a_worker_that_dies_in_a_handler_is_replaced_and_that_handler_runs_again(
    tree: Tree, handler: str, how: str
) -> None:
    handle = tree.start("saga", three="raise", **{handler: [how, "ok"]})
    execution = tree.until(handle, "compensated", "compensation_failed")
    assert results(execution) == FINE
    expected = [("undo_two", 1), ("undo_one", 1)]
    index = [name for name, _ in expected].index(handler)
    expected.insert(index + 1, (handler, 2))
    assert undone(tree, handle.id) == expected
    crashed = next(s for s in execution.steps if s.is_compensation and s.error)
    assert (crashed.name, crashed.error["type"]) == (handler, "worker_crashed")
    assert f"in compensation '{handler}' of step" in crashed.error["message"]
    assert execution.crashes == 1


def test_a_handler_that_always_kills_its_worker_is_given_up_and_the_others_run(tree: Tree) -> None:
    handle = tree.start("saga", three="raise", undo_two="die:kill")
    execution = tree.until(handle, "compensation_failed", "compensated")
    assert results(execution) == [("two", "undo_two", "failed", "worker_crashed"), FINE[1]]
    assert undone(tree, handle.id) == [("undo_two", n) for n in (1, 2, 3)] + [("undo_one", 1)]
    assert execution.error["type"] == "ValueError"


def test_a_worker_killed_from_outside_in_each_handler_leaves_each_undone_once(
    tree: Tree, tmp_path: Path
) -> None:
    gates = {name: f"gate:{tmp_path / name}" for name in ("undo_two", "undo_one")}
    handle = tree.start("saga", three="raise", **gates)
    for name in gates:
        kill(tree.pid_in(handle, name))
        tree.pid_in(handle, name, runs=2)
        (tmp_path / name).touch()
    assert results(tree.until(handle, "compensated")) == FINE
    completed = tree.sql(
        "SELECT path FROM {s}.step_executions WHERE execution_id = %s AND is_compensation "
        "AND status = 'completed' ORDER BY position",
        handle.id,
    )
    assert [row["path"] for row in completed] == ["two", "one"]


def test_a_manager_killed_during_a_handler_is_an_interruption_and_it_is_resumed(
    tree: Tree, tmp_path: Path
) -> None:
    handle = tree.start("saga", three="raise", undo_one=f"gate_once:{tmp_path / 'gate'}")
    tree.pid_in(handle, "undo_one")
    manager = tree.manager()
    kill(manager["pid"])
    tree.replaced(manager["id"], manager["pid"])
    execution = tree.until(handle, "compensated")
    assert (execution.interruptions, execution.crashes) == (1, 0)
    assert undone(tree, handle.id) == [("undo_two", 1), ("undo_one", 1), ("undo_one", 1)]


def test_a_worker_killed_between_two_handlers_goes_on_with_the_next(tree: Tree) -> None:
    """The first attempt has failed and the second is to come: the death is charged to that one."""
    handle = tree.start("later", three="raise", undo_two=["raise", "die:kill", "ok"])
    execution = tree.until(handle, "compensated", "compensation_failed")
    assert results(execution) == FINE
    assert undone(tree, handle.id) == [
        ("undo_two", 1), ("undo_two", 2), ("undo_two", 3), ("undo_one", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("workflow", ["saga", "once"])
def test_a_step_that_always_kills_its_worker_is_compensated_for(tree: Tree, workflow: str) -> None:
    handle = tree.start(workflow, three="die:kill")
    execution = tree.until(handle, "compensated", "failed")
    assert (execution.status, execution.error["type"]) == ("compensated", "worker_crashed")
    assert results(execution) == FINE


def test_a_step_timeout_is_compensated_for(tree: Tree) -> None:
    handle = tree.start("slow_step", three="hang:sleep")
    execution = tree.until(handle, "compensated", "failed")
    assert (execution.status, execution.error["type"]) == ("compensated", "step_timeout")
    assert results(execution) == FINE


def test_a_late_word_to_an_earlier_holder_does_not_stop_the_compensation(
    tree: Tree, tmp_path: Path
) -> None:
    handle = tree.start("saga", three="raise", undo_one=f"gate:{tmp_path / 'gate'}")
    tree.pid_in(handle, "undo_one")
    earlier = f"{handle.id} 00000000-0000-4000-8000-000000000001"
    tree.sql(f"SELECT pg_notify('{tree.schema}:cancel', %s)", earlier)
    tree.start("saga").result(timeout=30)  # notified after it, so the manager has heard both
    (tmp_path / "gate").touch()
    assert results(tree.until(handle, "compensated")) == FINE
    assert undone(tree, handle.id) == [("undo_two", 1), ("undo_one", 1)]


def test_a_cancelled_execution_undoes_nothing(tree: Tree, tmp_path: Path) -> None:
    handle = tree.start("saga", three=f"gate:{tmp_path / 'never'}")
    tree.pid_in(handle, "three")
    handle.cancel()
    assert tree.until(handle, "cancelled").compensation_results == []
    tree.start("saga").result(timeout=30)
    assert undone(tree, handle.id) == []


def test_what_compensates_is_shown_counted_and_cannot_be_cancelled(
    tree: Tree, tmp_path: Path
) -> None:
    before = tree.durable.stats("default").compensated
    handle = tree.start("saga", three="raise", undo_one=f"gate:{tmp_path / 'gate'}")
    tree.pid_in(handle, "undo_one")
    with pytest.raises(AlreadyFinished, match="compensating"):
        handle.cancel()
    execution = wait_until(lambda: _shown_running(tree.durable, handle.id), what="begun handler")
    assert (execution.status, execution.completed_at) == ("compensating", None)
    assert results(execution) == FINE[:1]
    last = execution.steps[-1]
    assert (last.name, last.compensation_for, last.status) == ("undo_one", "one", "running")
    assert tree.durable.stats("default").compensating == 1
    (tmp_path / "gate").touch()
    tree.until(handle, "compensated")
    after = tree.durable.stats("default")
    assert (after.compensating, after.compensated) == (0, before + 1)


def _shown_running(durable: Durable, execution_id: str) -> Any:
    execution = durable.get_execution(execution_id, steps=True)
    return execution if execution.steps[-1].status == "running" else None


def test_one_that_is_interrupted_too_often_is_compensated_for(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    queues = {"default": still_queue(1)}
    with running(dsn, schema, saga(), queues=queues, max_interruptions=1, **STILL) as tree:
        handle = tree.start("saga", three=f"gate:{tmp_path / 'never'}")
        tree.pid_in(handle, "three")
        kill(tree.manager()["pid"])
        execution = tree.until(handle, "compensated", "failed")
    assert (execution.status, execution.error["type"]) == ("compensated", "interrupted_too_often")
    assert results(execution) == FINE
