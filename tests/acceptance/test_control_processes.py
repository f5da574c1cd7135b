"""Orders to single processes: carried out by their node, on the process that was meant, once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from durable_otp import (
    CommandFailed,
    CommandTimeout,
    NodeNotFound,
    NotUnique,
    Process,
    ProcessNotFound,
)
from durable_otp.storage.identity import new_id
from tests.support.postgres import fresh_schema
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, is_gone, kill, resident, running, still_queue
from tests.support.waiting import wait_until

STOP, CONT = 19, 18
TWO = {"default": still_queue(2)}
NAMED = ("worker", "queue_manager")
PLACE = (
    "INSERT INTO {s}.commands (id, node_id, verb, target, pid, process_started_at, status, "
    "requested_at, deadline_at) VALUES (%s, %s, 'stop', %s, %s, %s, %s, "
    "{s}.now(), {s}.now() + %s * interval '1 s')"
)


@pytest.fixture(scope="module")
def shared(postgres_dsn: str) -> Iterator[Tree]:
    """A tree that the tests of this module share: what they do to it, it survives."""
    settings = {**STILL, "supervisor": {"shutdown_timeout": 0.5}}
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, sink(), queues=TWO, **settings) as tree,
    ):
        yield tree


@pytest.fixture
def tree(shared: Tree) -> Tree:
    """The shared tree, idle and unordered."""
    shared.durable.scale_queue("default", 2)
    for node in shared.nodes():
        process(shared, node["id"] if node["role"] not in NAMED else "queue default")
    wait_until(lambda: len(shared.idle()) == 3, what="every worker to be idle")
    shared.sql("DELETE FROM {s}.commands")
    return shared


def process(tree: Tree, name: str, node_id: str | None = None) -> Process:
    """Return a process as its node publishes it, once it is as the tree has it."""

    def found() -> Process | None:
        pids = {each["pid"] for each in tree.nodes() if each["status"] == "up"}
        shown = [each for node in tree.durable.nodes() for each in node.processes]
        return next(
            (
                each
                for each in shown
                if each.name == name and each.pid in pids and node_id in (None, each.node)
            ),
            None,
        )

    up = wait_until(found, what=name)
    assert up is not None
    return up


def published(tree: Tree, name: str) -> Process:
    """Return a process of this tree's own node."""
    return process(tree, name, tree.runtime.node_id)


def status_of(tree: Tree, name: str) -> str:
    """Return what the node publishes of a process."""
    (node,) = tree.durable.nodes()
    return next(each.status for each in node.processes if each.name == name)


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


# only the one that was meant


def test_a_process_that_has_ended_is_not_mistaken_for_the_next(tree: Tree) -> None:
    worker = process(tree, "default/1")
    kill(worker.pid or 0)
    wait_until(lambda: process(tree, "default/1").pid != worker.pid, what="the next one")
    scheduler = process(tree, "scheduler")
    kill(scheduler.pid or 0)
    tree.replaced("scheduler", scheduler.pid or 0)
    pids = tree.pids()
    for each in (worker, scheduler):
        for order in (tree.durable.kill_process, tree.durable.restart_process):
            with pytest.raises(ProcessNotFound, match=r"was left alone: Process \d+ has ended"):
                order(each)
    assert tree.pids() == pids


@pytest.mark.parametrize("name", ["default/1", "scheduler", "root"])
def test_a_pid_with_another_start_is_another_process(tree: Tree, name: str) -> None:
    there = process(tree, name)
    assert there.started_at is not None
    reused = replace(there, started_at=there.started_at - timedelta(microseconds=1))
    with pytest.raises(ProcessNotFound, match="left alone"):
        tree.durable.stop_process(reused)
    assert process(tree, name).pid == there.pid


def test_a_start_is_shown_the_same_again_and_again(tree: Tree) -> None:
    def starts() -> dict[int | None, Any]:
        return {each.pid: each.started_at for each in tree.durable.nodes()[0].processes}

    before = starts()
    gone = tree.kill_one_idle()
    wait_until(lambda: gone not in starts(), what="another look at the tree")
    after = starts()
    same = set(before) & set(after)
    assert tree.runtime.pid in same
    assert {pid: before[pid] for pid in same} == {pid: after[pid] for pid in same}


def test_a_command_is_carried_out_once_however_often_it_is_brought(tree: Tree) -> None:
    tree.durable.kill_process("scheduler")
    tree.replaced("scheduler", 0)
    ((row),) = tree.sql("SELECT id::text, pid, outcome FROM {s}.commands")
    reopen = (
        "UPDATE {s}.commands SET status = 'accepted', outcome = NULL, pid = %s, "
        "process_started_at = %s WHERE id = %s"
    )
    there = process(tree, "scheduler")
    tree.sql(reopen, there.pid, there.started_at, row["id"])
    registrar = process(tree, "registrar")
    kill(registrar.pid or 0)  # the next one brings the root what has no answer
    (again,) = wait_until(
        lambda: tree.sql("SELECT * FROM {s}.commands WHERE outcome IS NOT NULL"), what="an answer"
    )
    assert (again["status"], again["outcome"]) == ("done", row["outcome"])
    assert process(tree, "scheduler").pid == there.pid


def test_what_a_registrar_took_with_it_is_done_or_said_to_have_expired(tree: Tree) -> None:
    there = process(tree, "scheduler")
    late, in_time = new_id(), new_id()
    node = tree.runtime.node_id
    life = (there.pid, there.started_at, "accepted")
    tree.sql(PLACE, late, node, "scheduler", *life, -1)
    tree.sql(PLACE, in_time, node, "scheduler", *life, 60)
    kill(process(tree, "registrar").pid or 0)

    def answers() -> dict[str, str] | None:
        rows = tree.sql("SELECT id::text, status FROM {s}.commands WHERE outcome IS NOT NULL")
        return {row["id"]: row["status"] for row in rows} if len(rows) == 2 else None

    assert wait_until(answers, what="both answers") == {late: "expired", in_time: "done"}
    # The root carried out the one that somebody still waited for.
    assert tree.child("scheduler")["status"] == "down"
    tree.durable.restart_process("scheduler")


# stacks


def test_the_stacks_of_processes_that_hang_and_of_all_others(tree: Tree) -> None:
    hanging = {where: tree.start(one=f"hang:{where}") for where in ("c", "gil")}
    for handle in hanging.values():
        text = tree.durable.dump_stacks(tree.pid_in(handle))
        assert "in _lock_for_ever" in text
        assert "in perform" in text
        assert text.endswith("in _live")  # and nothing of what it was forked from
    assert "queue_manager.py" in tree.durable.dump_stacks("queue default")
    assert "in receive" in tree.durable.dump_stacks("sleep_waker")
    assert "in receive" in tree.durable.dump_stacks("registrar")
    assert "boot.py" in tree.durable.dump_stacks("root")
    (twice,) = {tree.durable.dump_stacks("sleep_waker") for _ in range(2)}
    assert twice.count("most recent call first") == 1
    for handle in hanging.values():
        assert handle.execution().crashes == 0
        handle.cancel()


def test_a_stopped_process_gives_no_stacks(tree: Tree) -> None:
    there = process(tree, "scheduler")
    kill(there.pid or 0, STOP)
    try:
        with pytest.raises(CommandFailed, match="it is stopped or stuck"):
            tree.durable.dump_stacks(there)
    finally:
        kill(there.pid or 0, CONT)
    assert process(tree, "scheduler").pid == there.pid


# what they use


def test_a_watched_tree_shows_who_works_and_who_is_large(tree: Tree) -> None:
    handle = tree.start(one="hang:python", two="ok")
    idle_before = process(tree, "scheduler")
    pid = tree.pid_in(handle)
    tree.start(one="grow:150").result(timeout=30)

    def shown() -> dict[str, Process] | None:
        found = {each.name: each for each in tree.durable.nodes(watch=True)[0].processes}
        busy = next((each for each in found.values() if each.pid == pid), None)
        large = any((each.rss_bytes or 0) > 150 << 20 for each in found.values())
        return found if busy and large and busy.execution_id == handle.id else None

    found = wait_until(shown, what="the large one and the busy one")
    assert found is not None
    assert all(each.cpu_percent is not None and each.rss_bytes for each in found.values())
    mine = resident(idle_before.pid or 0)
    assert abs((found["scheduler"].rss_bytes or 0) - mine) < mine / 2
    here = {each["pid"]: each for each in tree.nodes()}
    assert here[pid]["cpu_percent"] is not None
    handle.cancel()


def test_nobody_is_measured_anew_while_nobody_watches(tree: Tree) -> None:
    tree.sql("UPDATE {s}.nodes SET watched_until = NULL")
    tree.durable.restart_process("registrar")  # and its measurements with it
    before = {each.pid: each.rss_bytes for each in tree.durable.nodes()[0].processes}
    for _ in range(3):
        tree.start(one="grow:30").result(timeout=30)
    (last,) = tree.sql("SELECT seen_at FROM {s}.nodes")
    tree.kill_one_idle()  # which is shown
    wait_until(
        lambda: tree.sql("SELECT id FROM {s}.nodes WHERE seen_at > %s", last["seen_at"]),
        what="news",
    )
    after = {each.pid: each.rss_bytes for each in tree.durable.nodes()[0].processes}
    assert {pid: size for pid, size in before.items() if after.get(pid, size) != size} == {}
    wait_until(
        lambda: any(
            (each.rss_bytes or 0) > (before.get(each.pid) or 0) + (20 << 20)
            for each in tree.durable.nodes(watch=True)[0].processes
        ),
        what="somebody who watches to see it",
    )


# nodes


def test_two_nodes_have_processes_of_one_name_and_one_dies(tree: Tree) -> None:
    quick: dict[str, Any] = {**STILL, "node_timeout": 0.6, "stale_job_recovery": {"interval": 0.2}}
    with running(tree.dsn, tree.schema, sink(), queues=TWO, **STILL) as other:
        theirs = published(other, "scheduler")
        mine = published(tree, "scheduler")
        with pytest.raises(NotUnique, match="'scheduler' may be any of"):
            tree.durable.restart_process("scheduler")
        with pytest.raises(NotUnique, match="begins the ids of 2 nodes"):
            tree.durable.kill_process("scheduler", node=tree.runtime.node_id[:1])
        with pytest.raises(NodeNotFound, match="No live node's id begins with 'ffff'"):
            tree.durable.kill_process("scheduler", node="ffff")
        said = tree.durable.restart_process("scheduler", node=theirs.node)
        assert f"instead of {theirs.pid}" in said
        assert tree.child("scheduler")["pid"] == mine.pid
        assert "runs as" in tree.durable.restart_process(mine.pid or 0)

        theirs = published(other, "root")
        kill(other.runtime.pid)
        other.runtime.wait(30)
        with pytest.raises(CommandTimeout, match="Nothing was done"):
            tree.durable.stop_process(theirs, timeout=0.3)
        for status in ("requested", "accepted"):
            tree.sql(PLACE, new_id(), theirs.node, "root", None, None, status, 60)
        with running(tree.dsn, tree.schema, sink(), queues={"default": 1}, **quick):
            wait_until(
                lambda: theirs.node not in [node.id for node in tree.durable.nodes()],
                what="the dead node to be found",
            )
    rows = tree.sql("SELECT status FROM {s}.commands WHERE node_id = %s", theirs.node)
    assert sorted(row["status"] for row in rows) == ["done", "expired", "expired", "unknown"]
    with pytest.raises(NodeNotFound, match="does not live any more"):
        tree.durable.stop_process(theirs, timeout=0.3)


@pytest.mark.parametrize(
    ("name", "timeout", "error", "expected"),
    [
        ("nobody", 0.2, ProcessNotFound, "is called 'nobody'; there are: root, registrar"),
        (999_999_999, 0.2, ProcessNotFound, "is called 999999999"),
        (True, 1, TypeError, "a name, a pid or a Process, not True"),
        (None, 1, TypeError, "not None"),
        ("root", -1, ValueError, "timeout must be zero or more"),
        ("root", "soon", TypeError, "timeout must be a timedelta"),
        ("", 0.2, ProcessNotFound, "is called ''"),
    ],
)
def test_orders_to_nobody_are_refused(
    tree: Tree, name: Any, timeout: Any, error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        tree.durable.kill_process(name, timeout=timeout)
    assert tree.sql("SELECT * FROM {s}.commands") == []
