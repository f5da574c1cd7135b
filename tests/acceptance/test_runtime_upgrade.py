"""A rolling upgrade: nodes with the old and nodes with the new code on one database."""

import os
import shutil
from pathlib import Path
from typing import Any

from durable_otp import Context, Durable, Workflow, call_workflow
from durable_otp.storage.migrator import Migrator, migrations_directory
from tests.support.tree import STILL, Tree, running, still_queue
from tests.support.waiting import wait_until

ONE: dict[str, Any] = {"queues": {"default": still_queue(1)}, **STILL}
TWO: dict[str, Any] = {"queues": {"default": still_queue(2)}, **STILL}


def held(ctx: Context) -> None:
    """Wait at the gate that the input names, saying so."""
    gate = Path(ctx.input["gate"])
    gate.with_suffix(f".{ctx.step}.held").touch()
    wait_until(gate.exists, timeout=60, what=str(gate))


def order(code: str, version: str = "1", *steps: str, name: str = "order") -> Workflow:
    """Return a workflow as one release has it: each step says whose code ran it, and where."""
    workflow = Workflow(name, version=version)
    for step in steps or ("take", "send"):

        @workflow.step(name=step)
        def body(ctx: Context) -> Any:
            if ctx.input.get("at") == ctx.step:
                held(ctx)
            ctx.append("ran", f"{ctx.step} of {code}")
            ctx.append("pids", os.getpid())

    return workflow


def pids(tree: Tree) -> set[int]:
    return {worker["pid"] for worker in tree.workers()}


def test_two_versions_run_side_by_side_and_each_execution_stays_on_its_own(
    dsn: str, schema: str
) -> None:
    old, new = order("old"), order("new", "2", "take", "check", "send")
    with running(dsn, schema, old, **TWO) as before, running(dsn, schema, new, **TWO) as after:
        by_old = [before.durable.start(old, {"n": n}) for n in range(10)]
        by_new = [after.durable.start(new, {"n": n}) for n in range(10)]
        by_name = before.durable.start("order", {})
        workers = {"old": pids(before), "new": pids(after)}
        for code, handles in (("old", by_old), ("new", by_new)):
            for handle in handles:
                ended = handle.result(timeout=30)
                assert {line.partition(" of ")[2] for line in ended["ran"]} == {code}
                assert set(ended["pids"]) <= workers[code]
        assert by_name.result(timeout=30)["ran"][1] == "check of new"
        assert before.durable.count_executions(status="completed") == 21


def test_the_same_version_with_other_code_goes_on_where_that_fits_and_says_where_it_does_not(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    """Nothing is guessed and nothing is lost: a retry goes on, on the code that has the step."""
    gate = tmp_path / "gates"
    gate.mkdir()
    hurried = {**TWO, "supervisor": {"shutdown_timeout": 0}, "interrupt_grace": 0}
    old = (order("old"), order("old", name="parcel"))
    with running(dsn, schema, *old, **hurried) as before:
        longer, renamed = (
            before.durable.start(each, {"at": "send", "gate": str(gate / each.name)})
            for each in old
        )
        wait_until(lambda: len(list(gate.glob("*.send.held"))) == 2)
    for each in old:
        (gate / each.name).touch()
    new = (
        order("new", "1", "take", "send", "bill"),
        order("new", "1", "take", "ship", name="parcel"),
    )
    with running(dsn, schema, *new, **TWO) as after:
        ended = after.own(longer).result(timeout=30)
        assert ended["ran"] == ["take of old", "send of new", "bill of new"]
        execution = after.own(longer).execution()
        assert (execution.crashes, execution.interruptions) == (0, 0)
        failed = after.until(after.own(renamed), "failed")
        assert failed.error["type"] == "definition_changed"
        assert "send" in failed.error["message"]
    with running(dsn, schema, order("mended", name="parcel"), **ONE) as mended:
        mended.durable.retry(renamed.id)
        assert mended.own(renamed).result(timeout=30)["ran"] == ["take of old", "send of mended"]


def test_a_name_that_a_node_does_not_know_waits_for_one_that_does(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    old, new = order("old"), Workflow("invoice")

    @new.step
    def write(ctx: Context) -> Any:
        if "gate" in ctx.input:
            held(ctx)
        return {"by": os.getpid()}

    with running(dsn, schema, old, **TWO) as before, running(dsn, schema, new, **ONE) as after:
        first = after.durable.start(new, {"gate": str(gate)})
        wait_until(lambda: gate.with_suffix(".write.held").exists())
        second = before.durable.start("invoice", {})  # the only node that knows it is busy
        for n in range(5):  # and the other one looks at the queue meanwhile
            before.durable.start(old, {"n": n}).result(timeout=30)
        waiting = second.execution()
        assert (waiting.status, waiting.started_at) == ("pending", None)
        assert (waiting.crashes, waiting.interruptions) == (0, 0)
        gate.touch()
        assert second.result(timeout=30)["by"] in pids(after)
        assert first.result(timeout=30)["by"] in pids(after)


def test_a_child_whose_workflow_only_the_new_node_knows_waits_for_it(dsn: str, schema: str) -> None:
    child, parent = order("new", "1", "take"), Workflow("parent")

    @parent.step
    def delegate(ctx: Context) -> Any:
        return {"child": call_workflow("order", {})["ran"]}

    with Durable(dsn, schema=schema) as durable, running(dsn, schema, parent, **ONE) as before:
        durable.start(child, {}, scheduled_at=None).cancel()  # so that the name is published
        handle = before.durable.start(parent, {})
        waiting = before.until(handle, "waiting")
        (called,) = before.durable.list_children(waiting.id)
        assert called.status == "pending"
        with running(dsn, schema, child, **ONE) as after:
            assert after.durable.get_execution(called.id).crashes == 0
            assert handle.result(timeout=30)["child"] == ["take of new"]


def test_a_node_goes_on_while_a_later_version_adds_to_the_schema(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    """The next version's migration runs beside the nodes of this one, which notice nothing."""
    later = tmp_path / "migrations"
    shutil.copytree(migrations_directory(), later)
    number = Migrator(dsn, schema).newest_version + 1
    tables = ("workflow_executions", "step_executions", "waits", "events", "definitions", "nodes")
    (later / f"{number:04}_later.up.sql").write_text(
        "".join(f"ALTER TABLE durable.{table} ADD COLUMN later text;\n" for table in tables)
    )
    (later / f"{number:04}_later.down.sql").write_text("SELECT 1;\n")
    gate = tmp_path / "gate"
    with running(dsn, schema, order("old"), **TWO) as tree:
        for n in range(3):  # every statement has been prepared
            tree.durable.start("order", {"n": n}).result(timeout=30)
        handle = tree.durable.start("order", {"at": "take", "gate": str(gate)})
        wait_until(lambda: gate.with_suffix(".take.held").exists())
        Migrator(dsn, schema, directory=later).migrate()
        gate.touch()
        assert handle.result(timeout=30)["ran"] == ["take of old", "send of old"]
        for n in range(5):
            ended = tree.durable.start("order", {"n": n})
            assert ended.result(timeout=30)["ran"] == ["take of old", "send of old"]
            assert (ended.execution().crashes, ended.execution().interruptions) == (0, 0)
        assert len(ended.execution().steps) == 2
