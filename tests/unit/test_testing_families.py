"""Children and compensations in memory: parallel, each, called workflows, undoing."""

import sys

import pytest

from durable_otp import (
    ChildFailed,
    Retry,
    Workflow,
    call_workflow,
    days,
    hours,
    minutes,
    sleep,
    start_workflow,
    wait_for_approval,
    wait_for_event,
)
from durable_otp.testing import WorkflowTester, run_inline

later = Workflow("later")
"""A workflow of this module, to be called by its name."""


@later.step
def wait_a_little(ctx):
    sleep(hours(1))
    return {"got": ctx.get("n")}


def one_step(body, name="w", **options) -> Workflow:
    workflow = Workflow(name, **options)
    workflow.step(name="one")(body)
    return workflow


def failing(error: str = "no") -> Workflow:
    def fail(ctx):
        raise ValueError(error)

    return one_step(fail, name="failing")


# blocks


def test_the_children_of_a_parallel_wait_side_by_side():
    workflow = Workflow("lookups")
    with workflow.parallel(name="both"):

        @workflow.step(returns="user")
        def fetch_user(ctx):
            sleep(hours(2))
            return ctx["id"]

        @workflow.step
        def fetch_orders(ctx):
            sleep(hours(3))
            return [ctx["id"]]

    @workflow.step
    def use(ctx):
        user, orders = ctx.results["user"], ctx.results["fetch_orders"]
        return {"used": [user.value, orders.value]}

    execution = run_inline(workflow, {"id": 7})
    assert execution.output == {"id": 7, "used": [7, [7]]}
    assert execution.completed_at - execution.inserted_at == hours(3)
    assert [(s.path, s.type, str(s.status)) for s in execution.steps] == [
        ("both", "parallel", "completed"),
        ("use", "step", "completed"),
    ]


def test_each_runs_as_many_as_it_may_at_a_time():
    workflow = Workflow("packing")

    @workflow.each("items", max_concurrency=2)
    def pack(ctx, item, index):
        sleep(hours(1))
        return f"{item}{index}"

    execution = run_inline(workflow, {"items": ["a", "b", "c", "d", "e"]})
    assert execution.output["pack"] == ["a0", "b1", "c2", "d3", "e4"]
    assert execution.completed_at - execution.inserted_at == hours(3)
    assert run_inline(workflow, {"items": []}).output == {"items": [], "pack": []}


def test_the_first_failure_ends_the_block():
    done = []
    workflow = Workflow("packing")

    @workflow.each("items")
    def pack(ctx, item):
        sleep(minutes(item))
        if item == 2:
            raise ValueError("broken")
        done.append(item)

    execution = run_inline(workflow, {"items": [3, 1, 2]})
    assert (execution.status, execution.error["type"]) == ("failed", "ValueError")
    assert execution.error["child"]["name"] == "pack/2"
    assert done == [1]


def test_complete_all_waits_for_all():
    workflow = Workflow("packing")

    @workflow.each("items", on_error="complete_all")
    def pack(ctx, item):
        sleep(minutes(item))
        return 6 // item

    execution = run_inline(workflow, {"items": [0, 2, 3]})
    (kind, error), *others = execution.output["pack"]
    assert (kind, error["type"]) == ("error", "ZeroDivisionError")
    assert others == [["ok", 3], ["ok", 2]]


def test_what_the_execution_does_not_wait_for_is_for_its_children():
    workflow = Workflow("lookups")
    with workflow.parallel(name="both"):

        @workflow.step
        def ask(ctx):
            return wait_for_approval("manager")

        @workflow.step
        def listen(ctx):
            return [wait_for_event("paid"), wait_for_event("paid")]

    @workflow.step
    def use(ctx):
        return {name: each.value for name, each in ctx.results.items()}

    wanted = {"ask": "approved", "listen": [1, 2]}
    given = {"events": {"paid": [1, 2]}, "inputs": {"manager": True}}
    assert run_inline(workflow, **given).output == wanted
    tester = WorkflowTester(workflow)
    tester.send_event("paid", 1)
    tester.provide_input("manager", "approved")
    assert tester.execution.status == "waiting"
    assert tester.send_event("paid", 2).output == wanted


# called workflows


def test_a_workflow_calls_others_by_object_and_by_name():
    def body(ctx):
        return {"object": call_workflow(later, {"n": 1}), "name": call_workflow("later", {"n": 2})}

    execution = run_inline(one_step(body))
    assert execution.output == {"object": {"n": 1, "got": 1}, "name": {"n": 2, "got": 2}}
    assert execution.completed_at - execution.inserted_at == hours(2)
    assert execution.steps[0].child_id is not None


def test_a_name_that_nobody_knows_fails_the_step():
    error = run_inline(one_step(lambda: call_workflow("nobody"))).error
    assert error["type"] == "WorkflowNotFound"
    assert "nobody" in error["message"]


def test_a_failed_child_is_an_exception_of_its_caller():
    def body(ctx):
        try:
            call_workflow(failing("broken"))
        except ChildFailed as error:
            return {"status": str(error.status), "message": error.error["message"]}

    assert run_inline(one_step(body)).output == {"status": "failed", "message": "broken"}


def test_a_failed_child_is_called_afresh_by_the_next_attempt():
    workflow = one_step(lambda: call_workflow(failing()), retry=Retry(max_attempts=2, base=0))
    execution = run_inline(workflow)
    assert [step.error["type"] for step in execution.steps] == ["ChildFailed", "ChildFailed"]
    first, second = (step.child_id for step in execution.steps)
    assert first != second


def test_a_call_is_waited_for_as_long_as_it_says():
    execution = run_inline(
        one_step(lambda: {"r": call_workflow(later, timeout=minutes(30), timeout_value="late")})
    )
    assert execution.output == {"r": "late"}
    assert execution.completed_at - execution.inserted_at == minutes(30)


def test_a_child_with_a_name_is_one_child():
    ran = []
    child = one_step(lambda ctx: ran.append(1) or {"n": ctx["n"]}, name="child")

    def body(ctx):
        return {"r": [call_workflow(child, {"n": n}, ref="the one")["n"] for n in (1, 2)]}

    assert run_inline(one_step(body)).output == {"r": [1, 1]}
    assert ran == [1]


def test_a_started_workflow_runs_beside_and_once():
    ran = []
    child = one_step(lambda: ran.append(1), name="beside")

    def body(ctx):
        id_ = start_workflow(child)
        sleep(60)
        return {"same": id_ == start_workflow(child, ref="other") or id_}

    assert run_inline(one_step(body)).output["same"] is not True
    assert ran == [1, 1]


def test_a_workflow_that_starts_itself_does_not_keep_the_test():
    again = Workflow("again")

    @again.step
    def tick(ctx):
        start_workflow("again", {"n": ctx["n"] + 1})
        sleep(days(1))

    execution = run_inline(again, {"n": 1})
    assert execution.status == "completed"


def test_the_deadline_of_a_parent_is_that_of_its_children():
    child = one_step(lambda: wait_for_event("never"), name="child")
    execution = run_inline(one_step(lambda: call_workflow(child), timeout=hours(1)))
    assert execution.error["type"] == "workflow_timeout"


def test_until_is_asked_before_the_steps_of_children_too():
    asked = []
    workflow = Workflow("lookups")
    with workflow.parallel(name="both"):
        workflow.step(name="a")(lambda: None)
        workflow.step(name="b")(lambda: asked.append("ran"))

    def until(execution):
        asked.append((str(execution.status), execution.current_step))
        return len(asked) == 3

    execution = run_inline(workflow, until=until)
    assert asked == [("running", "both"), ("waiting", "both"), ("waiting", "both")]
    assert execution.status == "waiting"


# after a failure


def saga(ending) -> Workflow:
    workflow = Workflow("saga", timeout=hours(5))
    workflow.step(name="book", compensate="cancel_booking")(lambda: {"booking": 1})
    with workflow.parallel(name="both"):
        workflow.step(name="hotel", compensate="cancel_part")(lambda: {"part": "hotel"})
        workflow.step(name="train", compensate="cancel_part")(lambda: {"part": "train"})
    workflow.step(name="end")(ending)

    @workflow.compensate
    def cancel_booking(ctx):
        return {"undone": ctx["booking"]}

    @workflow.compensate(retry=Retry(max_attempts=2, base=3600, max_backoff=3600, jitter=0))
    def cancel_part(ctx):
        if ctx.attempt == 1:
            raise ValueError("not yet")

    return workflow


@pytest.mark.parametrize("error", ["ValueError", "workflow_timeout"])
def test_what_is_done_is_undone(error):
    def fail(ctx):
        raise ValueError("no")

    wait = lambda: wait_for_event("never")  # noqa: E731 - beside its sister
    execution = run_inline(saga(fail if error == "ValueError" else wait))
    assert (execution.status, execution.error["type"]) == ("compensated", error)
    undone = [(r["step"], r["compensation"], r["status"]) for r in execution.compensation_results]
    assert undone == [
        ("both/train", "cancel_part", "completed"),
        ("both/hotel", "cancel_part", "completed"),
        ("book", "cancel_booking", "completed"),
    ]
    handlers = [(s.path, s.attempt, str(s.status)) for s in execution.steps if s.is_compensation]
    assert handlers == [
        ("both/train", 1, "failed"),
        ("both/train", 2, "completed"),
        ("both/hotel", 1, "failed"),
        ("both/hotel", 2, "completed"),
        ("book", 1, "completed"),
    ]


def test_a_handler_that_fails_is_told():
    workflow = Workflow("saga")
    workflow.step(name="book", compensate="undo")(lambda: None)
    workflow.step(name="fail")(lambda: 1 / 0)

    @workflow.compensate
    def undo(ctx):
        raise ValueError("cannot")

    execution = run_inline(workflow)
    assert execution.status == "compensation_failed"
    assert execution.compensation_results[0]["error"]["type"] == "ValueError"


def test_a_compensation_is_no_surprise_to_the_tester():
    tester = WorkflowTester(saga(lambda: wait_for_approval("go", timeout=60, on_timeout="fail")))
    assert tester.advance(60).status == "compensating"
    assert tester.advance(hours(1)).status == "compensating"
    assert tester.advance(hours(1)).status == "compensated"


def test_the_hook_for_failures_runs():
    seen = []
    workflow = failing("broken")

    @workflow.on_failure
    def tell(ctx):
        seen.append((ctx["status"], ctx["error"]["message"], ctx["workflow"], ctx["input"]))

    run_inline(workflow, {"n": 1})
    assert seen == [("failed", "broken", "failing", {"n": 1})]


def test_a_long_chain_of_waits_is_no_deep_recursion():
    workflow = Workflow("many")

    @workflow.each("items", max_concurrency=1)
    def pack(ctx, item):
        return item

    items = list(range(min(sys.getrecursionlimit(), 300)))
    assert run_inline(workflow, {"items": items}).output["pack"] == items


def test_time_passes_whatever_was_started():
    again = Workflow("again")

    @again.step
    def tick(ctx):
        sleep(days(1))
        start_workflow("again", {"n": ctx["n"] + 1})

    tester = WorkflowTester(again, {"n": 1})
    assert tester.advance(days(30)).status == "completed"
