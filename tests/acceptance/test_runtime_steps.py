"""What a step may return, raise and ask for, from the client through the tree and back."""

import asyncio
import dataclasses
import datetime as dt
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pydantic
import pytest

from durable_otp import (
    Context,
    InvalidInput,
    Retry,
    Workflow,
    current_step,
    execution_id,
    get_context,
    put_context,
)
from tests.support.postgres import fresh_schema
from tests.support.sink import RETRY_AT_ONCE, sink
from tests.support.tree import STILL, Tree, running, still_queue
from tests.support.waiting import wait_until

values = Workflow("values")


@values.step
def a_mapping(ctx: Context) -> dict[str, Any]:
    ctx["won"] = "by assignment"
    return {"won": "by the result", 1: (1, 2), "set": {3, 1}}


@values.step
def a_value() -> Decimal:
    return Decimal("1.50")


@values.step(returns="named")
def a_named(ctx: Context) -> dict[str, Any]:
    return {"when": dt.date(2026, 1, 2)}


@values.step
def nothing(ctx: Context) -> None:
    assert ctx["1"] == [1, 2]  # the next step sees what a resumed run would see
    assert ctx["named"] == {"when": "2026-01-02"}
    ctx.append("list", 1)
    ctx.increment("count", 2)
    ctx.merge({"named": {"more": True}})
    del ctx["set"]


@values.step
async def asynchronous(ctx: Context) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"awaited": await asyncio.to_thread(get_context, "count")}


@values.step
def helper_threads(ctx: Context) -> None:
    def help_() -> None:
        put_context("helped", [current_step(), execution_id() == ctx.execution_id])

    helper = threading.Thread(target=help_)
    helper.start()
    helper.join()


@dataclasses.dataclass
class Item:
    price: int


class Order(pydantic.BaseModel):
    items: list[Item]


typed = Workflow("typed", input=Order)


@typed.step
def total(ctx: Context) -> int:
    assert isinstance(ctx.input, Order)
    return sum(item.price for item in ctx.input.items)


atomic = Workflow("atomic", retry=RETRY_AT_ONCE)


@atomic.step
def changes_then_fails(ctx: Context) -> None:
    ctx.append("seen", ctx.attempt)
    ctx["keys"] = [*ctx.get("keys", []), ctx.idempotency_key]
    if ctx.attempt < 3:
        raise ValueError("not yet")


WORKFLOWS = (
    values, typed, atomic, sink(), sink("eager", retry=RETRY_AT_ONCE),
    sink("patient", retry=Retry(max_attempts=3, backoff="constant", base=1.5, jitter=0)),
    sink("choosy", retry=Retry(max_attempts=3, base=0, give_up_on=KeyError)),
)  # fmt: skip


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    queues = {"default": still_queue(1)}
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, *WORKFLOWS, queues=queues, **STILL) as tree,
    ):
        yield tree


def test_results_become_the_context_as_documented(tree: Tree) -> None:
    result = tree.durable.start(values, {"given": 1}).result(timeout=30)
    assert result == {
        "given": 1, "won": "by the result", "1": [1, 2], "a_value": "1.50", "list": [1], "count": 2,
        "named": {"when": "2026-01-02", "more": True}, "awaited": 2,
        "helped": ["helper_threads", True],
    }  # fmt: skip


def test_a_typed_input_is_checked_at_the_start_and_given_as_its_model(tree: Tree) -> None:
    assert tree.durable.start(typed, {"items": [{"price": 2}, {"price": 3}]}).result(30) == {
        "items": [{"price": 2}, {"price": 3}],
        "total": 5,
    }
    with pytest.raises(InvalidInput):
        tree.durable.start(typed, {"items": [{"price": "much"}]})


def test_a_failed_attempt_leaves_no_trace_and_the_key_stays(tree: Tree) -> None:
    handle = tree.durable.start(atomic)
    result = handle.result(timeout=30)
    assert result["seen"] == [3]
    assert len(result["keys"]) == 1
    assert [s.status for s in handle.execution().steps] == ["failed", "failed", "completed"]


def test_a_short_back_off_is_waited_for_in_place(tree: Tree) -> None:
    handle = tree.start("eager", one=["raise", "raise", "ok"])
    handle.result(timeout=30)
    lines = tree.ledger(handle.id)
    assert [line["attempt"] for line in lines] == [1, 2, 3, 1, 1]
    assert len({line["pid"] for line in lines}) == 1
    error = handle.execution().steps[0].error
    assert (error["type"], error["message"]) == ("ValueError", "as told")
    assert "raise_" in error["stacktrace"]


def test_a_long_back_off_gives_the_slot_back(tree: Tree) -> None:
    handle = tree.start("patient", one=["raise", "ok"])
    wait_until(lambda: tree.recorded(handle))
    waiting = handle.execution()
    assert (waiting.status, waiting.locked_by) == ("pending", None)
    assert waiting.scheduled_at > waiting.steps[0].completed_at
    tree.start().result(timeout=30)  # the queue has one slot
    assert tree.bodies(handle) == [("one", 1)]
    handle.result(timeout=30)


def test_the_attempts_are_used_up(tree: Tree) -> None:
    handle = tree.start("eager", one="raise")
    execution = tree.until(handle, "failed")
    assert execution.error["type"] == "ValueError"
    assert execution.current_step == "one"
    assert tree.bodies(handle) == [("one", 1), ("one", 2), ("one", 3)]


def test_the_budget_of_attempts_survives_deaths(tree: Tree) -> None:
    handle = tree.start("eager", one=["raise", "die:kill", "raise", "die:kill", "raise", "ok"])
    execution = tree.until(handle, "failed")
    assert [s.error["type"] for s in execution.steps] == [
        "ValueError", "worker_crashed", "ValueError", "worker_crashed", "ValueError",
    ]  # fmt: skip
    assert [s.attempt for s in execution.steps] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("workflow", "action", "kind"),
    [
        ("eager", "raise:Fatal", "Fatal"),
        ("eager", "unstorable", "serialization_error"),
        ("choosy", "raise:KeyError", "KeyError"),
    ],
)
def test_what_another_attempt_cannot_help_is_not_retried(
    tree: Tree, workflow: str, action: str, kind: str
) -> None:
    handle = tree.start(workflow, one=action)
    assert tree.until(handle, "failed").error["type"] == kind
    assert tree.bodies(handle) == [("one", 1)]


def test_a_context_beyond_its_limit_is_refused(postgres_dsn: str, schema: str) -> None:
    with running(postgres_dsn, schema, sink(), max_context="1KB") as tree:
        handle = tree.start(one="big")
        error = tree.until(handle, "failed").error
        assert error["type"] == "serialization_error"
        assert "max_context" in error["message"]
