"""`run_inline`: a whole execution in memory, by the real engine, without waiting for anything."""

import asyncio
import logging
import sys
from datetime import timedelta
from itertools import pairwise

import pytest
from pydantic import BaseModel

from durable_otp import (
    Fatal,
    InputRejected,
    InvalidInput,
    Retry,
    Workflow,
    days,
    goto,
    hours,
    once,
    schedule_at,
    sleep,
    wait_for_all,
    wait_for_any,
    wait_for_approval,
    wait_for_choice,
    wait_for_event,
    wait_for_input,
)
from durable_otp.testing import run_inline
from durable_otp.workflow.current import step_run


def one_step(body, name="w", **options) -> Workflow:
    workflow = Workflow(name, **options)
    workflow.step(name="one")(body)
    return workflow


def now():
    return step_run("now").now()


def steps_of(execution):
    return [(step.path, step.visit, step.attempt, str(step.status)) for step in execution.steps]


# steps


def test_an_execution_is_returned_with_its_steps():
    workflow = Workflow("order", version="3", queue="shop", priority=4)

    @workflow.step
    def price(ctx):
        ctx["total"] = sum(ctx.input["items"])
        return {"currency": "EUR"}

    @workflow.step(queue="slow")
    async def pay(ctx):
        await asyncio.sleep(0)
        return ctx["total"]

    execution = run_inline(workflow, {"items": [1, 2]})
    assert execution.status == "completed"
    assert execution.output == {"items": [1, 2], "total": 3, "currency": "EUR", "pay": 3}
    assert execution.context == execution.output
    assert (execution.workflow, execution.version, execution.priority) == ("order", "3", 4)
    assert (execution.error, execution.locked_by, execution.current_step) == (None, None, None)
    assert steps_of(execution) == [("price", 1, 1, "completed"), ("pay", 1, 1, "completed")]
    assert [step.output for step in execution.steps] == [{"currency": "EUR"}, 3]
    assert execution.started_at <= execution.steps[0].started_at <= execution.completed_at


def test_the_input_is_what_its_type_makes_of_it():
    class Order(BaseModel):
        items: list[int]

    workflow = one_step(lambda ctx: {"n": len(ctx.input.items)}, input=Order)
    assert run_inline(workflow, {"items": ["1", 2]}).output == {"items": [1, 2], "n": 2}
    with pytest.raises(InvalidInput):
        run_inline(workflow, {"items": "none"})


def test_long_delays_between_attempts_are_skipped():
    seen = []

    def body(ctx):
        seen.append(now())
        if ctx.attempt < 4:
            raise ValueError("not yet")

    workflow = one_step(
        body, retry=Retry(max_attempts=4, base=3600, max_backoff=hours(3), jitter=0)
    )
    execution = run_inline(workflow)
    assert steps_of(execution) == [
        ("one", 1, 1, "failed"),
        ("one", 1, 2, "failed"),
        ("one", 1, 3, "failed"),
        ("one", 1, 4, "completed"),
    ]
    waited = [later - earlier for earlier, later in pairwise(seen)]
    assert waited == [hours(2), hours(3), hours(3)]


@pytest.mark.parametrize("error", [Fatal("no"), ValueError("no")])
def test_a_failure_is_that_of_the_real_engine(error):
    def body():
        raise error

    execution = run_inline(one_step(body, retry=Retry(max_attempts=2, base=0)))
    assert execution.status == "failed"
    assert (execution.error["type"], execution.error["message"]) == (type(error).__name__, "no")
    assert "in body" in execution.error["stacktrace"]
    assert execution.output is None
    assert len(execution.steps) == (1 if isinstance(error, Fatal) else 2)


def test_branches_and_jumps():
    workflow = Workflow("loop")

    @workflow.step
    def count(ctx):
        ctx.increment("n")

    with workflow.branch(lambda ctx: ctx["n"] < 3, name="more") as more, more.case(True):

        @workflow.step
        def again(ctx):
            return goto("count")

    execution = run_inline(workflow)
    assert execution.output["n"] == 3
    assert [(s.path, s.visit) for s in execution.steps if s.path == "count"] == [
        ("count", 1),
        ("count", 2),
        ("count", 3),
    ]


def test_what_a_step_writes_is_kept_and_shown(capsys):
    def body():
        print("printed")
        logging.getLogger("shop").info("logged %s", 1)
        sys.stderr.write("on stderr\n")

    (step,) = run_inline(one_step(body)).steps
    assert [(entry["source"], entry["message"]) for entry in step.logs] == [
        ("output", "printed"),
        ("logging", "logged 1"),
        ("output", "on stderr"),
    ]
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("printed\n", "on stderr\n")


def test_values_go_through_their_json_form():
    shared = [1]

    def body(ctx):
        ctx["list"] = shared
        return {"when": timedelta, "list": shared} if ctx.input else None

    workflow = one_step(body)

    @workflow.step
    def after(ctx):
        shared.append(2)
        return {"kept": ctx["list"]}

    assert run_inline(workflow).output == {"list": [1], "kept": [1]}
    assert run_inline(workflow, True).error["type"] == "serialization_error"


# time


def test_sleeps_are_skipped_and_the_clock_moves():
    def body(ctx):
        begun = once("begun", lambda: now().isoformat())
        sleep(days(30))
        schedule_at(now() + timedelta(0))
        return {"from": begun, "to": now().isoformat()}

    execution = run_inline(one_step(body))
    assert execution.completed_at - execution.started_at == days(30)
    assert steps_of(execution) == [("one", 1, 1, "completed")]


def test_a_wait_that_nobody_answers_times_out():
    def body(ctx):
        first = wait_for_event("paid", timeout=days(3), timeout_value="late")
        return {"paid": first, "choice": wait_for_input("note", timeout=60, timeout_value=None)}

    execution = run_inline(one_step(body))
    assert execution.output == {"paid": "late", "choice": None}
    assert execution.completed_at - execution.inserted_at == days(3) + timedelta(minutes=1)


def test_a_timeout_without_a_value_fails_its_attempt():
    def body(ctx):
        wait_for_event("paid", timeout=days(3))

    execution = run_inline(one_step(body, retry=Retry(max_attempts=2)))
    assert execution.error["type"] == "WaitTimeout"
    assert execution.completed_at - execution.inserted_at > days(6)
    assert len(execution.steps) == 2


def test_an_input_may_end_its_execution():
    execution = run_inline(
        one_step(lambda: wait_for_approval("manager", timeout=days(1), on_timeout="fail"))
    )
    assert (execution.status, execution.error["type"]) == ("failed", "wait_timeout")


def test_a_deadline_ends_what_waits_beyond_it():
    execution = run_inline(one_step(lambda: wait_for_event("paid"), timeout=hours(2)))
    assert (execution.status, execution.error["type"]) == ("failed", "workflow_timeout")
    assert execution.completed_at - execution.inserted_at == hours(2)
    within = run_inline(one_step(lambda: sleep(hours(1)), timeout=hours(2)))
    assert within.status == "completed"


def test_what_nothing_can_wake_is_returned_waiting():
    execution = run_inline(one_step(lambda: wait_for_event("paid")))
    assert (execution.status, execution.current_step) == ("waiting", "one")
    assert steps_of(execution) == [("one", 1, 1, "waiting")]
    assert execution.completed_at is None


# events and inputs


def collecting() -> Workflow:
    workflow = Workflow("collecting")

    @workflow.step
    def collect(ctx):
        return {
            "first": wait_for_event("paid"),
            "any": wait_for_any(["refused", "paid"]),
            "all": wait_for_all(["packed", "sent"]),
        }

    return workflow


def test_events_are_given_up_front_one_or_many():
    execution = run_inline(
        collecting(), events={"sent": None, "paid": [{"n": 1}, {"n": 2}], "packed": "box"}
    )
    assert execution.output == {
        "first": {"n": 1},
        "any": ["paid", {"n": 2}],
        "all": {"packed": "box", "sent": None},
    }


def test_events_that_are_missing_leave_it_waiting():
    execution = run_inline(collecting(), events={"paid": {"n": 1}, "packed": "box"})
    assert execution.status == "waiting"
    assert run_inline(collecting(), events={"paid": []}).status == "waiting"


def test_answers_are_given_whenever_their_name_is_asked_for():
    workflow = Workflow("asking")

    @workflow.step
    def ask(ctx):
        ctx.append("answers", wait_for_choice("color", choices=["red", "blue"]))
        return {"decision": wait_for_approval("manager", timeout=days(1))}

    @workflow.decision
    def again(ctx):
        return goto("ask") if len(ctx["answers"]) < 3 else None

    execution = run_inline(workflow, inputs={"manager": True, "color": "red"})
    assert execution.output == {"answers": ["red"] * 3, "decision": "approved"}
    assert execution.completed_at == execution.inserted_at


def test_an_answer_that_does_not_fit_is_refused():
    workflow = one_step(lambda: wait_for_approval("manager"))
    with pytest.raises(InputRejected, match="approved"):
        run_inline(workflow, inputs={"manager": "perhaps"})
