"""Waiting through the database: the slot is given back, and the body runs again when it wakes."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_otp import Context, Workflow, schedule_at, sleep
from tests.support.postgres import fresh_schema
from tests.support.sink import RETRY_AT_ONCE, note, sink
from tests.support.tree import STILL, Tree, kill, running, still_queue
from tests.support.waiting import wait_until

instant = Workflow("instant")


@instant.step
def until(ctx: Context) -> None:
    note(ctx, "begun")
    schedule_at(dt.datetime.fromisoformat(ctx.input["at"]))


changing = Workflow("changing")


@changing.step
def asks_differently(ctx: Context) -> Any:
    asked = Path(ctx.input["mark"])
    if asked.exists():
        return None
    asked.touch()
    sleep(0.1)
    return None


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(
            postgres_dsn, schema, sink(), sink("eager", retry=RETRY_AT_ONCE), instant, changing,
            queues={"default": still_queue(1)}, **STILL,
        ) as tree,
    ):  # fmt: skip
        yield tree


def test_a_sleeper_gives_its_slot_back(tree: Tree) -> None:
    sleeper = tree.start(one="nap:2")
    asleep = tree.until(sleeper, "waiting")
    assert (asleep.locked_by, asleep.current_step) == (None, "one")
    tree.start().result(timeout=30)  # the queue has one slot
    assert sleeper.status() == "waiting"
    assert sleeper.result(timeout=30)["one"] == 1
    assert [(s.path, s.attempt) for s in sleeper.execution().steps] == [
        ("one", 1), ("two", 1), ("three", 1),
    ]  # fmt: skip


def test_several_sleeps_in_a_step_are_each_slept_once(tree: Tree) -> None:
    handle = tree.start(two="nap:0.2,0.2,0.2")
    handle.result(timeout=30)
    lines = [line["what"] for line in tree.ledger(handle.id, "before%")]
    assert (
        lines == ["before 0"] + ["before 0", "before 1"] + ["before 0", "before 1", "before 2"] * 2
    )


def test_a_sleep_that_is_over_is_kept_over_a_death_and_a_failure(
    tree: Tree, tmp_path: Path
) -> None:
    handle = tree.start("eager", one=["nap_then:die:kill", "nap_then:raise", "nap_then:ok"])
    handle.result(timeout=30)
    assert len(tree.sql("SELECT id FROM {s}.waits WHERE execution_id = %s", handle.id)) == 1
    assert tree.bodies(handle)[:4] == [("one", 1), ("one", 1), ("one", 2), ("one", 3)]


def test_a_sleep_survives_its_manager(tree: Tree) -> None:
    handle = tree.start(one="nap:1")
    tree.until(handle, "waiting")
    manager = tree.manager()
    kill(manager["pid"])
    tree.replaced(manager["id"], manager["pid"])
    handle.result(timeout=30)
    assert handle.execution().interruptions == 0


def test_a_swallowed_suspension_suspends_all_the_same(tree: Tree) -> None:
    handle = tree.start(one="nap_swallowed:0.3")
    tree.until(handle, "waiting")
    handle.result(timeout=30)
    assert tree.bodies(handle)[:2] == [("one", 1), ("one", 1)]


def test_a_sleep_until_an_instant(tree: Tree) -> None:
    base = tree.sql("SELECT now() AS now")[0]["now"]
    late = base + dt.timedelta(seconds=1)
    handles = [
        tree.durable.start(instant, {"at": at.isoformat(), "ledger": [tree.dsn, tree.schema]})
        for at in (base, late)
    ]
    for handle in handles:
        handle.result(timeout=30)
    assert handles[1].execution().completed_at >= late
    assert tree.durable.get_execution(handles[1].id).scheduled_at == late


def test_a_body_that_asks_for_less_than_before_goes_on(tree: Tree, tmp_path: Path) -> None:
    handle = tree.durable.start(changing, {"mark": str(tmp_path / "mark")})
    wait_until(lambda: handle.status() == "completed")


def test_code_that_lost_the_step_an_execution_stands_at_fails_it(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    with running(dsn, schema, sink(), sleep_waker={"interval": "1h"}) as before:
        handle = before.start(two="nap:1")
        before.until(handle, "waiting")
    changed = sink(steps=("one", "three"))
    with running(dsn, schema, changed) as after:
        execution = after.until(after.own(handle), "failed")
    assert execution.error["type"] == "definition_changed"
    assert "'two'" in execution.error["message"]
