"""Versions of one workflow side by side: an execution stays on the code that started it."""

from pathlib import Path
from typing import Any

from durable_otp import Context, Durable, Workflow
from durable_otp.storage.overview import pending_workflows
from durable_otp.storage.pool import PooledDatabase
from tests.support.tree import STILL, prepare, running, still_queue
from tests.support.waiting import wait_until


def ship(version: str) -> Workflow:
    workflow = Workflow("ship", version=version)

    @workflow.step
    def load(ctx: Context) -> Any:
        gate = ctx.input.get("gate")
        if gate is not None:
            Path(gate).with_suffix(".held").touch()
            wait_until(lambda: Path(gate).exists(), timeout=60)

    @workflow.step
    def sail(ctx: Context) -> Any:
        return {"sailed_by": version}

    return workflow


def test_each_execution_runs_on_the_version_that_started_it(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    first, second, third = ship("10"), ship("9"), ship("11")
    gate = tmp_path / "gate"
    with running(dsn, schema, first, second, queues={"default": still_queue(1)}, **STILL) as tree:
        old = tree.durable.start(first, {"gate": str(gate)})
        wait_until(lambda: gate.with_suffix(".held").exists())
        by_name = tree.durable.start("ship", {})  # the one registered last, whatever it is called
        unknown = tree.durable.start(third, {})
        newest = tree.durable.start("ship", {})
        fork = tree.durable.fork(old.id, "load")
        gate.touch()
        assert old.result(timeout=30)["sailed_by"] == "10"
        assert by_name.result(timeout=30)["sailed_by"] == "9"
        assert fork.result(timeout=30)["sailed_by"] == "10"
        assert [handle.execution().version for handle in (old, by_name)] == ["10", "9"]
        database = PooledDatabase(dsn, schema)
        waiting = [dict(vars(each)) for each in database.run(pending_workflows)]
        database.close()
        assert [each["version"] for each in waiting] == ["11"]
        for handle in (unknown, newest):
            execution = handle.execution()
            assert (execution.status, execution.version) == ("pending", "11")
            assert (execution.started_at, execution.crashes, execution.interruptions) == (
                None, 0, 0,
            )  # fmt: skip
    with running(dsn, schema, third, queues={"default": still_queue(1)}, **STILL) as tree:
        for handle in (unknown, newest):
            assert tree.own(handle).result(timeout=30)["sailed_by"] == "11"


def test_a_version_that_is_started_again_does_not_become_the_newest(dsn: str, schema: str) -> None:
    prepare(dsn, schema)
    newest = []
    for version in ("1", "2", "1"):
        with Durable(dsn, schema=schema) as durable:
            durable.start(ship(version), {})
            newest.append(durable.start("ship", {}).execution().version)
    assert newest == ["1", "2", "2"]
