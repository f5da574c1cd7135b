"""Parallel and each blocks through the tree. Every timer is an hour: ends of children are heard."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from durable_otp import Context, Err, Ok, Retry, Workflow, WorkflowFailed, goto, sleep
from tests.support.postgres import fresh_schema
from tests.support.sink import gate, note, perform
from tests.support.tree import STILL, Tree, all_gone, blocked, kill, running, still_queue
from tests.support.waiting import wait_until

SLEEPY = Retry(max_attempts=2, backoff="constant", base=0, jitter=0)

lookups = Workflow("lookups")
lookups.step(name="first")(lambda ctx: {"n": 1})
with lookups.parallel(name="both") as both:
    lookups.step(name="user", returns="u")(lambda ctx: ctx["n"] + 1)

    @lookups.step(name="orders", queue="slow")
    def orders(ctx: Context) -> None:
        note(ctx, "begun")
        sleep(0.01)
        ctx["n"] = 7


@both.into
def merge(ctx: Context, results: dict[str, Any]) -> Any:
    if ctx.attempt == 1 and ctx["die"]:
        os.kill(os.getpid(), 9)
    match results["u"], results["orders"]:
        case Ok(value=user), Ok(value=changed):
            return {"user": user, "changed": changed}


@lookups.step
def last(ctx: Context) -> Any:
    return {"kept": {name: result.stored() for name, result in ctx.results.items()}}


mixed = Workflow("mixed", retry=SLEEPY)
with mixed.parallel(name="block", on_error="complete_all"):
    for step in ("left", "right"):
        mixed.step(name=step)(perform)
mixed.step(name="after")(
    lambda ctx: {"results": {name: result.stored()[0] for name, result in ctx.results.items()}}
)

strict = Workflow("strict")
with strict.parallel(name="block"):

    @strict.step(name="left")
    def left(ctx: Context) -> None:
        gate(ctx, ctx.input["gate"])
        raise ValueError("as told")

    strict.step(name="right")(perform)
    with strict.parallel(name="inner"):
        strict.step(name="deep")(perform)

numbers = Workflow("numbers")


@numbers.each("items", max_concurrency=2)
def double(ctx: Context, item: int, index: int) -> int:
    note(ctx, "begun")
    sleep(0.01) if index == 3 else None
    note(ctx, "over")
    return item * 2


nested = Workflow("nested")
with nested.parallel(name="outer") as outer:
    with nested.branch(lambda ctx: ctx["kind"], name="choice") as choice, choice.case("a"):
        nested.step(name="count")(lambda ctx: ctx.increment("n") and None)
        nested.decision(name="again")(lambda ctx: goto("count") if ctx["n"] < 3 else None)
        with nested.parallel(name="inner"):
            nested.each(lambda ctx: [ctx["n"]] * 2, name="pack")(lambda ctx, item, index: index)
            nested.step(name="plain")(lambda ctx: {"plain": ctx["n"]})
        nested.step(name="gathered")(lambda ctx: {"inner": ctx.results["plain"].value})
    nested.each("letters", name="letters")(lambda ctx, item: item.upper())
outer.into(lambda ctx, results: {name: result.value for name, result in results.items()})

many = Workflow("many")


@many.each(lambda ctx: note(ctx, "listed") or list(range(3000)), queue="parked",
           max_concurrency=1500)  # fmt: skip
def one_of_many(ctx: Context, item: int) -> None: ...


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    workflows = (lookups, mixed, strict, numbers, nested, many)
    queues = {"default": still_queue(4), "slow": still_queue(1)}
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, *workflows, queues=queues, **STILL) as tree,
    ):
        yield tree


STOP_AT_THE_SECOND_BATCH = """
CREATE FUNCTION {s}.stop() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_advisory_xact_lock_shared(hashtext('{s}')); RETURN NEW; END $$;
CREATE TRIGGER stop BEFORE INSERT ON {s}.workflow_executions
    FOR EACH ROW WHEN (NEW.parent_index = 1000) EXECUTE FUNCTION {s}.stop()
"""


def gone(pid: int) -> bool:
    return all_gone({pid})


def given(tree: Tree, **more: Any) -> dict[str, Any]:
    return {"ledger": [tree.dsn, tree.schema], **more}


@pytest.mark.parametrize("die", [False, True])
def test_results_become_context_through_into_also_when_its_worker_dies(
    tree: Tree, die: bool
) -> None:
    handle = tree.durable.start(lookups, given(tree, die=die))
    result = handle.result(timeout=30)
    changed = {"n": 7}
    assert (result["n"], result["user"], result["changed"]) == (1, 2, changed)
    assert result["kept"] == {"u": ["ok", 2], "orders": ["ok", changed]}
    slow = {worker["pid"] for worker in tree.workers("slow")}
    children = {child.queue: child for child in tree.durable.list_children(handle.id)}
    assert set(children) == {"default", "slow"}
    orders_child = children["slow"]
    assert {line["pid"] for line in tree.ledger(orders_child.id)} <= slow
    steps = handle.execution().steps
    assert [(s.path, s.type, s.attempt, s.status) for s in steps if s.path == "both"] == [
        ("both", "parallel", number, status)
        for number, status in ([(1, "failed"), (2, "completed")] if die else [(1, "completed")])
    ]
    (step,) = tree.durable.get_execution(orders_child.id, steps=True).steps
    assert (step.path, step.status) == ("both/orders", "completed")
    assert tree.durable.get_execution(orders_child.id).output["n"] == 7


def test_with_complete_all_every_child_ends_and_a_dead_worker_is_nothing_special(
    tree: Tree,
) -> None:
    handle = tree.start("mixed", left=["die:kill", "ok"], right="raise")
    assert handle.result(timeout=30)["results"] == {"left": "ok", "right": "error"}
    one, two = tree.durable.list_children(handle.id)
    assert (one.status, one.crashes, two.status) == ("completed", 1, "failed")
    assert len(tree.durable.get_execution(two.id, steps=True).steps) == 2  # it was retried


def test_a_fatal_failure_interrupts_the_siblings_and_all_below_them_at_once(
    tree: Tree, tmp_path: Path
) -> None:
    gate_path = tmp_path / "open"
    actions = {"right": "hang:sleep", "deep": "hang:sleep"}
    handle = tree.durable.start(strict, given(tree, actions=actions, gate=str(gate_path)))
    hanging = ("right", "deep")
    wait_until(
        lambda: {line["step"] for line in tree.ledger()} >= set(hanging), what="the siblings"
    )
    gate_path.touch()
    with pytest.raises(WorkflowFailed) as raised:
        handle.result(timeout=30)
    error = raised.value.error
    children = {child.current_step: child for child in tree.durable.list_children(handle.id)}
    assert (error["type"], error["child"]["name"]) == ("ValueError", "left")
    statuses = sorted(str(child.status) for child in children.values())
    assert statuses == ["cancelled", "cancelled", "failed"]
    wait_until(
        lambda: {line["step"] for line in tree.ledger(what="finally")} >= set(hanging),
        what="the interrupted bodies",
    )
    deep = tree.sql("SELECT status FROM {s}.workflow_executions WHERE start_path LIKE '%%/deep'")
    assert deep == [{"status": "cancelled"}]


def test_never_more_children_run_than_may_and_the_values_are_in_order(tree: Tree) -> None:
    items = list(range(10))
    handle = tree.durable.start(numbers, given(tree, items=items))
    assert handle.result(timeout=30)["double"] == [item * 2 for item in items]
    children = {child.id for child in tree.durable.list_children(handle.id)}
    assert len(children) == len(items)
    live: set[str] = set()
    for line in tree.ledger(what="%"):
        if (child := str(line["execution_id"])) in children:
            (live.add if line["what"] == "begun" else live.discard)(child)
            assert len(live) <= 2


def test_blocks_nest_in_each_other_and_in_branches(tree: Tree) -> None:
    handle = tree.durable.start(nested, {"kind": "a", "n": 0, "letters": ["x", "y"]})
    result = handle.result(timeout=30)
    assert result["letters"] == {"letters": ["X", "Y"]}
    assert result["choice"] == {"n": 3, "inner": {"plain": 3}}
    assert result["n"] == 0


def test_an_opening_whose_worker_is_killed_goes_on_and_the_items_are_asked_for_once(
    tree: Tree,
) -> None:
    tree.sql(STOP_AT_THE_SECOND_BATCH)
    with psycopg.connect(tree.dsn) as holding:
        holding.execute("SELECT pg_advisory_lock(hashtext(%s))", [tree.schema])
        handle = tree.durable.start(many, given(tree))
        wait_until(lambda: blocked(tree, "create_children"), what="the second batch")
        (line,) = tree.ledger(handle.id, "listed")
        kill(line["pid"])
        wait_until(lambda: tree.ledger(handle.id, "listed") and gone(line["pid"]), what="death")
        assert len(tree.durable.list_children(handle.id)) == 1000
    tree.until(handle, "waiting")
    (block,) = tree.sql("SELECT opened, created FROM {s}.fan_outs WHERE execution_id = %s",
                        handle.id)  # fmt: skip
    assert block == {"opened": 3000, "created": 1500}
    rest = tree.sql("SELECT count(*) AS n, min(index) AS first FROM {s}.fan_out_items")
    assert rest == [{"n": 1500, "first": 1500}]
    items = [child.input for child in tree.durable.list_children(handle.id)]
    assert items == list(range(1500))
    assert len(tree.ledger(handle.id, "listed")) == 1
    handle.cancel()


def test_a_worker_that_dies_while_it_lists_the_items_is_nothing_special(
    dsn: str, schema: str
) -> None:
    workflow = Workflow("dying")

    def items(ctx: Context) -> list[int]:
        if ctx.attempt == 1:
            os.kill(os.getpid(), 9)
        return [1, 2]

    workflow.each(items, name="pack", on_error="complete_all")(fails_on_two)
    with running(dsn, schema, workflow, queues={"default": still_queue(2)}, **STILL) as tree:
        result = tree.durable.start(workflow).result(timeout=30)
    first, (kind, error) = result["pack"]
    assert first == ["ok", 1]
    assert (kind, error["type"]) == ("error", "ValueError")
    assert isinstance(Err(error), Err)


def fails_on_two(ctx: Context, item: int) -> int:
    if item == 2:
        raise ValueError("two")
    return item
