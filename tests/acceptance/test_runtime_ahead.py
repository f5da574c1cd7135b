"""Executions handed to workers ahead: fast while they are short, and nobody waits or pays for it.

A queue whose executions have been short is handed several at once; each story begins there.
"""

from pathlib import Path
from typing import Any

from durable_otp.client.handle import Handle
from tests.support.sink import given, sink
from tests.support.tree import STILL, Tree, kill, running, still_queue
from tests.support.waiting import wait_until

ONE = ("one",)
SOON = 60.0


def start_all(tree: Tree, *inputs: dict[str, Any]) -> list[Handle]:
    """Start executions in one transaction, so that they may be claimed together."""
    return tree.durable.start_many(
        "sink", [given(tree.dsn, tree.schema, **each) for each in inputs]
    )


def warm_up(tree: Tree) -> None:
    """Have the queue run short executions, whose bodies leave no line."""
    nothing = {"ledger": None, "actions": {}}
    for handle in tree.durable.start_many("sink", [nothing] * 150):
        handle.result(timeout=SOON)


def statuses(handles: list[Handle]) -> list[str]:
    return [str(handle.status()) for handle in handles]


def test_what_waits_behind_a_long_execution_is_run_by_others(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with running(dsn, schema, sink(steps=ONE), queues={"default": still_queue(2)}) as tree:
        warm_up(tree)
        long, *short = start_all(tree, {"one": f"gate:{gate}"}, *[{}] * 30)
        for handle in short:
            handle.result(timeout=SOON)
        assert long.status() == "running"
        gate.touch()
        long.result(timeout=SOON)
        assert all(len(tree.bodies(handle)) == 1 for handle in (long, *short))
        assert all(handle.execution().crashes == 0 for handle in (long, *short))


def test_a_killed_worker_is_charged_to_what_it_ran_and_to_nothing_behind_it(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    queues = {"default": still_queue(1)}
    with running(dsn, schema, sink(steps=ONE), queues=queues, **STILL) as tree:
        for _ in range(5):
            warm_up(tree)
            long, *short = start_all(tree, {"one": [f"gate:{gate}", "ok"]}, *[{}] * 15)
            kill(tree.pid_in(long))
            for handle in (long, *short):
                handle.result(timeout=SOON)
            executions = [handle.execution() for handle in short]
            assert [(each.crashes, each.interruptions) for each in executions] == [(0, 0)] * 15
            assert long.execution().crashes == 1
            assert len(tree.bodies(long)) == 2
            assert all(len(tree.bodies(handle)) == 1 for handle in short)


def test_a_paused_queue_gives_back_what_has_not_begun(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    queues = {"default": still_queue(1)}
    with running(dsn, schema, sink(steps=ONE), queues=queues, **STILL) as tree:
        warm_up(tree)
        long, *short = start_all(tree, {"one": f"gate:{gate}"}, *[{}] * 10)
        tree.pid_in(long)
        set_paused(tree, paused=True)
        wait_until(lambda: statuses(short) == ["pending"] * 10, what="all to be given back")
        assert [handle.execution().interruptions for handle in short] == [0] * 10
        gate.touch()
        long.result(timeout=SOON)
        assert statuses(short) == ["pending"] * 10
        set_paused(tree, paused=False)
        for handle in short:
            handle.result(timeout=SOON)
        assert len(tree.ledger()) == 11


def test_what_is_cancelled_before_it_begins_never_begins(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    queues = {"default": still_queue(1)}
    with running(dsn, schema, sink(steps=ONE), queues=queues, **STILL) as tree:
        warm_up(tree)
        long, *short = start_all(tree, {"one": f"gate:{gate}"}, *[{}] * 10)
        tree.pid_in(long)
        for handle in short[::2]:
            handle.cancel()
        gate.touch()
        for handle in (long, *short[1::2]):
            handle.result(timeout=SOON)
        assert statuses(short[::2]) == ["cancelled"] * 5
        assert all(tree.bodies(handle) == [] for handle in short[::2])


def set_paused(tree: Tree, *, paused: bool) -> None:
    tree.sql(
        "INSERT INTO {s}.queues (queue, paused, updated_at) VALUES ('default', %s, now()) "
        "ON CONFLICT (queue, node_id) DO UPDATE SET paused = excluded.paused",
        paused,
    )
    tree.sql("SELECT pg_notify(%s, '')", f"{tree.schema}:command")
