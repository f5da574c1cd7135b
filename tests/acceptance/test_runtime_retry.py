"""Executions that go on after their end, and ones that begin in the middle, in the real tree."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_otp import (
    AsyncDurable,
    Context,
    ExecutionNotFound,
    NotForkable,
    NotRetryable,
    Workflow,
    WorkflowFailed,
    sleep,
)
from tests.support.postgres import fresh_schema
from tests.support.sink import RETRY_AT_ONCE, note, sink
from tests.support.tree import STILL, Tree, running, still_queue
from tests.support.waiting import wait_until

NOBODY = "00000000-0000-7000-8000-000000000000"
patient = Workflow("patient", timeout=3600)


@patient.step
def before(ctx: Context) -> Any:
    note(ctx, "begun")
    return {"before": True}


@patient.step
def rest(ctx: Context) -> Any:
    note(ctx, "begun")
    if not Path(ctx.input["mark"]).exists():
        sleep(3600)
    return {"rested": ctx.attempt}


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(
            postgres_dsn, schema, sink(), sink("once", max_crashes=1),
            sink("eager", retry=RETRY_AT_ONCE), patient,
            queues={"default": still_queue(2)}, **STILL,
        ) as tree,
    ):  # fmt: skip
        yield tree


def test_a_failed_execution_goes_on_at_the_step_that_failed(tree: Tree) -> None:
    handle = tree.start(two=["raise", "ok"])
    assert tree.until(handle, "failed").error["type"] == "ValueError"
    handle.retry()
    output = handle.result(timeout=30)
    assert (output["one"], output["two"], output["three"]) == (1, 2, 1)
    assert tree.bodies(handle) == [("one", 1), ("two", 1), ("two", 2), ("three", 1)]
    execution = handle.execution()
    assert (execution.error, execution.status) == (None, "completed")
    assert [(s.path, s.attempt, s.status) for s in execution.steps] == [
        ("one", 1, "completed"), ("two", 1, "failed"), ("two", 2, "completed"),
        ("three", 1, "completed"),
    ]  # fmt: skip
    with pytest.raises(NotRetryable, match="is completed"):
        handle.retry()


def test_a_retried_step_has_all_its_attempts_again(tree: Tree) -> None:
    handle = tree.start("eager", two=["raise"] * 5 + ["ok"])
    tree.until(handle, "failed")
    assert [step for step, _ in tree.bodies(handle)] == ["one", "two", "two", "two"]
    tree.durable.retry(handle.id)
    assert handle.result(timeout=30)["two"] == 6


def test_an_execution_whose_worker_crashed_once_too_often_goes_on(tree: Tree) -> None:
    handle = tree.start("once", two=["die:kill", "die:kill", "ok"])
    for crashes in (1, 2):
        assert tree.until(handle, "failed").error["type"] == "worker_crashed"
        assert handle.execution().crashes == crashes
        handle.retry()
    assert handle.result(timeout=30)["two"] == 3
    assert [step for step, _ in tree.bodies(handle)] == ["one", "two", "two", "two", "three"]


def test_an_execution_that_was_cancelled_while_it_waited_asks_afresh(
    tree: Tree, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    handle = tree.durable.start(patient, {"mark": str(mark), "ledger": [tree.dsn, tree.schema]})
    seen = set()
    for _ in range(2):
        tree.until(handle, "waiting")
        (wait,) = tree.sql("SELECT * FROM {s}.waits WHERE execution_id = %s", handle.id)
        assert (wait["status"], wait["id"] in seen) == ("open", False)
        seen.add(wait["id"])
        handle.cancel("too slow")
        assert handle.execution().error["type"] == "cancelled"
        handle.retry()
    tree.until(handle, "waiting")
    handle.cancel()
    mark.touch()
    handle.retry()
    assert handle.result(timeout=30)["rested"] == 1
    assert [step for step, _ in tree.bodies(handle)].count("before") == 1


def test_a_fork_runs_from_its_step_on_with_the_context_of_before(tree: Tree) -> None:
    handle = tree.start()
    output = handle.result(timeout=30)
    forks = {step: tree.durable.fork(handle.id, step) for step in ("one", "two", "three")}
    for number, fork in enumerate(forks.values()):
        assert fork.id != handle.id
        assert fork.result(timeout=30) == output
        bodies = [("one", 1), ("two", 1), ("three", 1)]
        assert tree.bodies(fork) == bodies[number:]
        assert [s.path for s in fork.execution().steps] == ["one", "two", "three"]
    assert len(tree.bodies(handle)) == 3


def test_a_fork_of_a_running_and_of_a_failed_execution(tree: Tree, tmp_path: Path) -> None:
    busy = tree.start(two=f"gate:{tmp_path / 'open'}")
    tree.pid_in(busy, "two")
    fork = tree.durable.fork(busy.id, "two")
    tree.pid_in(fork, "two")
    assert tree.bodies(fork) == [("two", 1)]
    with pytest.raises(NotForkable, match="from these: one, two"):
        tree.durable.fork(busy.id, "three")
    (tmp_path / "open").touch()
    assert busy.result(timeout=30).keys() == fork.result(timeout=30).keys()
    failed = tree.start(two=["raise", "ok"])
    tree.until(failed, "failed")
    again = tree.durable.fork(failed.id, "two")
    assert tree.until(again, "failed").steps[-1].attempt == 1  # its attempts are its own
    again.retry()
    assert again.result(timeout=30)["two"] == 2
    assert failed.status() == "failed"


def test_the_asyncio_client_does_the_same(tree: Tree) -> None:
    async def story() -> None:
        async with AsyncDurable(tree.dsn, schema=tree.schema) as durable:
            handle = await durable.start("sink", tree.start().execution().input | {
                "actions": {"two": ["raise", "ok"]}
            })  # fmt: skip
            with pytest.raises(WorkflowFailed):
                await handle.result(30)
            await handle.retry()
            assert (await handle.result(30))["two"] == 2
            fork = await durable.fork(handle.id, "three")
            assert (await fork.result(30))["three"] == 1
            for call in (durable.retry(NOBODY), durable.fork(NOBODY, "one")):
                with pytest.raises(ExecutionNotFound):
                    await call
            assert await durable.delete_executions(3600, dry_run=True) == 0
            assert await durable.delete_executions(0, "completed", dry_run=True) >= 2
            with pytest.raises(ValueError, match="final"):
                await durable.delete_executions(0, "running")

    asyncio.run(story())


def test_a_retry_is_told_to_whoever_waits(tree: Tree) -> None:
    handle = tree.start(one=["raise", "raise", "ok"])
    for _ in range(2):
        tree.until(handle, "failed")
        handle.retry()
    wait_until(lambda: handle.status() == "completed")  # no poll of the queue could have found it
