"""Orders reach the process that is meant or none, once; what processes do and use is seen."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
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
from tests.support.control import CONT, STOP, TWO, calm, lasting_tree, process, published
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, kill, resident, running
from tests.support.waiting import wait_until

PLACE = (
    "INSERT INTO {s}.commands (id, node_id, verb, target, pid, process_started_at, status, "
    "requested_at, deadline_at) VALUES (%s, %s, 'stop', %s, %s, %s, %s, "
    "{s}.now(), {s}.now() + %s * interval '1 s')"
)


@pytest.fixture(scope="module")
def shared(postgres_dsn: str) -> Iterator[Tree]:
    """A tree that the tests of this module share."""
    with lasting_tree(postgres_dsn) as tree:
        yield tree


@pytest.fixture
def tree(shared: Tree) -> Tree:
    """The shared tree, idle and unordered."""
    return calm(shared)


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

    try:
        assert wait_until(answers, what="both answers") == {late: "expired", in_time: "done"}
        # The root carried out the one that somebody still waited for.
        assert tree.child("scheduler")["status"] == "down"
    finally:
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
    assert "recurring.py" in tree.durable.dump_stacks("registrar")  # it passes the order on
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
    (old,) = tree.sql("SELECT seen_at FROM {s}.nodes")
    tree.durable.restart_process("registrar")  # and its measurements with it
    wait_until(
        lambda: tree.sql("SELECT id FROM {s}.nodes WHERE seen_at > %s", old["seen_at"]),
        what="its first word",
    )
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
