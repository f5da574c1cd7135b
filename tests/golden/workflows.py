"""The workflows of the golden journals. Journals are kept for ever, so these are never changed.

What later versions can do besides goes into workflows of its own, and into the next journal.
A body at which an execution is held waits while its input's file exists.
"""

from pathlib import Path
from typing import Any

from durable_otp import (
    Context,
    Fatal,
    Retry,
    Workflow,
    call_workflow,
    days,
    goto,
    hours,
    once,
    sleep,
    wait_for_any,
    wait_for_approval,
    wait_for_event,
)
from tests.support.waiting import wait_until

AGES = days(3650)


def hold(ctx: Context) -> None:
    """Stand here while a journal is written; nothing holds it when that is resumed."""
    barrier = Path(ctx.input["hold"])
    if barrier.exists():
        Path(f"{barrier}.reached.{ctx.execution_id}").touch()
        wait_until(lambda: not barrier.exists(), timeout=100, what="the journal")


steps = Workflow("steps")


@steps.step
def first(ctx: Context) -> Any:
    ctx.increment("runs")
    ctx["dropped"] = True
    return {"list": [1, 2.5, None, "ü"], "runs_of_first": ctx.attempt}


@steps.step(name="second")
def second(ctx: Context) -> Any:
    hold(ctx)
    ctx.append("list", {"from": "second"})
    ctx.increment("runs")
    del ctx["dropped"]


@steps.step(returns="last")
def third(ctx: Context) -> Any:
    return len(ctx["list"])


retrying = Workflow("retrying")


@retrying.step(retry=Retry(max_attempts=3, backoff="constant", base=3600, max_backoff=3600))
def flaky(ctx: Context) -> Any:
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return {"attempt": ctx.attempt}


sleeping = Workflow("sleeping", timeout=AGES)


@sleeping.step
def rest(ctx: Context) -> Any:
    before = once("before", lambda: "made once")
    sleep(hours(1))
    return {"before": before}


mail = Workflow("mail")


@mail.step
def collect(ctx: Context) -> Any:
    early = wait_for_event("early")
    name, payload = wait_for_any(["late", "later"], timeout=AGES)
    return {"early": early, "name": name, "payload": payload}


@mail.step
def remainder(ctx: Context) -> Any:
    return {"lying": wait_for_event("lying")}


timed = Workflow("timed")


@timed.step
def expect(ctx: Context) -> Any:
    return {"answer": wait_for_event("never", timeout=hours(1), timeout_value="by default")}


approval = Workflow("approval")


@approval.step
def ask(ctx: Context) -> Any:
    return {"decision": wait_for_approval("boss", prompt="Well?", timeout=AGES)}


blocks = Workflow("blocks")

with blocks.parallel(name="both") as both:

    @blocks.step(returns="quick")
    def quick(ctx: Context) -> Any:
        return "quickly"

    @blocks.step
    def slow(ctx: Context) -> Any:
        hold(ctx)
        return {"slow": "slowly"}


@both.into
def merge(ctx: Context, results: Any) -> Any:
    return {"merged": {name: result.value for name, result in results.items()}}


each = Workflow("each")


@each.each("items", max_concurrency=1)
def pack(ctx: Context, item: Any, index: int) -> Any:
    if index == 1:
        hold(ctx)
    return item * 10


@each.step
def weigh(ctx: Context) -> Any:
    return {"weight": sum(ctx["pack"])}


saga = Workflow("saga")


@saga.step(compensate="unbook")
def book(ctx: Context) -> Any:
    return {"booked": 1}


@saga.step(compensate="repay")
def pay(ctx: Context) -> Any:
    return {"paid": 2}


@saga.step
def fly(ctx: Context) -> None:
    raise Fatal("no plane")


@saga.compensate
def unbook(ctx: Context) -> Any:
    hold(ctx)
    return {"unbooked": ctx["booked"]}


@saga.compensate
def repay(ctx: Context) -> None:
    """Give back nothing worth writing down."""


parent = Workflow("parent")


@parent.step
def delegate(ctx: Context) -> Any:
    return {"answer": call_workflow(sleeping, {}, ref="the child")["before"]}


loop = Workflow("loop")

with loop.branch(lambda ctx: ctx["kind"], name="kind") as kind:
    with kind.case("long"):

        @loop.step
        def walk(ctx: Context) -> None:
            ctx.increment("walked")
            if ctx["walked"] == 2:
                hold(ctx)

        @loop.decision(targets=["walk"])
        def again(ctx: Context) -> Any:
            return goto("walk") if ctx["walked"] < 3 else None

    with kind.default():

        @loop.step
        def stay(ctx: Context) -> None:
            """Not taken."""


WORKFLOWS = (
    steps,
    retrying,
    sleeping,
    mail,
    timed,
    approval,
    blocks,
    each,
    saga,
    parent,
    loop,
)
