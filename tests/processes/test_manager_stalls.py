"""A manager is stopped, or its PostgreSQL says nothing: nothing is lost and nothing doubled."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from durable_otp import Handle
from tests.support.postgres import PrivateServer
from tests.support.sink import sink
from tests.support.tree import HOUR, Tree, all_gone, kill, running, still_queue
from tests.support.waiting import wait_until

FIVE = ("one", "two", "three", "four", "five")


def assert_each_step_completed_once(tree: Tree, handles: list[Handle]) -> None:
    completed = tree.sql(
        "SELECT execution_id, array_agg(path ORDER BY position) AS paths FROM {s}.step_executions "
        "WHERE status = 'completed' GROUP BY execution_id"
    )
    assert {str(row["execution_id"]) for row in completed} == {handle.id for handle in handles}
    assert {tuple(row["paths"]) for row in completed} == {FIVE}
    assert tree.sql("SELECT id FROM {s}.workflow_executions WHERE lock_token IS NOT NULL") == []


def counted(tree: Tree) -> dict[str, int]:
    (row,) = tree.sql(
        "SELECT sum(interruptions)::int AS interruptions, sum(crashes)::int AS crashes, "
        "count(*) FILTER (WHERE status <> 'completed') AS unfinished FROM {s}.workflow_executions"
    )
    return row


def test_a_stopped_manager_loses_its_claims_to_another_node_and_comes_back(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    quick = {"node_timeout": 1.5, "queues": {"default": 2}}
    with running(dsn, schema, sink(steps=FIVE), **quick) as first:
        gated = first.start(two=f"gate_once:{tmp_path / 'open'}")
        lost = first.pid_in(gated, "two")
        manager = first.manager()["pid"]
        kill(manager, signal.SIGSTOP)
        try:
            with running(dsn, schema, sink(steps=FIVE), **quick) as second:
                handles = [second.start() for _ in range(5)]
                for handle in [*handles, gated]:
                    handle.result(timeout=40)
                assert gated.execution().interruptions == 1
                (tmp_path / "open").touch()  # the first node's worker goes on, and is fenced
                kill(manager, signal.SIGCONT)
                wait_until(lambda: lost in first.idle())
            more = [first.start() for _ in range(5)]
            for handle in more:
                handle.result(timeout=30)
        finally:
            kill(manager, signal.SIGCONT)
        assert first.manager()["pid"] == manager
        assert_each_step_completed_once(first, [gated, *handles, *more])
        assert counted(first) == {"interruptions": 1, "crashes": 0, "unfinished": 0}


@contextmanager
def locked_table(tree: Tree) -> Iterator[None]:
    """Let every statement on executions wait."""
    with psycopg.connect(tree.dsn) as connection:
        connection.execute(
            f"LOCK TABLE {tree.schema}.workflow_executions IN ACCESS EXCLUSIVE MODE".encode()
        )
        yield


def test_with_all_sql_stalled_a_manager_still_notices_deaths(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    queues = {"default": {"concurrency": 2, "poll_interval": 0.1}}
    with running(dsn, schema, sink(steps=FIVE), queues=queues) as tree:
        handles = [tree.start(one=["gate:/nowhere", "ok"]) for _ in range(2)]
        victims = [tree.pid_in(handle) for handle in handles]
        with locked_table(tree):
            for victim in victims:
                kill(victim)
            wait_until(lambda: len(tree.idle()) == 3)  # replaced, though nothing can be settled
        for handle in handles:
            handle.result(timeout=40)
        assert counted(tree) == {"interruptions": 0, "crashes": 2, "unfinished": 0}
        assert_each_step_completed_once(tree, handles)


def test_with_all_sql_stalled_a_tree_still_obeys_sigterm(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    queues = {"default": {"concurrency": 2, "poll_interval": 0.1}}
    with running(
        dsn, schema, sink(steps=FIVE), queues=queues, supervisor={"shutdown_timeout": 0.5}
    ) as tree:
        handle = tree.start(one="gate:/nowhere")
        tree.pid_in(handle)
        everybody = tree.pids()
        with locked_table(tree):
            kill(tree.runtime.pid, signal.SIGTERM)
            assert tree.runtime.wait(40) is not None
            assert all_gone(everybody)
        assert handle.status() in ("running", "pending")


@pytest.mark.slow
def test_a_stall_longer_than_a_statements_deadline_loses_nothing(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    """Claims and settlements are given up and asked again; those that were under way count once."""
    queues = {"default": {"concurrency": 3, "poll_interval": 0.1}}
    with running(dsn, schema, sink(steps=FIVE), queues=queues) as tree:
        handles = [tree.start(one=["gate:/nowhere", "ok"])]
        victim = tree.pid_in(handles[0])
        with locked_table(tree):
            kill(victim)
            wait_until(lambda: len(manager_sessions(tree)) >= 1)
            first = manager_sessions(tree)
            wait_until(lambda: not manager_sessions(tree) & first, timeout=40)
        handles += [tree.start() for _ in range(10)]
        for handle in handles:
            handle.result(timeout=40)
        assert counted(tree) == {"interruptions": 0, "crashes": 1, "unfinished": 0}
        assert_each_step_completed_once(tree, handles)


def manager_sessions(tree: Tree) -> set[int]:
    rows = tree.sql(
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'durable:manager%%claims' "
        "AND wait_event_type = 'Lock' AND query LIKE %s",
        f"%{tree.schema}%",
    )
    return {row["pid"] for row in rows}


def test_postgresql_stops_under_load_on_two_nodes_and_nobody_is_blamed(
    private_postgres: Callable[[], PrivateServer],
) -> None:
    server = private_postgres()
    settings = {
        "queues": {"default": {"concurrency": 2, "poll_interval": 0.2}},
        "heartbeat_interval": 0.3,
        "stale_lock_timeout": 1,
        "node_timeout": 1.5,
        "stale_job_recovery": {"interval": 0.2},
    }
    workflow = sink(steps=FIVE, timeout=HOUR)
    with (
        running(server.dsn, "d", workflow, **settings) as tree,
        running(server.dsn, "d", workflow, **settings) as other,
    ):
        unlogged = {"ledger": None, "actions": {"three": "pause:0.2"}}  # bodies need no database
        handles = tree.durable.start_many(workflow, [unlogged] * 60)
        wait_until(lambda: tree.sql("SELECT id FROM {s}.step_executions WHERE path = 'five'"))
        pids = {worker["pid"] for node in (tree, other) for worker in node.workers()}
        server.stop()
        wait_until(outage_of(4.0))
        server.start()
        for handle in handles:
            handle.result(timeout=60)
        assert counted(tree) == {"interruptions": 0, "crashes": 0, "unfinished": 0}
        assert_each_step_completed_once(tree, handles)
        assert pids == {worker["pid"] for node in (tree, other) for worker in node.workers()}


def outage_of(seconds: float) -> Callable[[], bool]:
    """Return a condition that holds once an outage has outlasted every timeout above."""
    from durable_otp.clock import Deadline

    deadline = Deadline(seconds)
    return lambda: deadline.passed


def test_a_still_manager_hears_of_work_by_notification_alone(dsn: str, schema: str) -> None:
    with running(dsn, schema, sink(), queues={"default": still_queue(1)}) as tree:
        for _ in range(3):
            tree.start().result(timeout=30)
