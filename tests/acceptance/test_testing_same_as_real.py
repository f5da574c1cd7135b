"""What `run_inline` returns is what the client shows of the same execution in the real tree."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from durable_otp import (
    ChildFailed,
    Durable,
    Fatal,
    Retry,
    Workflow,
    call_workflow,
    goto,
    once,
    sleep,
    wait_for_all,
    wait_for_any,
    wait_for_approval,
    wait_for_event,
    wait_for_form,
)
from durable_otp.testing import run_inline
from durable_otp.workflow.execution import Execution
from durable_otp.workflow.state import FINAL
from tests.support.journals import comparable
from tests.support.postgres import fresh_schema
from tests.support.tree import Tree, running
from tests.support.waiting import wait_until

QUICK = Retry(max_attempts=3, base=0.01, max_backoff=0.01)


@dataclass
class Case:
    """A workflow, and what it is given."""

    workflow: Workflow
    input: Any = None
    events: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)


def steps() -> Case:
    workflow = Workflow("steps", version="7", priority=3, retry=QUICK)

    @workflow.step(returns="total")
    def add(ctx):
        print("adding")
        return sum(ctx.input["items"])

    @workflow.step
    def flaky(ctx):
        ctx["attempt"] = ctx.attempt
        if ctx.attempt < 3:
            raise ValueError(f"attempt {ctx.attempt}")

    with workflow.branch(lambda ctx: ctx["total"] > 2, name="much") as much:
        with much.case(True):

            @workflow.step
            async def many(ctx):
                return {"size": "many"}

        with much.default():
            workflow.step(name="few")(lambda: None)

    @workflow.decision
    def again(ctx):
        ctx.increment("rounds")
        return goto("flaky") if ctx["rounds"] < 3 else None

    return Case(workflow, {"items": [1, 2]})


def failing() -> Case:
    workflow = Workflow("failing", retry=QUICK)
    workflow.step(name="fine")(lambda: {"n": 1})

    @workflow.step
    def fail(ctx):
        raise Fatal("no")

    return Case(workflow)


def lost() -> Case:
    workflow = Workflow("lost")
    workflow.step(name="jump")(lambda: goto("nowhere"))
    return Case(workflow)


def waiting() -> Case:
    workflow = Workflow("waiting")

    @workflow.step
    def events(ctx):
        return {
            "once": once("key", lambda: 7),
            "one": wait_for_event("a"),
            "any": wait_for_any(["b", "a"]),
            "all": wait_for_all(["b", "c"]),
        }

    @workflow.step
    def people(ctx):
        fields = [{"name": "note", "required": True}, {"name": "n", "type": "number"}]
        ctx["decision"] = wait_for_approval("manager")
        ctx["form"] = wait_for_form("details", fields=fields)

    given = {"a": [1, {"x": 2}], "b": "b", "c": None}
    return Case(workflow, None, given, {"manager": False, "details": {"note": "y", "n": 3}})


def timing() -> Case:
    workflow = Workflow("timing", retry=QUICK)

    @workflow.step
    def late(ctx):
        sleep(0.1)
        return {"late": wait_for_event("never", timeout=0.1, timeout_value=["late"])}

    @workflow.step
    def refused(ctx):
        wait_for_event("never", timeout=0.1)

    return Case(workflow)


def unanswered() -> Case:
    workflow = Workflow("unanswered")
    workflow.step(name="book", compensate="cancel")(lambda: {"booking": 1})
    workflow.step(name="ask")(lambda: wait_for_approval("boss", timeout=0.1, on_timeout="fail"))
    workflow.compensate(name="cancel")(lambda ctx: {"cancelled": ctx["booking"]})
    return Case(workflow)


def overdue() -> Case:
    workflow = Workflow("overdue", timeout=0.5)
    workflow.step(name="quick")(lambda: None)
    workflow.step(name="slow")(lambda: wait_for_event("never"))
    return Case(workflow)


def undone() -> Case:
    workflow = Workflow("undone", retry=QUICK)
    workflow.step(name="book", compensate="cancel")(lambda: {"booking": 1})
    workflow.step(name="pay", compensate="refund")(lambda: {"paid": True})

    @workflow.each("parts")
    def part(ctx, item):
        return item

    @workflow.step
    def fail(ctx):
        raise Fatal("broken")

    @workflow.compensate
    def cancel(ctx):
        if ctx.attempt == 1:
            raise ValueError("not yet")
        return {"was": ctx["booking"]}

    @workflow.compensate
    def refund(ctx):
        raise Fatal("cannot")

    return Case(workflow, {"parts": [1, 2]})


def blocks() -> Case:
    workflow = Workflow("blocks")
    with workflow.parallel(name="both") as both:

        @workflow.step(returns="user")
        def fetch(ctx):
            return {"id": ctx["id"]}

        with workflow.branch(lambda ctx: ctx["id"], name="kind") as kind, kind.case(7):

            @workflow.step
            def seven(ctx):
                ctx["seven"] = True

    @both.into
    def merge(ctx, results):
        return {"user": results["user"].value, "kind": results["kind"].value}

    @workflow.each("items", max_concurrency=2, on_error="complete_all")
    def pack(ctx, item, index):
        return 6 // item + index

    @workflow.step
    def sum_up(ctx):
        return {"kinds": [type(result).__name__ for result in ctx.results["pack"]]}

    return Case(workflow, {"id": 7, "items": [1, 0, 3]})


def broken_block() -> Case:
    workflow = Workflow("broken_block")

    @workflow.each("items", max_concurrency=1)
    def pack(ctx, item):
        return 6 // item

    return Case(workflow, {"items": [1, 0, 3]})


def nested() -> Case:
    """Blocks in blocks, entered twice, with waits and something to undo in them."""
    workflow = Workflow("nested", retry=QUICK)
    with workflow.parallel(name="both"):
        with workflow.branch(lambda ctx: "x", name="kind") as kind, kind.case("x"):

            @workflow.each("items")
            def pack(ctx, item):
                sleep(0.05)
                return item * 10

            workflow.step(name="count")(lambda ctx: {"packed": len(ctx["pack"])})

        @workflow.step(compensate="cancel")
        def book(ctx):
            return {"booked": ctx.get("rounds", 0)}

    @workflow.decision
    def again(ctx):
        ctx.increment("rounds")
        ctx.append("seen", ctx.results["kind"].value)
        return goto("both") if ctx["rounds"] < 2 else None

    workflow.step(name="end")(lambda: wait_for_approval("boss", timeout=0.1, on_timeout="fail"))
    workflow.compensate(name="cancel")(lambda ctx: {"cancelled": ctx["booked"]})
    return Case(workflow, {"items": [1, 2]})


def patience(slow: Workflow) -> Case:
    """Calls that are given up, called by one name, and called again after a failure."""
    workflow = Workflow("patience", retry=QUICK)

    @workflow.step
    def call(ctx):
        late = call_workflow(slow, timeout=0.1, timeout_value="late")
        if ctx.attempt == 1:
            raise ValueError("again")
        return {"late": late}

    @workflow.step
    def named(ctx):
        calls = [call_workflow("child", {"n": n}, ref="the one") for n in (1, 2)]
        return {"same": calls[0] == calls[1]}

    @workflow.step
    def refused(ctx):
        call_workflow(slow, timeout=0.1)

    return Case(workflow)


def calling(child: Workflow, bad: Workflow) -> Case:
    workflow = Workflow("calling", retry=QUICK)

    @workflow.step
    def call(ctx):
        try:
            call_workflow("bad")
        except ChildFailed as error:
            ctx["failed"] = error.error["message"]
        return {"by_object": call_workflow(child, {"n": 1}), "by_name": call_workflow("child")}

    @workflow.step
    def fail(ctx):
        call_workflow(bad)

    return Case(workflow)


def cases() -> dict[str, Case]:
    child = Workflow("child")
    child.step(name="only")(lambda ctx: {"m": ctx.get("n", 0) + 1})
    slow = Workflow("slow")
    slow.step(name="only")(lambda: wait_for_event("never"))
    bad = Workflow("bad")

    @bad.step
    def fail(ctx):
        raise Fatal("bad")

    known: list[Callable[[], Case]] = [
        steps, failing, lost, waiting, timing, unanswered, overdue, undone, blocks, broken_block,
        nested,
    ]  # fmt: skip
    return {
        **{make.__name__: make() for make in known},
        "calling": calling(child, bad),
        "patience": patience(slow),
        "child": Case(child, {"n": 5}),
        "bad": Case(bad),
    }


CASES = cases()
globals().update({f"{name}_workflow": case.workflow for name, case in CASES.items()})
"""Where steps look for workflows by name."""


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    workflows = [case.workflow for case in CASES.values()]
    with (
        fresh_schema(postgres_dsn) as schema,
        running(
            postgres_dsn,
            schema,
            *workflows,
            queues={"default": 3},
            sleep_waker={"interval": "100ms"},
            wait_timeouts={"interval": "100ms"},
        ) as tree,
    ):
        yield tree


def in_the_tree(durable: Durable, case: Case) -> Execution:
    """Run a case for real: what it is given is sent as somebody outside would."""
    handle = durable.start(case.workflow, case.input)
    for name, given in case.events.items():
        for payload in given if isinstance(given, list) else [given]:
            handle.send_event(name, payload)
    for name, answer in case.inputs.items():
        wait_until(
            lambda name=name: any(
                each.name == name for each in durable.list_pending_inputs(handle.id)
            ),
            what=f"the question {name}",
        )
        durable.provide_input(handle.id, name, answer)
    wait_until(lambda: handle.status() in FINAL, what="the end", timeout=30)
    return durable.get_execution(handle.id, steps=True)


@pytest.mark.parametrize("name", CASES)
def test_an_execution_is_the_same_inline_and_in_the_tree(tree: Tree, name: str) -> None:
    case = CASES[name]
    inline = run_inline(case.workflow, case.input, events=case.events, inputs=case.inputs)
    assert comparable(inline) == comparable(in_the_tree(tree.durable, case))
