"""Supervisors and siblings are killed: what hung on them is gone, and comes back as it should.

Every timer is set to an hour unless a story needs one.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_otp.runtime import tree as topology
from tests.support.postgres import fresh_schema
from tests.support.sink import sink
from tests.support.tree import (
    STILL,
    Tree,
    all_gone,
    is_gone,
    kill,
    paused,
    prepare,
    running,
    still_queue,
)
from tests.support.waiting import wait_until

SIBLINGS = [*topology.SIBLINGS, "registrar"]
REPOSITORY = Path(__file__).parents[2]
HOST = """
import sys
from durable_otp import Durable, Runtime
from tests.support.sink import given, sink
dsn, schema, gate = sys.argv[1:]
workflow = sink()
runtime = Runtime(dsn=dsn, schema=schema, workflows=[workflow], queues={"default": 2}).start()
with Durable(dsn, schema=schema) as durable:
    handle = durable.start(workflow, given(dsn, schema, one=f"spawn:{gate}"))
print(runtime.pid, handle.id, flush=True)
runtime.wait()
"""


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    queues = {"default": still_queue(2), "other": still_queue(1)}
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, sink(), queues=queues, **STILL) as tree,
    ):
        yield tree


def test_a_killed_manager_takes_its_workers_along_and_its_executions_go_on(
    tree: Tree, tmp_path: Path
) -> None:
    elsewhere = tree.start(one=f"gate:{tmp_path / 'open'}", queue="other")
    here = [tree.start(two=f"gate_once:{tmp_path / 'never'}") for _ in range(2)]
    for handle in here:
        tree.pid_in(handle, "two")
    tree.pid_in(elsewhere)
    manager = tree.manager()
    workers = {worker["pid"] for worker in manager["children"]}
    kill(manager["pid"])
    wait_until(lambda: all_gone(workers))
    for handle in here:
        handle.result(timeout=30)
        execution = handle.execution()
        assert (execution.interruptions, execution.crashes) == (1, 0)
        assert [(s.path, s.attempt) for s in execution.steps] == [
            ("one", 1), ("two", 1), ("three", 1),
        ]  # fmt: skip
        assert [line["step"] for line in tree.ledger(handle.id)] == ["one", "two", "two", "three"]
    assert tree.replaced("queue default", manager["pid"])["restarts"] >= 1
    assert elsewhere.execution().interruptions == 0
    (tmp_path / "open").touch()
    elsewhere.result(timeout=30)


def restart_the_manager(tree: Tree) -> None:
    manager = tree.manager()
    kill(manager["pid"])
    tree.replaced("queue default", manager["pid"])


def test_interrupted_executions_run_alone_until_they_complete_a_step(
    tree: Tree, tmp_path: Path
) -> None:
    suspects = [tree.start(one=f"gate_once:{tmp_path / 'never'}") for _ in range(2)]
    before = max(tree.pid_in(handle) and tree.ledger(handle.id)[0]["id"] for handle in suspects)
    with paused(tree):
        restart_the_manager(tree)
        others = [tree.start() for _ in range(4)]
    for handle in [*suspects, *others]:
        handle.result(timeout=30)
    lines = [line for line in tree.ledger() if line["id"] > before]
    for handle in suspects:
        (one,) = (line["at"] for line in tree.ledger(handle.id)[1:] if line["step"] == "one")
        alone_until = handle.execution().steps[0].completed_at
        beside = [line for line in lines if one < line["at"] <= alone_until]
        assert beside == []


def test_an_interrupted_execution_of_one_step_lets_the_next_one_in_at_its_end(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    short = sink(steps=("one",))
    with running(dsn, schema, short, queues={"default": still_queue(3)}, **STILL) as tree:
        suspects = [tree.start(one=f"gate_once:{tmp_path / 'never'}") for _ in range(2)]
        for handle in suspects:
            tree.pid_in(handle)
        with paused(tree):
            restart_the_manager(tree)
            for handle in suspects:
                tree.until(handle, "pending")
            # Claimed together by a look that nobody asked for, after which nothing is expected.
            tree.sql("UPDATE {s}.workflow_executions SET scheduled_at = now() + interval '1 s'")
        for handle in suspects:
            handle.result(timeout=30)


def test_an_interrupted_execution_has_neighbours_again_once_it_has_completed_a_step(
    tree: Tree, tmp_path: Path
) -> None:
    suspect = tree.start(one=f"gate_once:{tmp_path / 'never'}", two=f"gate:{tmp_path / 'open'}")
    tree.pid_in(suspect)
    with paused(tree):
        restart_the_manager(tree)
        tree.until(suspect, "pending")
        neighbour = tree.start()  # due after it
    neighbour.result(timeout=30)
    assert (suspect.status(), suspect.execution().interruptions) == ("running", 1)
    (tmp_path / "open").touch()
    suspect.result(timeout=30)


def test_a_pause_survives_the_manager(tree: Tree) -> None:
    with paused(tree):
        handle = tree.start()
        manager = tree.manager()
        kill(manager["pid"])
        tree.replaced("queue default", manager["pid"])
        wait_until(lambda: tree.manager()["paused"])
        tree.start(queue="other").result(timeout=30)
        assert handle.status() == "pending"
    handle.result(timeout=30)


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_killed_sibling_is_restarted_and_nobody_else(tree: Tree, name: str) -> None:
    others = {node["id"]: node["pid"] for node in tree.nodes() if node["id"] != name}
    pid = tree.child(name)["pid"]
    kill(pid)
    assert tree.replaced(name, pid)["restarts"] >= 1
    assert {node["id"]: node["pid"] for node in tree.nodes() if node["id"] != name} == others
    tree.start(one="nap:0.1").result(timeout=30)


def test_a_new_registrar_is_told_the_workflows(tree: Tree) -> None:
    tree.sql("UPDATE {s}.nodes SET workflows = '[]'")
    pid = tree.child("registrar")["pid"]
    kill(pid)
    tree.replaced("registrar", pid)
    named = "SELECT id FROM {s}.nodes WHERE workflows <> '[]'"
    wait_until(lambda: tree.sql(named), what="the node's workflows")


def test_the_interruption_of_the_last_number_is_final(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    with running(
        dsn, schema, sink(), queues={"default": still_queue(1)}, max_interruptions=2, **STILL
    ) as tree:
        handle = tree.start(one=f"gate:{tmp_path / 'never'}")
        for life in (1, 2):
            tree.pid_in(handle, runs=life)
            manager = tree.manager()["pid"]
            kill(manager)
            tree.replaced("queue default", manager)
        execution = tree.until(handle, "failed")
        assert execution.error["type"] == "interrupted_too_often"
        assert (execution.interruptions, execution.crashes) == (2, 0)
        tree.start().result(timeout=30)


@pytest.mark.parametrize("victim", ["root", "host"])
def test_nothing_is_left_of_a_tree_whose_root_or_host_is_killed(
    dsn: str, schema: str, tmp_path: Path, victim: str
) -> None:
    prepare(dsn, schema)
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, dsn, schema, str(tmp_path / "never")],
        stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    try:
        assert host.stdout is not None
        root, execution_id = host.stdout.readline().split()
        watcher = Tree(dsn, schema, None, None)  # type: ignore[arg-type]
        wait_until(lambda: len(watcher.ledger(execution_id, "child %")) == 2)
        programs = {
            int(line["what"].split()[1]) for line in watcher.ledger(execution_id, "child %")
        }
        everybody = descendants(int(root)) | programs
        assert len(everybody) > 8
        kill(int(root) if victim == "root" else host.pid)
        wait_until(lambda: all_gone(everybody), timeout=20)
        host.wait(timeout=20)
        (row,) = watcher.sql("SELECT status, crashes FROM {s}.workflow_executions")
        assert row == {"status": "running", "crashes": 0}  # its node_timeout will bring it back
    finally:
        host.kill()
        host.communicate()


def descendants(pid: int) -> set[int]:
    import psutil

    root = psutil.Process(pid)
    return {pid, *(process.pid for process in root.children(recursive=True))}


def test_a_second_node_takes_over_what_a_dead_one_held(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    with running(dsn, schema, sink(), queues={"default": 1}, node_timeout=1) as survivor:
        with paused(survivor):
            prepare(dsn, schema)
            host = subprocess.Popen(
                [sys.executable, "-c", HOST, dsn, schema, str(tmp_path / "open")],
                stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
            )  # fmt: skip
            try:
                assert host.stdout is not None
                execution_id = host.stdout.readline().split()[1]
                wait_until(lambda: len(survivor.ledger(execution_id, "child %")) == 2)
            finally:
                os.kill(host.pid, signal.SIGKILL)
                host.communicate()
            wait_until(lambda: is_gone(host.pid))
        (tmp_path / "open").touch()
        wait_until(lambda: survivor.durable.status(execution_id) == "completed")
        execution = survivor.durable.get_execution(execution_id)
        assert (execution.interruptions, execution.crashes) == (1, 0)
