"""The twelve workflows that are swept: each has one kind of statement that the others have not.

Every body notes its begin and its end in the ledger. Nothing in an output depends on an attempt, so
that a disturbed run can be compared with an undisturbed one.
"""

from typing import Any

from durable_otp import (
    Context,
    Fatal,
    Retry,
    Workflow,
    call_workflow,
    goto,
    once,
    sleep,
    start_workflow,
    wait_for_all,
    wait_for_any,
    wait_for_event,
    wait_for_text,
)
from tests.support.ledger import Effects
from tests.support.ledger.invariants_steps import mark

FAR = 3600.0


def noted(ctx: Context, **value: Any) -> dict[str, Any]:
    """Be a body that has an effect on the world and returns a mapping."""
    effects = Effects(*ctx.input["ledger"])
    with effects.noted(ctx):
        print(mark(ctx.execution_id, ctx.step, ctx.attempt))
    return value


plain = Workflow("plain")


@plain.step(name="one")
def plain_one(ctx: Context) -> dict[str, Any]:
    return noted(ctx, one=1)


@plain.step(name="two")
def plain_two(ctx: Context) -> dict[str, Any]:
    return noted(ctx, two=2)


@plain.step(name="three")
def plain_three(ctx: Context) -> dict[str, Any]:
    return noted(ctx, three=ctx["one"] + ctx["two"])


retry = Workflow("retry")


@retry.step(name="flaky", retry=Retry(max_attempts=5, backoff="constant", base=0, jitter=0))
def fails_twice(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    if ctx.attempt <= 2:
        raise ValueError("not yet")
    return {"flaky": "done"}


@retry.step(name="after")
def after_retries(ctx: Context) -> dict[str, Any]:
    return noted(ctx, after=1)


backoff = Workflow("backoff")


@backoff.step(name="patient", retry=Retry(max_attempts=5, backoff="constant", base=60, jitter=0))
def fails_once(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    if ctx.attempt == 1:
        raise ValueError("come back later")
    return {"patient": "done"}


branch = Workflow("branch")


@branch.step(name="ask")
def ask(ctx: Context) -> dict[str, Any]:
    return noted(ctx, answer="yes")


with branch.branch(lambda ctx: ctx["answer"], name="decision") as decision:
    with decision.case("yes"):

        @branch.step(name="ship")
        def ship(ctx: Context) -> dict[str, Any]:
            return noted(ctx, shipped=True)

    with decision.default():

        @branch.step(name="keep")
        def keep(ctx: Context) -> dict[str, Any]:
            return noted(ctx, kept=True)


loop = Workflow("loop")


@loop.step(name="work")
def work(ctx: Context) -> dict[str, Any]:
    return noted(ctx, rounds=ctx.get("rounds", 0) + 1)


@loop.decision(name="again", targets=["work"])
def again(ctx: Context) -> Any:
    noted(ctx)
    return goto("work") if ctx["rounds"] < 3 else None


parallel = Workflow("parallel")

with parallel.parallel(name="lookups") as lookups:

    @parallel.step(name="left")
    def left(ctx: Context) -> dict[str, Any]:
        return noted(ctx, left=1)

    @parallel.step(name="middle")
    def middle(ctx: Context) -> dict[str, Any]:
        return noted(ctx, middle=2)

    @parallel.step(name="right")
    def right(ctx: Context) -> dict[str, Any]:
        return noted(ctx, right=3)


@lookups.into
def together(ctx: Context, results: Any) -> dict[str, Any]:
    return {"sum": sum(sum(each.value.values()) for each in results.values())}


each = Workflow("each")


@each.each("items", name="pack", max_concurrency=2)
def pack(ctx: Context, item: Any, index: int) -> Any:
    noted(ctx)
    return [index, item]


@each.step(name="count")
def count(ctx: Context) -> dict[str, Any]:
    return noted(ctx, count=len(ctx["pack"]))


saga = Workflow("saga")


@saga.step(name="book", compensate="unbook")
def book(ctx: Context) -> dict[str, Any]:
    return noted(ctx, booked=1)


@saga.step(name="charge", compensate="refund")
def charge(ctx: Context) -> dict[str, Any]:
    return noted(ctx, charged=1)


@saga.step(name="break")
def break_(ctx: Context) -> None:
    noted(ctx)
    raise Fatal("as told")


@saga.compensate(name="unbook")
def unbook(ctx: Context) -> None:
    noted(ctx)


@saga.compensate(name="refund", retry=Retry(max_attempts=5, base=60, jitter=0))
def refund(ctx: Context) -> None:
    noted(ctx)
    if ctx.attempt == 1:
        raise ValueError("not yet")


sleeper = Workflow("sleep")


@sleeper.step(name="nap")
def nap(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    sleep(FAR)
    sleep(FAR)
    return {"rested": True}


events = Workflow("events")


@events.step(name="early")
def early(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    return {"early": wait_for_event("early")}


@events.step(name="either")
def either(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    return {"either": wait_for_any(["this", "that"], timeout=100 * FAR)}


@events.step(name="both")
def both(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    return {"both": wait_for_all(["first", "second"])}


asking = Workflow("input")


@asking.step(name="ignored")
def ignored(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    return {"ignored": wait_for_text("ignored", timeout=FAR, timeout_value="nobody")}


@asking.step(name="answered")
def answered(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    return {"answered": wait_for_text("answered", timeout=100 * FAR)}


called = Workflow("called")


@called.step(name="reply")
def reply(ctx: Context) -> dict[str, Any]:
    return noted(ctx, reply=ctx.input["number"] * 2)


children = Workflow("children")


@children.step(name="call")
def call(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    stamp = once("stamp", lambda: "kept")
    given = {"ledger": ctx.input["ledger"], "intent": ctx.input["intent"]}
    start_workflow(called, {**given, "number": 1})
    first = call_workflow(called, {**given, "number": 2})
    return {"stamp": stamp, "reply": first["reply"]}


@children.step(name="call_in_vain")
def call_in_vain(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    given = {"ledger": ctx.input["ledger"], "intent": ctx.input["intent"]}
    answer = call_workflow(sleeper, given, timeout=60, timeout_value="too late")
    return {"in_vain": answer}


@children.step(name="elsewhere", queue="slow")
def elsewhere(ctx: Context) -> dict[str, Any]:
    return noted(ctx, elsewhere=True)


cron = Workflow("cron")


@cron.step(name="tick")
def tick(ctx: Context) -> dict[str, Any]:
    return noted(ctx, ticked=True)


ALL: tuple[Workflow, ...] = (plain, retry, backoff, branch, loop, parallel, each, saga, sleeper)
ALL += (events, asking, called, children, cron)
