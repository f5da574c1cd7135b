"""Calling and starting workflows, as a step's body sees it."""

import pytest
from pydantic import BaseModel

from durable_otp import (
    ChildFailed,
    ConfigError,
    InvalidInput,
    NotInStepError,
    SerializationError,
    WaitTimeout,
    Workflow,
    WorkflowNotFound,
    call_workflow,
    hours,
    start_workflow,
)
from durable_otp.engine.journal import Answer
from durable_otp.engine.outcome import Outcome
from durable_otp.workflow.child_call import ChildEnd
from tests.support.engine import MemoryFamily, MemoryJournal, run


class Given(BaseModel):
    n: int


child = Workflow("child", version="7", queue="kids", priority=3, timeout=60, input=Given)
child.step(name="only")(lambda: None)


def calling(body) -> tuple[Workflow, MemoryJournal, MemoryFamily]:
    workflow = Workflow("caller")
    workflow.step(name="call")(body)
    journal = MemoryJournal()
    return workflow, journal, MemoryFamily(journal)


class Recording(MemoryJournal):
    requested = None

    def suspend(self, path, visit, waits, *, attempt=1):
        type(self).requested = waits
        super().suspend(path, visit, waits, attempt=attempt)


def suspended(body):
    workflow = Workflow("caller")
    workflow.step(name="call")(body)
    journal = Recording()
    assert run(workflow, journal=journal) is Outcome.WAITING
    ((ordinal, request),) = journal.requested
    assert ordinal == 0
    return request


def answered(body, end: ChildEnd):
    workflow, journal, family = calling(body)
    run(workflow, journal=journal, family=family)
    journal.waits["call", 0] = Answer("child", is_answered=True, value=end)
    outcome = run(workflow, journal=journal, family=family)
    return outcome, journal


def test_a_call_waits_for_a_child_with_everything_that_is_needed_to_create_it():
    request = suspended(lambda: call_workflow(child, {"n": "5"}))
    assert (request.kind, request.names) == ("child", ())
    called = request.child
    assert (called.workflow, called.version, called.queue, called.priority) == (
        "child", "7", "kids", 3,
    )  # fmt: skip
    assert (called.timeout, called.input) == (60, '{"n":5}')


def test_a_call_s_options_win_over_the_child_s_workflow():
    request = suspended(
        lambda: call_workflow(
            child, {"n": 1}, ref="r", queue="q", priority=-1, timeout=hours(1), timeout_value=(1,)
        )
    )
    options = request.child.options
    assert (request.names, options.ref) == (("r",), "r")
    assert (request.child.queue, request.child.priority) == ("q", -1)
    assert (options.patience, options.has_timeout_value, options.timeout_value) == (
        3600, True, [1],
    )  # fmt: skip


def test_a_completed_child_answers_with_its_final_context():
    end = ChildEnd("id", "child", "completed", {"x": 1})
    outcome, journal = answered(lambda: {"got": call_workflow(child, {"n": 1})}, end)
    assert outcome is Outcome.COMPLETED
    assert journal.completions[0].output == {"got": {"x": 1}}


@pytest.mark.parametrize("status", ["failed", "cancelled", "compensated", "compensation_failed"])
def test_any_other_end_raises_child_failed_in_the_step(status):
    caught = []

    def body():
        try:
            call_workflow(child, {"n": 1})
        except ChildFailed as error:
            caught.append(error)
            raise

    error = {"type": "ValueError", "message": "no"}
    outcome, journal = answered(body, ChildEnd("id", "child", status, error=error))
    assert outcome is Outcome.FAILED
    (raised,) = caught
    assert (raised.error, raised.status, raised.execution_id) == (error, status, "id")
    assert journal.failures[0].error["type"] == "ChildFailed"
    assert status in str(raised)


def test_a_call_past_its_time_answers_its_value_or_raises():
    end = ChildEnd("id", "child", "timed_out", has_timeout_value=True, timeout_value=None)
    body = lambda: {"got": call_workflow(child, {"n": 1}, timeout=1, timeout_value=None)}  # noqa: E731
    _, journal = answered(body, end)
    assert journal.completions[0].output == {"got": None}
    end = ChildEnd("id", "child", "timed_out")
    _, journal = answered(lambda: call_workflow(child, {"n": 1}, timeout=1), end)
    assert journal.failures[0].error["type"] == "WaitTimeout"
    assert issubclass(WaitTimeout, TimeoutError)


def test_a_started_workflow_is_known_by_the_order_of_the_calls_or_by_its_ref():
    def body():
        first = start_workflow(child, {"n": 1})
        second = start_workflow(child, {"n": 2})
        return {"ids": [first, second, start_workflow(child, {"n": 3}, ref="x")]}

    workflow, journal, family = calling(body)
    assert run(workflow, journal=journal, family=family) is Outcome.COMPLETED
    assert list(family.started) == ["start at 1.1 call", "start at 1.2 call", "start as x"]
    assert [each.input for each in family.started.values()] == ['{"n":1}', '{"n":2}', '{"n":3}']
    assert len(set(journal.completions[0].output["ids"])) == 3


MISTAKES = {
    "input": (lambda f: f(child, {"n": "x"}), InvalidInput),
    "json": (lambda f: f(Workflow("w"), 5), Exception),
    "unknown": (lambda f: f("nobody"), WorkflowNotFound),
    "type": (lambda f: f(5), TypeError),
    "queue": (lambda f: f(child, {"n": 1}, queue=""), ConfigError),
    "priority": (lambda f: f(child, {"n": 1}, priority=2**31), ValueError),
    "boolean priority": (lambda f: f(child, {"n": 1}, priority=True), ValueError),
    "ref": (lambda f: f(child, {"n": 1}, ref=""), ValueError),
    "long ref": (lambda f: f(child, {"n": 1}, ref="x" * 201), ValueError),
}


@pytest.mark.parametrize("function", [call_workflow, start_workflow])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_raised_in_the_step_and_creates_nothing(mistake, function):
    make, kind = MISTAKES[mistake]
    raised = []

    def body():
        try:
            make(function)
        except Exception as error:
            raised.append(error)
            raise

    workflow, journal, family = calling(body)
    assert run(workflow, journal=journal, family=family) is Outcome.FAILED
    assert isinstance(raised[0], kind)
    assert (family.started, journal.waits) == ({}, {})


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), "soon"])
def test_a_timeout_that_is_none_is_refused(timeout):
    workflow, journal, _ = calling(lambda: call_workflow(child, {"n": 1}, timeout=timeout))
    assert run(workflow, journal=journal) is Outcome.FAILED
    assert journal.failures[0].error["type"] in ("ValueError", "TypeError")


def test_a_timeout_value_without_a_json_form_is_refused_at_the_call():
    workflow, journal, _ = calling(
        lambda: call_workflow(child, {"n": 1}, timeout=1, timeout_value=float("nan"))
    )
    run(workflow, journal=journal)
    assert journal.failures[0].error["type"] == "serialization_error"
    assert issubclass(SerializationError, Exception)


@pytest.mark.parametrize("function", [call_workflow, start_workflow])
def test_outside_a_step_there_is_nobody_to_call_for(function):
    with pytest.raises(NotInStepError):
        function(child, {"n": 1})
