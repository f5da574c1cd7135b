"""Hearing of every move, hooks after a failure, and steps that stand still."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from durable_otp import AsyncDurable, Context, Retry, StateMove, Workflow, progress
from durable_otp import events as structured
from durable_otp.storage.moves import MoveSubscription
from tests.support.postgres import fresh_schema
from tests.support.sink import sink
from tests.support.tree import Tree, running
from tests.support.waiting import wait_until

plain = sink()

failing = Workflow("failing", max_crashes=2)


@failing.step
def fail(ctx: Context) -> None:
    if ctx.input["how"] == "die":
        os._exit(7)
    if ctx.input["how"] == "raise":
        raise ValueError("no stock")
    ctx["fine"] = True


@failing.on_failure(retry=Retry(max_attempts=3, base=0.01))
def tell(ctx: Context) -> None:
    ctx["told"] = [ctx["workflow"], ctx["status"], ctx["error"]["type"], ctx["input"]["how"]]
    if ctx.attempt == 1:
        raise RuntimeError("the first call for help is not heard")


slow = Workflow("slow")


@slow.step(progress_deadline=1.0)
def work(ctx: Context) -> None:
    for _ in range(ctx.input["rounds"]):
        progress()
        time.sleep(0.05)  # the work
    if ctx.input["hangs"]:
        time.sleep(300)  # the hang


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, plain, failing, slow) as tree,
    ):
        yield tree


@contextmanager
def subscribed_events() -> Iterator[list[structured.Event]]:
    """Give the structured events of this process as they come."""
    found: list[structured.Event] = []
    end = structured.subscribe(found.append)
    yield found
    end()


def heard(moves: MoveSubscription, execution_id: str, last: str) -> list[StateMove]:
    found: list[StateMove] = []
    while not found or found[-1].status != last:
        move = moves.wait(20)
        assert move is not None, found
        found += [move] if move.execution_id == execution_id else []
    return found


def test_a_subscriber_hears_every_move_in_order(tree: Tree) -> None:
    with tree.durable.subscribe() as moves:
        handle = tree.start(one="nap:0.05")
        found = heard(moves, handle.id, "completed")
    assert [move.status for move in found] == [
        "pending", "running", "waiting", "pending", "running", "completed",
    ]  # fmt: skip
    assert {(move.workflow, move.queue) for move in found} == {("sink", "default")}
    assert found[2].step == "one"
    assert found == sorted(found, key=lambda move: move.at)
    assert found[0].at.tzinfo is not None


def test_a_move_by_plain_sql_is_heard_too(tree: Tree) -> None:
    handle = tree.start(one="nap:300")
    tree.until(handle, "waiting")
    with tree.durable.subscribe() as moves:
        tree.sql(
            "UPDATE {s}.workflow_executions SET status = 'cancelled', completed_at = now() "
            "WHERE id = %s",
            handle.id,
        )
        assert heard(moves, handle.id, "cancelled")


def test_nothing_is_notified_once_the_last_subscriber_has_gone(tree: Tree) -> None:
    with tree.durable.subscribe():
        assert len(tree.sql("SELECT * FROM {s}.subscriptions")) == 1
        with tree.durable.subscribe():
            pass
        assert tree.sql("SELECT to_regclass('{s}.subscribed') AS it")[0]["it"]
    assert tree.sql("SELECT * FROM {s}.subscriptions") == []
    assert tree.sql("SELECT to_regclass('{s}.subscribed') AS it")[0]["it"] is None


def test_a_killed_subscriber_is_forgotten_by_the_next(tree: Tree) -> None:
    tree.sql("CREATE TABLE {s}.subscribed ()")
    tree.sql("INSERT INTO {s}.subscriptions VALUES (gen_random_uuid(), now() - interval '1s')")
    tree.durable.subscribe().close()
    assert tree.sql("SELECT * FROM {s}.subscriptions") == []
    assert tree.sql("SELECT to_regclass('{s}.subscribed') AS it")[0]["it"] is None


def test_an_iteration_ends_when_the_subscription_is_closed(tree: Tree) -> None:
    moves = tree.durable.subscribe()
    tree.start().result(timeout=30)
    assert next(moves).status == "pending"
    moves.close()
    moves.close()
    assert list(moves) == []


def test_handlers_of_this_process_are_called_until_they_are_ended(tree: Tree) -> None:
    told: list[StateMove] = []

    def handler(move: StateMove) -> None:
        told.append(move)
        if move.status == "pending":
            raise ValueError("one bad call does not end the listening")

    with subscribed_events() as events:
        end = tree.durable.on_move(handler)
        handle = tree.start()
        wait_until(
            lambda: [m.status for m in told if m.execution_id == handle.id][-1:] == ["completed"]
        )
        end()
    failures = [event for event in events if event.name == "move_handler_failed"]
    told_of = [event.facts["execution"] for event in failures]
    assert told_of.count(handle.id) == 1  # the tree's earlier executions may move as well
    before = len(told)
    tree.start().result(timeout=30)
    assert len(told) == before


def test_a_handler_is_called_again_after_its_connection_was_lost(tree: Tree) -> None:
    told: list[str] = []
    end = tree.durable.on_move(lambda move: told.append(move.execution_id))
    tree.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'durable:client subscription'"
    )
    wait_until(lambda: tree.start().id in told)
    end()
    tree.sql("DELETE FROM {s}.subscriptions")  # the lost one's would run out by itself
    tree.durable.subscribe().close()


def test_an_asynchronous_client_subscribes_as_well(tree: Tree) -> None:
    async def first_moves() -> list[str]:
        async with (
            AsyncDurable(tree.dsn, schema=tree.schema) as durable,
            await durable.subscribe() as moves,
        ):
            handle = await durable.start("slow", {"rounds": 1, "hangs": False})
            found: list[str] = []
            async for move in moves:
                found += [move.status] if move.execution_id == handle.id else []
                if found[-1:] == ["running"]:
                    return found
        return []

    assert asyncio.run(first_moves()) == ["pending", "running"]


@pytest.mark.parametrize(("how", "error"), [("raise", "ValueError"), ("die", "worker_crashed")])
def test_a_failure_starts_the_hook_once_whoever_finds_it(tree: Tree, how: str, error: str) -> None:
    handle = tree.durable.start(failing, {"how": how})
    assert tree.until(handle, "failed").error["type"] == error

    def hooks() -> list[dict[str, Any]]:
        return tree.sql(
            "SELECT id::text, status FROM {s}.workflow_executions WHERE workflow = "
            "'failing.on_failure' AND input ->> 'execution_id' = %s",
            handle.id,
        )

    wait_until(lambda: [hook["status"] for hook in hooks()] == ["completed"])
    told = tree.durable.get_execution(hooks()[0]["id"]).context
    assert told["told"] == ["failing", "failed", error, how]


def test_what_succeeds_or_is_cancelled_starts_no_hook(tree: Tree) -> None:
    before = tree.durable.count_executions(workflow="failing.on_failure")
    tree.durable.start(failing, {"how": "not"}).result(timeout=30)
    later = tree.durable.start(failing, {"how": "raise"}, queue="nowhere")
    later.cancel()
    assert tree.durable.count_executions(workflow="failing.on_failure") == before


def test_a_slow_step_that_reports_progress_is_left_alone(tree: Tree) -> None:
    handle = tree.durable.start(slow, {"rounds": 30, "hangs": False})
    handle.result(timeout=60)
    (step,) = handle.execution().steps
    assert step.duration_ms > 1000  # longer than its deadline


def test_a_step_that_stands_still_is_stopped_and_says_so(tree: Tree) -> None:
    handle = tree.durable.start(slow, {"rounds": 3, "hangs": True})
    error = tree.until(handle, "failed").error
    assert error["type"] == "step_timeout"
    assert "progress" in error["message"]
    assert handle.execution().crashes == 0
