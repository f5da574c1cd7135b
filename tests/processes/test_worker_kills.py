"""Many deaths in a row: nothing leaks, nothing is lost, nothing is done twice."""

import random
from contextlib import suppress
from pathlib import Path

import pytest

from durable_otp.clock import Deadline
from tests.support.sink import sink
from tests.support.tree import Tree, descriptors, is_gone, kill, resident, running, still_queue
from tests.support.waiting import wait_until

FIVE = ("one", "two", "three", "four", "five")
MOST_GROWTH = 3 << 20


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_workers_killed_in_a_row_leak_nothing(dsn: str, schema: str, count: int) -> None:
    with running(dsn, schema, sink(), queues={"default": still_queue(3)}) as tree:
        kill_in_a_row(tree, 20)
        before = footprint(tree)
        kill_in_a_row(tree, count)
        after = footprint(tree)
        for name in ("root", "manager"):
            assert after[name]["pid"] == before[name]["pid"]
            assert after[name]["descriptors"] == before[name]["descriptors"]
            assert after[name]["resident"] <= before[name]["resident"] + MOST_GROWTH
        assert after["processes"] == before["processes"]
        tree.start().result(timeout=30)


def kill_in_a_row(tree: Tree, count: int) -> None:
    """Kill idle workers, as fast as their replacements come."""
    killed: set[int] = set()
    while len(killed) < count:
        for pid in wait_until(lambda: set(tree.idle()) - killed):
            with suppress(ProcessLookupError):  # what the tree shows may be a moment old
                kill(pid)
            killed.add(pid)
    wait_until(lambda: len(set(tree.idle()) - killed) == 4)


def footprint(tree: Tree) -> dict:  # type: ignore[type-arg]
    def of(pid: int) -> dict[str, int]:
        return {"pid": pid, "descriptors": descriptors(pid), "resident": resident(pid)}

    return {
        "root": of(tree.runtime.pid),
        "manager": of(tree.manager()["pid"]),
        "processes": len(tree.pids()),
    }


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_executions_complete_while_workers_are_killed(
    dsn: str, schema: str, tmp_path: Path, count: int
) -> None:
    workflow = sink(steps=FIVE, max_crashes=1000)
    with running(dsn, schema, workflow, queues={"default": 4}) as tree:
        given = {"ledger": None, "actions": dict.fromkeys(FIVE, "pause:0.01")}
        handles = tree.durable.start_many(workflow, [given] * count)
        kills = 0
        while tree.durable.count_executions(status=["pending", "running"]):
            kills += kill_a_busy_worker(tree)
            wait_until(after(0.2))
        assert kills > count // 30
        assert {handle.status() for handle in handles} == {"completed"}
        (row,) = tree.sql(
            "SELECT count(*) AS completed, count(DISTINCT (execution_id, path, visit)) AS visits "
            "FROM {s}.step_executions WHERE status = 'completed'"
        )
        assert row == {"completed": 5 * count, "visits": 5 * count}
        (row,) = tree.sql(
            "SELECT count(lock_token) AS locked, sum(crashes)::int AS crashes, "
            "sum(interruptions)::int AS interruptions FROM {s}.workflow_executions"
        )
        (failed,) = tree.sql(
            "SELECT count(*) AS rows FROM {s}.step_executions WHERE status = 'failed'"
        )
        assert (row["locked"], row["interruptions"]) == (0, 0)
        assert failed["rows"] <= row["crashes"] <= kills


def kill_a_busy_worker(tree: Tree) -> int:
    busy = [worker["pid"] for worker in tree.workers() if worker["execution_id"]]
    if not busy:
        return 0
    victim = random.choice(busy)
    if is_gone(victim):
        return 0
    kill(victim)
    return 1


def after(seconds: float):  # type: ignore[no-untyped-def]
    deadline = Deadline(seconds)
    return lambda: deadline.passed
