"""What an operator does to a running tree: stop, pause, scale, drain, restart, recycle."""

import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from durable_otp import ConfigError, Runtime
from durable_otp.runtime import messages
from durable_otp.runtime.tree import SIBLINGS
from tests.support.postgres import fresh_database
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, all_gone, is_gone, kill, prepare, running, still_queue
from tests.support.waiting import wait_until

TWO = {"default": still_queue(2)}


def test_a_graceful_stop_lets_the_step_finish_and_counts_nothing(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    with running(dsn, schema, sink(), queues=TWO, **STILL) as tree:
        handle = tree.start(one=f"gate:{tmp_path / 'open'}")
        queued = [tree.start(one=f"gate:{tmp_path / 'open'}") for _ in range(3)]
        worker = tree.pid_in(handle)
        (spare,) = wait_until(lambda: tree.idle() if len(tree.idle()) == 1 else [])
        everybody = tree.pids()
        kill(tree.runtime.pid, signal.SIGTERM)
        wait_until(lambda: is_gone(spare))  # all workers have been told
        assert not is_gone(worker)
        (tmp_path / "open").touch()
        reason = tree.runtime.wait(30)
        assert reason is not None
        assert reason.is_clean
        assert all_gone(everybody)
        execution = handle.execution()
        assert (execution.status, execution.locked_by) == ("pending", None)
        assert [(step.path, step.status) for step in execution.steps] == [("one", "completed")]
    with running(dsn, schema, sink(), queues=TWO, **STILL) as tree:
        for each in [handle, *queued]:
            execution = tree.until(tree.own(each), "completed")
            assert (execution.crashes, execution.interruptions) == (0, 0)
        assert tree.bodies(handle) == [("one", 1), ("two", 1), ("three", 1)]


def test_a_step_beyond_the_shutdown_timeout_is_killed_and_released_uncounted(
    dsn: str, schema: str
) -> None:
    stubborn = [["hang:swallow", "ok"], ["hang:c", "ok"], ["hang:sleep", "ok"]]
    with running(
        dsn, schema, sink(), queues={"default": still_queue(3)},
        supervisor={"shutdown_timeout": 0.3}, **STILL,
    ) as tree:  # fmt: skip
        handles = [tree.start(one=action) for action in stubborn]
        for handle in handles:
            tree.pid_in(handle)
        everybody = tree.pids()
        tree.runtime.stop()
        assert all_gone(everybody)
        for handle in handles:
            execution = handle.execution()
            assert (execution.status, execution.crashes, execution.interruptions) == (
                "pending", 0, 0,
            )  # fmt: skip
            assert execution.steps == []
            handle.cancel()


def test_what_one_node_releases_another_claims_at_once(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    with running(dsn, schema, sink(), queues=TWO, **STILL) as stays:
        with running(dsn, schema, sink(), queues=TWO, **STILL) as leaves:
            stays.runtime.pause("default")
            handle = leaves.start(one=f"gate:{tmp_path / 'open'}")
            leaves.pid_in(handle)
            stays.runtime.resume("default")
            kill(leaves.runtime.pid, signal.SIGTERM)
            (tmp_path / "open").touch()
            execution = stays.until(stays.own(handle), "completed")
        assert (execution.crashes, execution.interruptions) == (0, 0)


def test_pause_resume_and_drain(dsn: str, schema: str, tmp_path: Path) -> None:
    with running(dsn, schema, sink(), queues=TWO, **STILL) as tree:
        running_one = tree.start(one=f"gate:{tmp_path / 'open'}")
        tree.pid_in(running_one)
        assert tree.runtime.drain("default", timeout=0.2) is False
        assert tree.manager()["paused"] is True
        waiting = tree.start()
        (tmp_path / "open").touch()
        assert tree.runtime.drain("default", timeout=30) is True
        assert running_one.status() == "completed"
        assert (waiting.status(), tree.manager()["busy"]) == ("pending", 0)
        tree.runtime.resume("default")
        waiting.result(timeout=30)


def test_scaling_up_and_down(dsn: str, schema: str, tmp_path: Path) -> None:
    with running(dsn, schema, sink(), queues={"default": still_queue(1)}, **STILL) as tree:
        handles = [tree.start(one=f"gate:{tmp_path / 'open'}") for _ in range(3)]
        tree.pid_in(handles[0])
        assert len(tree.ledger()) == 1
        tree.runtime.scale("default", 3)
        busy = [tree.pid_in(handle) for handle in handles]
        wait_until(lambda: len(tree.workers()) == 4)
        tree.runtime.scale("default", 1)
        wait_until(lambda: len(tree.workers()) == 3)  # the idle one is gone, the busy ones finish
        assert not any(is_gone(pid) for pid in busy)
        (tmp_path / "open").touch()
        for handle in handles:
            handle.result(timeout=30)
        wait_until(lambda: len(tree.workers()) == 2)
        assert {handle.execution().crashes for handle in handles} == {0}
        with pytest.raises(ConfigError, match="connections"):
            tree.runtime.scale("default", 100_000)
        with pytest.raises(ConfigError, match="no-such"):
            tree.runtime.scale("no-such", 1)


def test_a_scale_survives_the_manager(dsn: str, schema: str) -> None:
    with running(dsn, schema, sink(), queues={"default": still_queue(1)}, **STILL) as tree:
        tree.runtime.scale("default", 3)
        manager = tree.manager()["pid"]
        kill(manager)
        tree.replaced("queue default", manager)
        wait_until(lambda: len(tree.idle()) == 4)


def test_restarting_a_child(dsn: str, schema: str) -> None:
    with running(dsn, schema, sink(), queues=TWO, **STILL) as tree:
        before = {node["id"]: node["pid"] for node in tree.runtime.tree()["tree"]["children"]}
        tree.runtime.restart("sleep_waker")
        tree.runtime.restart("default")
        after = {node["id"]: node["pid"] for node in tree.runtime.tree()["tree"]["children"]}
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {"sleep_waker", "queue default"}
        tree.start(one="nap:0.1").result(timeout=30)
        with pytest.raises(ConfigError, match="no child"):
            tree.runtime.restart("nobody")


def test_workers_are_recycled_by_count_and_by_memory(dsn: str, schema: str) -> None:
    queues = {
        "counted": still_queue(1, max_executions_per_worker=2),
        "weighed": still_queue(1, max_memory="150MB"),
    }
    with running(dsn, schema, sink(), queues=queues, **STILL) as tree:
        counted = [tree.start(queue="counted") for _ in range(6)]
        weighed = [tree.start(queue="weighed", two="grow:120"), tree.start(queue="weighed")]
        for handle in [*counted, *weighed]:
            handle.result(timeout=30)
            assert handle.execution().crashes == 0
        per_worker = Counter(line["pid"] for handle in counted for line in tree.ledger(handle.id))
        assert max(per_worker.values()) == 2 * 3
        fat = tree.pid_in(weighed[0])
        wait_until(lambda: is_gone(fat))
        for queue in queues:
            wait_until(lambda name=queue: len(tree.idle(name)) == 2)


def test_connections_are_as_few_as_the_formula_says(dsn: str, schema: str) -> None:
    with (
        fresh_database(dsn) as alone,  # where no other tree's connections are counted
        running(alone, schema, sink(), queues={"default": 2, "other": 1}, name=schema) as tree,
    ):
        for queue in ("default", "other"):
            for handle in [tree.start(queue=queue) for _ in range(4)]:
                handle.result(timeout=30)
        for _ in range(2):
            tree.kill_one_idle()
        wait_until(lambda: len(tree.idle()) == 3)
        tree.start().result(timeout=30)
        formula = 3 + 2 + 2 * 2 + len(SIBLINGS) + 1
        wait_until(lambda: connections(tree) <= formula, what="no more connections than planned")
        assert connections(tree) >= formula - 2
        assert set(sockets(tree).values()) == {1}, "a socket is open in two processes"


def connections(tree: Tree) -> int:
    """Return how many connections the processes of the tree have, as the server sees it."""
    roles = f"^durable:(worker|manager|registrar|{'|'.join(SIBLINGS)})"
    (row,) = tree.sql(
        "SELECT count(*) AS n FROM pg_stat_activity "
        "WHERE application_name ~ %s AND datname = current_database()",
        roles,
    )
    return int(row["n"])


def sockets(tree: Tree) -> Counter[str]:
    """Return in how many processes of the tree each socket is open, those of the host left out."""
    hosts = set(open_sockets(os.getpid()))
    found = Counter(each for pid in tree.pids() for each in open_sockets(pid))
    return Counter({name: count for name, count in found.items() if name not in hosts})


def open_sockets(pid: int) -> set[str]:
    """Return the names of a process's sockets (proc(5): each open socket has one number)."""
    names = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            names.add(str(descriptor.readlink()))
    return {name for name in names if name.startswith("socket:")}


def test_a_plan_of_more_connections_than_there_are_is_refused(dsn: str, schema: str) -> None:
    prepare(dsn, schema)
    with pytest.raises(ConfigError, match=r"5001 workers and spares \+ 2 x 1 queue managers"):
        Runtime(dsn=dsn, schema=schema, workflows=[sink()], queues={"default": 5000}).start()


def test_a_disabled_node_runs_nothing_but_its_registrar(dsn: str, schema: str) -> None:
    with running(dsn, schema, sink(), queue_enabled=False) as tree:
        assert [node["id"] for node in tree.runtime.tree()["tree"]["children"]] == ["registrar"]
        assert tree.start().status() == "pending"


def test_the_tree_is_told_without_the_definitions(dsn: str, schema: str) -> None:
    """They are many times larger, and the tree is told ten times a second."""
    with running(dsn, schema, sink(), queues=TWO, **STILL) as tree:
        answer = tree.runtime._running().request(messages.TREE)
        assert set(answer) == {"hostname", "tree"}
