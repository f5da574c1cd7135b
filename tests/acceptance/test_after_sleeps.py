"""What follows a sleep: the clock that ended it has nothing more to do with the execution."""

from collections.abc import Iterator

import pytest

from durable_otp import Workflow, sleep, wait_for_event
from tests.support.postgres import fresh_schema
from tests.support.tree import Tree, running
from tests.support.waiting import wait_until

TICK = 0.05

then_wait = Workflow("then_wait")


@then_wait.step
def rest() -> None:
    sleep(0.1)


@then_wait.step
def listen() -> dict[str, object]:
    return {"heard": wait_for_event("call")}


nothing = Workflow("nothing")


@nothing.step
def sleep_for_nothing() -> dict[str, bool]:
    sleep(0)
    return {"awake": True}


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, then_wait, nothing, sleep_waker={"interval": TICK}) as tree,
    ):
        yield tree


def test_a_wait_after_a_sleep_is_left_alone_by_the_clock(tree: Tree) -> None:
    handle = tree.durable.start(then_wait)
    (wait,) = wait_until(lambda: tree.durable.list_pending_events(handle.id), what="the wait")
    updated = handle.execution().updated_at
    other = tree.durable.start(then_wait)  # by the time it waits, the waker has gone round
    wait_until(lambda: tree.durable.list_pending_events(other.id), what="the other wait")
    assert (handle.status(), handle.execution().updated_at) == ("waiting", updated)
    assert tree.durable.list_pending_events(handle.id) == [wait]
    tree.durable.send_event(handle.id, "call", 7)
    assert handle.result(timeout=30) == {"heard": 7}


def test_a_sleep_of_nothing_is_over_at_once(tree: Tree) -> None:
    assert tree.durable.start(nothing).result(timeout=30) == {"awake": True}
