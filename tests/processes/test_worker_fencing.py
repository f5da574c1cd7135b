"""Writes that come too late: what a worker still sends when its claim is no longer its own."""

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from psycopg.conninfo import conninfo_to_dict

from durable_otp import Context, Handle, Settled, Workflow, call_workflow, default_adapter
from durable_otp.clock import monotonic
from durable_otp.storage.journal_writing import KNOWN_FOR
from tests.support.chaos import ChaosProxy
from tests.support.sink import given, sink
from tests.support.tree import (
    STILL,
    Tree,
    blocked,
    is_gone,
    kill,
    locked_row,
    paused,
    running,
    still_queue,
)
from tests.support.waiting import wait_until


def outcomes(tree: Tree, handle: Handle) -> list[tuple[str, int, str]]:
    return [(step.path, step.attempt, step.status) for step in handle.execution().steps]


def is_reported(tree: Tree) -> bool:
    """Return whether the manager has told of the step, and looks at its claim no more."""
    return bool(tree.sql("SELECT id FROM {s}.workflow_executions WHERE begun IS NOT NULL"))


def assert_one_outcome_per_visit(tree: Tree, handle: Handle) -> None:
    seen = outcomes(tree, handle)
    completed = [path for path, _, status in seen if status == "completed"]
    assert completed == ["one", "two", "three"]
    assert len({(path, attempt) for path, attempt, _ in seen}) == len(seen)


def test_late_writes_of_a_stopped_worker_change_nothing(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    queues = {"default": still_queue(2)}
    with running(dsn, schema, sink(), queues=queues, **STILL) as tree:
        handle = tree.start(one=f"gate_once:{tmp_path / 'open'}")
        stopped = tree.pid_in(handle)
        wait_until(lambda: is_reported(tree))
        kill(stopped, signal.SIGSTOP)  # its manager does not look at its claims for an hour
        with default_adapter(dsn, schema=schema) as adapter, paused(tree):
            wait_until(lambda: adapter.recover_stale_locks(0.001) == 1)  # a heartbeat may hold it
            (job,) = adapter.fetch_jobs("default", 1, "somebody else")
            assert adapter.ack(job.id) == Settled.OK
        settled = tree.sql("SELECT * FROM {s}.workflow_executions"), handle.execution().steps
        (tmp_path / "open").touch()
        kill(stopped, signal.SIGCONT)
        wait_until(lambda: stopped in tree.idle())  # it has found its claim lost, and lives on
        assert settled == (
            tree.sql("SELECT * FROM {s}.workflow_executions"), handle.execution().steps,
        )  # fmt: skip
        assert handle.execution().interruptions == 1
        assert settled[1] == []
        tree.start().result(timeout=30)


def test_a_worker_whose_answer_was_held_up_does_not_begin_what_another_has_done(
    dsn: str, schema: str
) -> None:
    parts = conninfo_to_dict(dsn)
    server = str(parts["host"]), int(parts.get("port") or 5432)
    queues = {"default": still_queue(2)}
    with (
        ChaosProxy(server) as proxy,
        running(proxy.dsn(dsn), schema, sink(), queues=queues, **STILL) as tree,
    ):
        workers = {"app": "^durable:worker"}
        rule = proxy.arm(k=1, action="hold", match=workers | {"name": "^checkpoint$"})["id"]
        handle = tree.start()
        worker = tree.pid_in(handle)
        wait_until(lambda: proxy.rule(id=rule)["fired"])
        proxy.toxic(kind="stall", dir="down", match=workers)
        proxy.release(id=rule)
        wait_until(lambda: handle.execution().steps)  # it is committed, and not answered
        process = psutil.Process(worker)
        manager = process.ppid()
        kill(manager, signal.SIGSTOP)  # cut off likewise, it would learn no sooner
        with default_adapter(dsn, schema=schema) as adapter:
            wait_until(lambda: adapter.recover_stale_locks(0.001) == 1)  # a heartbeat may hold it
            (job,) = adapter.fetch_jobs("default", 1, "somebody else")
            assert adapter.ack(job.id) == Settled.OK
        lost_at = monotonic()
        wait_until(lambda: monotonic() - lost_at > KNOWN_FOR)
        proxy.heal()
        wait_until(lambda: "sink" not in " ".join(process.cmdline()))  # it waits for another
        kill(manager, signal.SIGCONT)
        assert tree.bodies(handle) == [("one", 1)]


def test_a_stopped_worker_whose_execution_comes_back_to_its_own_manager_is_killed(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    with running(dsn, schema, sink(), queues={"default": still_queue(2)}, **STILL) as tree:
        handle = tree.start(one=f"gate_once:{tmp_path / 'never'}")
        stopped = tree.pid_in(handle)
        wait_until(lambda: is_reported(tree))
        kill(stopped, signal.SIGSTOP)
        with default_adapter(dsn, schema=schema) as adapter:
            wait_until(lambda: adapter.recover_stale_locks(0.001) == 1)  # a heartbeat may hold it
        handle.result(timeout=30)
        assert is_gone(stopped)
        assert_one_outcome_per_visit(tree, handle)
        assert (handle.execution().interruptions, handle.execution().crashes) == (1, 0)


def test_a_manager_that_finds_a_claim_lost_stops_the_body(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    with running(
        dsn, schema, sink(), queues={"default": still_queue(1)}, heartbeat_interval=0.2
    ) as tree:
        handle = tree.start(one=["hang:sleep"])
        tree.pid_in(handle)
        with default_adapter(dsn, schema=schema) as adapter:
            wait_until(lambda: adapter.recover_stale_locks(0.001) == 1)  # a heartbeat may hold it
        tree.pid_in(handle, runs=2)  # the one slot was free
        assert len(tree.ledger(handle.id, "finally")) == 1
        handle.cancel()


def test_a_worker_that_has_just_ended_its_claim_is_not_killed_for_it(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    """It tells the child's parent, which takes long; meanwhile heartbeats find the claim gone."""
    calling = Workflow("calling")

    @calling.step
    def call(ctx: Context) -> None:
        call_workflow("sink", ctx.input, ref="child")

    settings = STILL | {"heartbeat_interval": 0.1, "interrupt_grace": 60}
    queues = {"default": still_queue(2)}
    with running(dsn, schema, sink(), calling, queues=queues, **settings) as tree:
        beating = tree.start(one=f"gate:{tmp_path / 'beating'}")
        tree.pid_in(beating)
        parent = tree.durable.start(calling, given(dsn, schema, one=f"gate:{tmp_path / 'open'}"))
        (child,) = wait_until(lambda: tree.durable.list_children(parent.id))
        worker = tree.pid_in(Handle(child.id, tree.durable))
        tree.until(parent, "waiting")

        def refreshed() -> list[dict[str, Any]]:
            return tree.sql(
                "SELECT locked_at FROM {s}.workflow_executions WHERE id = %s", beating.id
            )

        with locked_row(tree, parent.id):
            (tmp_path / "open").touch()
            wait_until(lambda: blocked(tree, role="worker"))
            assert Handle(child.id, tree.durable).status() == "completed"
            for _ in range(3):
                before = refreshed()
                wait_until(lambda before=before: refreshed() != before)
        (tmp_path / "beating").touch()
        for handle in (parent, beating):
            handle.result(timeout=30)
        assert not is_gone(worker)


@pytest.mark.parametrize("statement", ["checkpoint", "complete"])
def test_a_worker_killed_while_its_checkpoint_is_on_its_way(
    dsn: str, schema: str, tmp_path: Path, statement: str
) -> None:
    """The dead worker's statement and its settlement both wait for the row; either may win it."""
    step = {"checkpoint": "two", "complete": "three"}[statement]
    queues = {"default": still_queue(2)}
    with running(dsn, schema, sink(), queues=queues, **STILL) as tree:
        for number in range(6):
            handle = tree.start(**{step: f"gate:{tmp_path / str(number)}"})
            worker = tree.pid_in(handle, step)
            with locked_row(tree, handle.id):
                (tmp_path / str(number)).touch()
                wait_until(lambda: blocked(tree, statement))
                kill(worker)
                wait_until(lambda: blocked(tree, "condemn"))
            handle.result(timeout=30)
            assert_one_outcome_per_visit(tree, handle)
            bodies = [line for line in tree.ledger(handle.id) if line["step"] == step]
            failed = [each for each in outcomes(tree, handle) if each[2] == "failed"]
            assert len(bodies) == 1 + len(failed)


def test_the_answer_of_a_settlement_is_lost_and_it_counts_once(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    """The manager's connection is cut while its settlement waits: it asks again."""
    with running(dsn, schema, sink(), queues={"default": still_queue(2)}, **STILL) as tree:
        handle = tree.start(two=["gate:/nowhere", "ok"])
        worker = tree.pid_in(handle, "two")
        with locked_row(tree, handle.id):
            kill(worker)
            (waiting,) = wait_until(lambda: blocked(tree, "condemn"))
            tree.sql("SELECT pg_terminate_backend(%s)", waiting["pid"])
            wait_until(lambda: [each for each in blocked(tree) if each["pid"] != waiting["pid"]])
        handle.result(timeout=30)
        assert handle.execution().crashes == 1
        assert_one_outcome_per_visit(tree, handle)


def test_a_completion_whose_answer_is_lost_is_found_again(dsn: str, schema: str) -> None:
    """Every session of the workers is cut again and again: no body runs twice for it."""
    with running(dsn, schema, sink(), queues={"default": still_queue(2)}, **STILL) as tree:
        handles = [tree.start() for _ in range(15)]
        while any(handle.status() != "completed" for handle in handles):
            tree.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE 'durable:worker%%' AND query LIKE %s",
                f"%{schema}%",
            )
        for handle in handles:
            assert tree.bodies(handle) == [("one", 1), ("two", 1), ("three", 1)]
            assert handle.execution().crashes == 0
