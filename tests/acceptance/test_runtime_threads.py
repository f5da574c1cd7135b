"""``threads`` above 1: several executions share a worker process, and little else but its fate."""

import asyncio
import contextvars
import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from durable_otp import (
    Context,
    NotInStepError,
    Workflow,
    current_step,
    execution_id,
    once,
    sleep,
    wait_for_event,
)
from durable_otp.client.handle import Handle
from durable_otp.dashboard.tree_rows import rows_of
from tests.support.postgres import fresh_schema
from tests.support.sink import given, note, sink
from tests.support.tree import STILL, Tree, is_gone, kill, running, still_queue
from tests.support.waiting import wait_until

TWO = ("one", "two")
SOON = 60.0
SHARED = still_queue(4, threads=4)

mixed = Workflow("mixed")


@mixed.step
def speak(ctx: Context) -> dict[str, Any]:
    for number in range(20):
        print(ctx.execution_id, number)
        time.sleep(0.001)
    logging.getLogger("shop").warning("%s logged", execution_id())
    return {"kept": once("key", lambda: ctx.execution_id), "pid": os.getpid()}


@mixed.step
def help_out(ctx: Context) -> dict[str, Any]:
    found: list[Any] = []

    def look() -> None:
        try:
            found.append((current_step(), execution_id()))
            print("helper of", execution_id())
        except NotInStepError as error:
            found.append("copy_context" in str(error))

    for target, args in ((contextvars.copy_context().run, (look,)), (look, ())):
        helper = threading.Thread(target=target, args=args)
        helper.start()
        helper.join()
    return {"helped": found}


@mixed.step
async def gather(ctx: Context) -> dict[str, Any]:
    async def one(number: int) -> tuple[int, str]:
        await asyncio.sleep(0.01)
        return number, execution_id()

    return {"gathered": await asyncio.gather(*(one(number) for number in range(3)))}


@mixed.step
def wait(ctx: Context) -> dict[str, Any]:
    sleep(0.05)
    return {"event": wait_for_event("go")}


with mixed.parallel("both"):

    @mixed.step
    def left(ctx: Context) -> dict[str, Any]:
        return {"left": execution_id()}

    @mixed.step
    def right(ctx: Context) -> dict[str, Any]:
        return {"right": execution_id()}


idle = Workflow("idle")


@idle.step
async def rest(ctx: Context) -> None:
    note(ctx, "begun")
    try:
        await asyncio.sleep(3600)
    finally:
        note(ctx, "finally")


WORKFLOWS = (
    mixed,
    idle,
    sink(steps=TWO),
    sink("brief", steps=TWO, timeout=1.5),
)


@pytest.fixture(scope="module")
def shared(postgres_dsn: str) -> Iterator[Tree]:
    queues = {"default": still_queue(8, threads=4)}
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, *WORKFLOWS, queues=queues, interrupt_grace="2s") as tree,
    ):
        yield tree


@pytest.fixture
def tree(shared: Tree) -> Tree:
    """The tree, all of its three worker processes there and idle."""

    def rests() -> bool:
        workers = shared.workers()
        idle = [each for each in workers if each["status"] == "up" and not each["executions"]]
        return len(idle) == len(workers) == 3 and not any(is_gone(each["pid"]) for each in idle)

    wait_until(rests, timeout=SOON, what="three idle worker processes")
    return shared


def gated(tree: Tree, gate: Path, count: int, workflow: str = "sink") -> tuple[list[Handle], int]:
    """Start executions that wait at a gate, all in one process; return them and its pid."""
    handles = [tree.start(workflow, one=f"gate:{gate}") for _ in range(count)]
    pids = {tree.pid_in(handle) for handle in handles}
    assert len(pids) == 1
    return handles, pids.pop()


def assert_untouched(tree: Tree, handles: list[Handle], bodies: int = 1) -> None:
    """Check that nothing was charged or recorded, and that step one began so many times."""
    for handle in handles:
        execution = handle.execution()
        assert (execution.crashes, execution.interruptions) == (0, 0)
        assert [(step.path, step.attempt, step.status) for step in execution.steps] == [
            ("one", 1, "completed"),
            ("two", 1, "completed"),
        ]
        assert tree.bodies(handle) == [("one", 1)] * bodies + [("two", 1)]


def test_eight_executions_run_in_two_processes(tree: Tree, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handles = [tree.start(one=f"gate:{gate}") for _ in range(10)]
    pids = Counter(tree.pid_in(handle) for handle in handles[:8])
    assert sorted(pids.values()) == [4, 4]

    def shown() -> dict[str, Any] | None:
        manager = tree.manager()
        return manager if manager["busy"] == 8 else None

    manager: Any = wait_until(shown, what="the tree to show eight")
    assert (manager["concurrency"], manager["threads"], len(manager["children"])) == (8, 4, 3)
    found = {
        worker["pid"]: {each["execution_id"] for each in worker["executions"]}
        for worker in manager["children"]
    }
    assert {pid: len(ids) for pid, ids in found.items() if ids} == pids
    assert set.union(*found.values()) == {handle.id for handle in handles[:8]}
    rows = rows_of(tree.runtime.tree()["tree"])
    assert [row.doing for row in rows if row.process["role"] == "worker"].count("4 busy") == 2
    assert [str(handle.status()) for handle in handles[8:]] == ["pending"] * 2
    gate.touch()
    for handle in handles:
        handle.result(timeout=SOON)
    assert_untouched(tree, handles)


def test_nothing_of_neighbours_mixes(tree: Tree) -> None:
    handles = tree.durable.start_many("mixed", [{"n": n} for n in range(12)])
    for handle in handles:
        handle.send_event("go", handle.id)
    outputs = [handle.result(timeout=SOON) for handle in handles]
    assert len({output["pid"] for output in outputs}) <= 3
    for handle, output in zip(handles, outputs, strict=True):
        assert output["kept"] == output["event"] == handle.id
        assert output["helped"] == [["help_out", handle.id], True]
        assert output["gathered"] == [[number, handle.id] for number in range(3)]
        steps = {step.path: step for step in handle.execution().steps}
        said = [entry["message"] for entry in steps["speak"].logs]
        assert said == [f"{handle.id} {n}" for n in range(20)] + [f"{handle.id} logged"]
        assert [entry["message"] for entry in steps["help_out"].logs] == [f"helper of {handle.id}"]
        assert steps["speak"].logs[-1]["level"] == "warning"
        assert (steps["speak"].peak_rss, steps["speak"].cpu_seconds is None) == (None, False)


def test_a_timeout_that_is_obeyed_disturbs_no_neighbour(tree: Tree, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handles, pid = gated(tree, gate, 3)
    hung = tree.start("brief", one="hang:python")
    assert tree.pid_in(hung) == pid
    execution = tree.until(hung, "failed")
    assert execution.error["type"] == "step_timeout"
    assert [line["what"] for line in tree.ledger(hung.id, "finally")] == ["finally"]
    after = tree.start()
    after.result(timeout=SOON)
    assert {line["pid"] for line in tree.ledger(after.id)} == {pid}
    gate.touch()
    for handle in handles:
        handle.result(timeout=SOON)
    assert_untouched(tree, handles)


def test_a_timeout_that_costs_the_process_charges_no_neighbour(tree: Tree, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handles, pid = gated(tree, gate, 3)
    hung = tree.start("brief", one="hang:c")
    assert tree.pid_in(hung) == pid
    execution = tree.until(hung, "failed")
    assert execution.error["type"] == "step_timeout"
    assert (execution.crashes, execution.interruptions) == (0, 0)
    assert all(tree.pid_in(handle, runs=2) != pid for handle in handles)
    gate.touch()
    for handle in handles:
        handle.result(timeout=SOON)
    assert_untouched(tree, handles, bodies=2)


def test_a_cancelled_async_body_gives_way_at_once(tree: Tree, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handles, pid = gated(tree, gate, 2)
    resting = tree.durable.start("idle", {"ledger": [tree.dsn, tree.schema]})
    assert tree.pid_in(resting, "rest") == pid
    resting.cancel()
    wait_until(lambda: tree.ledger(resting.id, "finally"), what="its finally block")
    gate.touch()
    for handle in handles:
        handle.result(timeout=SOON)
    assert_untouched(tree, handles)
    assert str(resting.status()) == "cancelled"


def test_a_killed_process_runs_all_of_its_executions_again(tree: Tree, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handles, pid = gated(tree, gate, 4)
    kill(pid)
    gate.touch()
    for handle in handles:
        handle.result(timeout=SOON)
        execution = handle.execution()
        assert (execution.crashes, execution.interruptions) == (1, 0)
        assert [(step.path, step.attempt, str(step.status)) for step in execution.steps] == [
            ("one", 1, "failed"),
            ("one", 2, "completed"),
            ("two", 1, "completed"),
        ]
        assert execution.steps[0].error["signal"] == "SIGKILL"
        assert tree.bodies(handle) == [("one", 1), ("one", 2), ("two", 1)]


def test_what_kills_every_worker_takes_no_neighbour_with_it(tree: Tree, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handles = [tree.start(one=[f"gate:{gate}"] * 2 + ["ok"]) for _ in range(3)]
    pids = {tree.pid_in(handle) for handle in handles}
    poison = tree.start(one="die:kill")
    assert {tree.pid_in(poison)} == pids
    assert tree.until(poison, "failed").crashes == 3
    gate.touch()
    for handle in handles:
        handle.result(timeout=SOON)
        assert handle.execution().crashes <= 2
        assert len([step for step in handle.execution().steps if step.status == "completed"]) == 2


def test_more_and_fewer_are_run_by_more_and_fewer_processes(tree: Tree) -> None:
    def processes() -> int:
        return sum(worker["status"] == "up" for worker in tree.workers())

    for concurrency, expected in ((9, 4), (3, 2), (8, 3)):
        tree.runtime.scale("default", concurrency)
        wait_until(
            lambda expected=expected: processes() == expected,
            timeout=SOON,
            what=f"{expected} processes",
        )


def test_a_stop_lets_every_thread_finish_its_step(dsn: str, schema: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running(dsn, schema, sink(steps=TWO), queues={"default": SHARED}, **STILL) as tree:
        handles, pid = gated(tree, gate, 4)
        (spare,) = {worker["pid"] for worker in tree.workers()} - {pid}
        stopping = threading.Thread(target=tree.runtime.stop)
        stopping.start()
        wait_until(lambda: is_gone(spare), what="the spare to follow the order to stop")
        gate.touch()
        stopping.join()
        for handle in handles:
            execution = handle.execution()
            assert (execution.crashes, execution.interruptions) == (0, 0)
            assert [(step.path, step.status) for step in execution.steps] == [("one", "completed")]
            assert str(execution.status) == "pending"


@pytest.mark.slow
def test_a_batched_worker_is_replaced_when_its_threads_are_empty(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    queue = SHARED | {"max_executions_per_worker": 4, "commit": "batched"}
    with running(dsn, schema, sink(steps=TWO), queues={"default": queue}, **STILL) as tree:
        (long,), pid = gated(tree, gate, 1)
        others = [tree.start() for _ in range(8)]
        for handle in others:
            handle.result(timeout=SOON)
        assert str(long.status()) == "running"
        gate.touch()
        long.result(timeout=SOON)
        assert_untouched(tree, [long, *others])
        wait_until(lambda: pid not in {worker["pid"] for worker in tree.workers()})
        handles = tree.durable.start_many("sink", [{"ledger": None, "actions": {}}] * 12)
        for handle in handles:
            handle.result(timeout=SOON)
        rows = tree.sql(
            "SELECT execution_id, path FROM {s}.step_executions WHERE status = 'completed'"
        )
        assert len(rows) == len({(row["execution_id"], row["path"]) for row in rows}) == 2 * 21


@pytest.mark.slow
def test_what_was_interrupted_has_no_neighbour_in_any_thread(dsn: str, schema: str) -> None:
    with running(dsn, schema, sink(steps=("one",)), queues={"default": SHARED}) as tree:
        handles = [tree.start(one="pause:0.5") for _ in range(4)]
        for handle in handles:
            tree.pid_in(handle)
        kill(tree.manager()["pid"])
        for handle in handles:
            handle.result(timeout=SOON)
            assert (handle.execution().crashes, handle.execution().interruptions) == (0, 1)
        begun = [line["at"] for line in tree.ledger()[4:]]
        between = [(after - before).total_seconds() for before, after in pairwise(begun)]
        assert len(between) == 3
        assert min(between) >= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("commit", ["each", "batched"])
def test_kills_among_many_lose_and_double_nothing(dsn: str, schema: str, commit: str) -> None:
    chance = random.Random(7)
    queue = {"concurrency": 8, "threads": 4, "commit": commit}
    workflow = sink(steps=TWO, max_crashes=100)
    with running(dsn, schema, workflow, queues={"default": queue}) as tree:
        given_ = given(tree.dsn, tree.schema)
        handles = tree.durable.start_many("sink", [given_] * 40)
        for share in (20, 40):
            wait_until(lambda share=share: len(tree.ledger()) > share, timeout=SOON)
            with suppress(ProcessLookupError):  # what the tree shows may be a moment old
                kill(chance.choice(tree.workers())["pid"])
        for handle in handles:
            handle.result(timeout=SOON)
        rows = tree.sql(
            "SELECT execution_id, path FROM {s}.step_executions WHERE status = 'completed'"
        )
        assert len(rows) == len({(row["execution_id"], row["path"]) for row in rows}) == 2 * 40
