"""`WorkflowTester`: an execution whose time and whose answers are the test's to give."""

import pytest

from durable_otp import (
    AlreadyFinished,
    InputRejected,
    NoPendingInput,
    Retry,
    SerializationError,
    Workflow,
    days,
    hours,
    minutes,
    sleep,
    wait_for_approval,
    wait_for_event,
)
from durable_otp.testing import WorkflowTester


@pytest.fixture
def order() -> Workflow:
    workflow = Workflow("order")

    @workflow.step
    def approve(ctx):
        return {"decision": wait_for_approval("manager", timeout=days(3), timeout_value="rejected")}

    @workflow.step
    def pay(ctx):
        return {"paid": wait_for_event("paid")}

    @workflow.step
    def cool_down(ctx):
        sleep(hours(1))

    return workflow


def statuses(tester: WorkflowTester) -> list[tuple[str, str]]:
    return [(step.path, str(step.status)) for step in tester.execution.steps or []]


def test_it_runs_to_the_first_suspension(order):
    tester = WorkflowTester(order, {"id": 7})
    assert (tester.execution.status, tester.execution.current_step) == ("waiting", "approve")
    assert tester.execution.context == {"id": 7}
    assert statuses(tester) == [("approve", "waiting")]
    assert "order" in repr(tester)
    assert "waiting" in repr(tester)


def test_the_test_gives_what_it_waits_for(order):
    tester = WorkflowTester(order)
    assert tester.provide_input("manager", True).current_step == "pay"
    assert tester.send_event("paid", {"sum": 3}).current_step == "cool_down"
    assert tester.advance(minutes(59)).status == "waiting"
    done = tester.advance(minutes(1))
    assert done.status == "completed"
    assert done.output == {"decision": "approved", "paid": {"sum": 3}}
    assert done.completed_at - done.inserted_at == hours(1)


def test_time_brings_timeouts_about(order):
    tester = WorkflowTester(order)
    assert tester.advance(days(3) - minutes(1)).current_step == "approve"
    assert tester.advance(60).context == {"decision": "rejected"}


def test_an_event_may_come_first(order):
    tester = WorkflowTester(order)
    assert tester.send_event("paid", 1).current_step == "approve"
    assert tester.provide_input("manager", "approved").current_step == "cool_down"


def test_what_is_due_on_the_way_is_done_when_it_is_due():
    workflow, seen = Workflow("steps"), []
    for name in ("a", "b", "c"):

        @workflow.step(name=name)
        def body(ctx):
            sleep(days(1))
            seen.append(ctx.step)

    tester = WorkflowTester(workflow)
    tester.advance(days(2.5))
    assert seen == ["a", "b"]
    execution = tester.advance(days(2))
    assert execution.completed_at - execution.inserted_at == days(3)


def test_a_retry_waits_for_its_time():
    workflow = Workflow(
        "retrying", retry=Retry(max_attempts=2, base=100, jitter=0, max_backoff=100)
    )

    @workflow.step
    def flaky(ctx):
        if ctx.attempt == 1:
            raise ValueError("not yet")

    tester = WorkflowTester(workflow)
    assert tester.execution.status == "pending"
    assert tester.advance(99).status == "pending"
    assert tester.advance(1).status == "completed"


def test_a_deadline_passes():
    workflow = Workflow("late", timeout=hours(1))
    workflow.step(name="wait")(lambda: wait_for_event("never"))
    tester = WorkflowTester(workflow)
    assert tester.advance(hours(1)).error["type"] == "workflow_timeout"


def test_what_has_ended_takes_nothing_more(order):
    tester = WorkflowTester(order)
    tester.provide_input("manager", False)
    tester.send_event("paid")
    tester.advance(hours(1))
    before = tester.execution
    with pytest.raises(AlreadyFinished):
        tester.send_event("paid")
    with pytest.raises(NoPendingInput):
        tester.provide_input("manager", True)
    tester.advance(days(10))
    assert tester.execution == before


def test_an_answer_that_does_not_fit_leaves_the_input_open(order):
    tester = WorkflowTester(order)
    with pytest.raises(InputRejected):
        tester.provide_input("manager", "perhaps")
    with pytest.raises(NoPendingInput, match="'manager'"):
        tester.provide_input("boss", True)
    assert tester.provide_input("manager", "rejected").current_step == "pay"


def test_what_is_shown_is_no_part_of_what_runs(order):
    tester = WorkflowTester(order, {"items": [1]})
    tester.execution.context["items"].append(2)
    tester.execution.input["items"].append(3)
    assert tester.execution.context == {"items": [1]}
    assert tester.execution.input == {"items": [1]}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda tester: tester.advance("3 days"), TypeError),
        (lambda tester: tester.advance(-1), ValueError),
        (lambda tester: tester.advance(float("inf")), ValueError),
        (lambda tester: tester.advance(1e300), ValueError),
        (lambda tester: tester.send_event(3), TypeError),
        (lambda tester: tester.send_event(""), ValueError),
        (lambda tester: tester.send_event("paid", object()), SerializationError),
        (lambda tester: tester.provide_input("manager", object()), SerializationError),
        (lambda tester: tester.provide_input(None, True), NoPendingInput),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(order, call, error):
    tester = WorkflowTester(order)
    before = tester.execution
    with pytest.raises(error):
        call(tester)
    assert tester.execution == before


def test_only_a_workflow_can_be_tested():
    with pytest.raises(TypeError, match="workflow"):
        WorkflowTester("order")
