"""Orders to single processes of a node: to end, to start again, to be killed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from durable_otp import CommandFailed
from tests.support.control import (
    STOP,
    TERM,
    TWO,
    calm,
    lasting_tree,
    process,
    published,
    status_of,
)
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, is_gone, kill, running
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def shared(postgres_dsn: str) -> Iterator[Tree]:
    """A tree that the tests of this module share."""
    with lasting_tree(postgres_dsn) as tree:
        yield tree


@pytest.fixture
def tree(shared: Tree) -> Tree:
    """The shared tree, idle and unordered."""
    return calm(shared)


# workers


def test_a_killed_worker_is_a_crash_and_its_execution_runs_again(
    tree: Tree, tmp_path: Path
) -> None:
    handle = tree.start(one=f"gate_once:{tmp_path / 'open'}")
    pid = tree.pid_in(handle)
    said = tree.durable.kill_process(pid)
    assert f"process {pid}) has ended: killed" in said
    assert is_gone(pid)
    execution = tree.until(handle, "completed")
    assert (execution.crashes, execution.interruptions) == (1, 0)
    assert tree.bodies(handle)[:2] == [("one", 1), ("one", 2)]


def test_a_restarted_worker_finishes_its_step_and_nothing_is_counted(
    tree: Tree, tmp_path: Path
) -> None:
    handle = tree.start(one=f"gate:{tmp_path / 'open'}", two=f"gate:{tmp_path / 'two'}")
    pid = tree.pid_in(handle)
    before = process(tree, name_of(tree, pid))
    kill(pid, STOP)  # it cannot have finished before it is told to
    (tmp_path / "open").touch()
    tree.sql("SELECT pg_notify('{s}:queue', 'default')")
    said = tree.durable.restart_process(before)
    assert "another process takes its place" in said
    other = tree.pid_in(handle, "two")
    assert other != pid
    (tmp_path / "two").touch()
    execution = tree.until(handle, "completed")
    assert (execution.crashes, execution.interruptions) == (0, 0)
    assert tree.bodies(handle) == [("one", 1), ("two", 1), ("three", 1)]
    wait_until(lambda: len(tree.idle()) == 3, what="all workers")


def test_a_worker_that_does_not_end_in_time_is_killed_and_nothing_is_counted(tree: Tree) -> None:
    handle = tree.start(one=["hang:c", "ok"])
    pid = tree.pid_in(handle)
    assert "killed" in tree.durable.stop_process(pid)
    # The step runs again as the same attempt, so it hangs again: the first was not counted.
    other = tree.pid_in(handle, runs=2)
    assert other != pid
    assert tree.bodies(handle) == [("one", 1), ("one", 1)]
    assert handle.execution().crashes == 0
    handle.cancel()


def test_many_restarts_of_workers_do_not_wear_their_manager_out(tree: Tree) -> None:
    manager = tree.manager()["pid"]
    for _ in range(6):  # more than max_restarts within max_seconds
        tree.durable.restart_process("default/1")
    assert tree.manager()["pid"] == manager
    tree.start().result(timeout=30)


def name_of(tree: Tree, pid: int) -> str:
    """Return what a worker is called."""
    worker = wait_until(
        lambda: next((each for each in tree.workers() if each["pid"] == pid), None), what="it"
    )
    assert worker is not None
    return f"default/{worker['id']}"


# the others


def test_a_sibling_is_stopped_until_it_is_restarted(tree: Tree) -> None:
    first = process(tree, "sleep_waker")
    assert "stopped, until it is restarted" in tree.durable.stop_process("sleep_waker")
    assert is_gone(first.pid or 0)
    wait_until(lambda: status_of(tree, "sleep_waker") == "down", what="it to be down")
    with pytest.raises(CommandFailed, match="does not run"):
        tree.durable.kill_process("sleep_waker")
    assert "runs as process" in tree.durable.restart_process("sleep_waker")
    again = process(tree, "sleep_waker")
    tree.durable.kill_process(again)
    tree.replaced("sleep_waker", again.pid or 0)


def test_a_manager_is_restarted_by_the_name_of_its_queue(tree: Tree, tmp_path: Path) -> None:
    handle = tree.start(one=f"gate:{tmp_path / 'open'}")
    tree.pid_in(handle)
    before = process(tree, "queue default")
    (tmp_path / "open").touch()
    tree.durable.restart_process("default")
    after = tree.manager()
    assert after["pid"] not in (None, before.pid)
    assert (execution := tree.until(handle, "completed")).crashes == 0, execution
    assert execution.interruptions == 0


@pytest.mark.parametrize("verb", ["restart_process", "kill_process"])
def test_the_registrar_answers_for_its_own_end(tree: Tree, verb: str) -> None:
    tree.durable.scale_queue("default", 3, node=tree.runtime.node_id[:13])
    before = process(tree, "registrar")
    getattr(tree.durable, verb)("registrar")
    assert is_gone(before.pid or 0)
    tree.replaced("registrar", before.pid or 0)
    # It is the same node still: what was set for it alone holds.
    assert [node.id for node in tree.durable.nodes()] == [tree.runtime.node_id]
    tree.durable.restart_process("default")
    wait_until(lambda: len(tree.idle()) == 4, what="three workers and the spare")
    tree.durable.scale_queue("default", 2)


def test_a_registrar_that_is_terminated_by_hand_leaves_what_is_set_for_its_node(
    tree: Tree,
) -> None:
    tree.durable.scale_queue("default", 1, node=tree.runtime.node_id)
    before = published(tree, "registrar").pid or 0
    kill(before, TERM)
    tree.replaced("registrar", before)
    assert published(tree, "registrar").pid != before
    (row,) = tree.sql("SELECT concurrency FROM {s}.queues WHERE node_id <> ''")
    assert row["concurrency"] == 1


def test_a_manager_that_takes_its_time_keeps_no_other_process_waiting(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    with (
        running(dsn, schema, sink(), queues=TWO, **STILL) as tree,
        ThreadPoolExecutor() as orders,
    ):
        handle = tree.start(one=f"gate:{tmp_path / 'open'}")
        tree.pid_in(handle)
        published(tree, "pruner")
        manager, scheduler = tree.manager()["pid"], published(tree, "scheduler").pid or 0
        answer = orders.submit(tree.durable.restart_process, "default")
        wait_until(lambda: len(tree.pids()) < 12, what="the idle workers to have left")
        kill(scheduler)
        tree.replaced("scheduler", scheduler)
        assert not answer.done()
        assert tree.manager()["pid"] == manager
        (tmp_path / "open").touch()
        assert f"instead of {manager}" in answer.result(30)
        execution = tree.until(handle, "completed")
        assert (execution.crashes, execution.interruptions) == (0, 0)


def test_the_whole_node_is_stopped_in_order(dsn: str, schema: str, tmp_path: Path) -> None:
    with running(dsn, schema, sink(), queues=TWO, **STILL) as tree:
        handle = tree.start(one=f"gate:{tmp_path / 'open'}")
        tree.pid_in(handle)
        process(tree, "pruner")
        everybody = tree.pids()
        (tmp_path / "open").touch()
        assert tree.durable.stop_process("root") == "The node has stopped."
        reason = tree.runtime.wait(30)
        assert reason is not None
        assert reason.is_clean
        assert all(is_gone(pid) for pid in everybody)
        assert tree.durable.nodes() == []
        assert handle.execution().crashes == 0


@pytest.mark.parametrize(
    ("verb", "name", "expected"),
    [
        ("kill_process", "root", "refused: Nobody is above the root"),
        ("restart_process", "root", "refused: Nobody is above the root"),
        ("stop_process", "registrar", "refused: Without its registrar"),
    ],
)
def test_what_would_leave_a_node_without_a_head_is_refused(
    tree: Tree, verb: str, name: str, expected: str
) -> None:
    with pytest.raises(CommandFailed, match=expected) as refused:
        getattr(tree.durable, verb)(name)
    assert refused.value.status == "refused"
    assert "up" in status_of(tree, name)
