"""The twelve workflows that are swept: each has one kind of statement that the others have not.

Every body notes its begin and its end in the ledger. Nothing in an output depends on an attempt, so
that a disturbed run can be compared with an undisturbed one.
"""

import os
import signal
import time
from pathlib import Path
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


late = Workflow("late", timeout=60)


@late.step(name="hold", compensate="let_go")
def hold(ctx: Context) -> dict[str, Any]:
    return noted(ctx, held=True)


@late.step(name="in_vain")
def in_vain(ctx: Context) -> None:
    noted(ctx)
    wait_for_event("never")


@late.compensate(name="let_go")
def let_go(ctx: Context) -> None:
    noted(ctx)


deadly = Workflow("deadly", max_crashes=5)


@deadly.step(name="kills", compensate="kills_too")
def kills(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    _die_at_first(ctx)
    return {"lived": True}


@deadly.step(name="give_up")
def give_up(ctx: Context) -> None:
    noted(ctx)
    raise Fatal("as told")


@deadly.compensate(name="kills_too")
def kills_too(ctx: Context) -> None:
    noted(ctx)
    _die_at_first(ctx)


def _die_at_first(ctx: Context) -> None:
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


slow = Workflow("slow")
HANGING = 60.0
_TWICE = Retry(max_attempts=5, backoff="constant", base=0, jitter=0)


@slow.step(name="hangs", timeout=0.15, retry=_TWICE, compensate="hangs_too")
def hangs(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    _hang_at_first(ctx)
    return {"done": True}


@slow.step(name="give_up")
def give_up_slowly(ctx: Context) -> None:
    noted(ctx)
    raise Fatal("as told")


@slow.compensate(name="hangs_too", timeout=0.15, retry=_TWICE)
def hangs_too(ctx: Context) -> None:
    noted(ctx)
    _hang_at_first(ctx)


def _hang_at_first(ctx: Context) -> None:
    if ctx.attempt == 1:
        time.sleep(HANGING)


stopped = Workflow("stopped")


@stopped.step(name="long")
def long(ctx: Context) -> dict[str, Any]:
    """Last until the world says that it is enough: longer than a stop waits."""
    noted(ctx)
    deadline = time.monotonic() + HANGING
    while not Path(ctx.input["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return {"over": True}


failing = Workflow("failing")


@failing.step(name="begin")
def begin(ctx: Context) -> dict[str, Any]:
    return noted(ctx, begun=True)


with failing.parallel(name="both"):

    @failing.step(name="fails")
    def fails(ctx: Context) -> None:
        noted(ctx)
        wait_for_event("fail")
        raise Fatal("as told")

    @failing.step(name="waits")
    def waits(ctx: Context) -> None:
        noted(ctx)
        wait_for_event("never")


orphans = Workflow("orphans", timeout=60)

with orphans.parallel(name="block"):

    @orphans.step(name="waiting")
    def waiting(ctx: Context) -> None:
        noted(ctx)
        wait_for_event("never")


ALL: tuple[Workflow, ...] = (plain, retry, backoff, branch, loop, parallel, each, saga, sleeper)
ALL += (events, asking, called, children, cron, late, deadly, slow, stopped, failing, orphans)
