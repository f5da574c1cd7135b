"""The hook of a workflow's failures, and progress, as far as they need no database."""

import pytest

from durable_otp import DefinitionError, NotInStepError, Workflow, progress
from durable_otp.runtime.pace import Pace
from durable_otp.workflow.registry import Registry
from tests.support.engine import NotingHost, run


def order() -> Workflow:
    workflow = Workflow("order", version="3", queue="shop", priority=4)
    workflow.step(name="pay")(lambda: None)
    return workflow


def test_a_hook_is_a_workflow_of_its_own_beside_the_one_that_fails():
    workflow = order()
    workflow.on_failure(print_nothing)
    registry = Registry()
    definition = registry.register(workflow)
    assert registry.known() == [("order.on_failure", "3"), ("order", "3")]
    hook = registry.get("order.on_failure")
    assert (hook.queue, hook.priority, hook.nodes[0].name) == ("shop", 4, "print_nothing")
    assert definition.description()["on_failure"] == {
        "workflow": "order.on_failure", "queue": "shop",
    }  # fmt: skip


def test_a_hook_has_its_own_queue_if_it_asks_for_one():
    workflow = order()
    workflow.on_failure(queue="alarms", timeout=5)(print_nothing)
    assert workflow.definition().on_failure.queue == "alarms"
    assert workflow.definition().on_failure.nodes[0].timeout == 5


def test_two_hooks_are_refused():
    workflow = order()
    workflow.on_failure(print_nothing)
    with pytest.raises(DefinitionError, match="twice"):
        workflow.on_failure(print_nothing)


def test_a_hook_after_the_start_is_refused():
    workflow = order()
    workflow.definition()
    with pytest.raises(DefinitionError, match="too late"):
        workflow.on_failure(print_nothing)


def test_another_hook_makes_another_definition():
    one, other = order(), order()
    one.on_failure(print_nothing)
    assert not one.definition().same_as(other.definition())
    assert one.definition().fingerprint() != other.definition().fingerprint()


@pytest.mark.parametrize("deadline", [0, -1, "soon", float("nan")])
def test_a_progress_deadline_is_a_duration(deadline):
    with pytest.raises(DefinitionError, match="progress_deadline"):
        Workflow("w").step(progress_deadline=deadline)(print_nothing)


def test_progress_is_told_to_the_host():
    workflow, host = Workflow("w"), NotingHost()
    workflow.step(progress_deadline=5)(progress)
    run(workflow, host=host)
    assert "progress" in host.notes


def test_progress_outside_a_step_is_refused():
    with pytest.raises(NotInStepError):
        progress()


def test_progress_is_passed_on_no_oftener_than_its_deadline_needs():
    pace = Pace(1000.0)
    assert [pace.is_due() for _ in range(3)] == [True, False, False]
    assert not Pace(None).is_due()


def print_nothing():
    pass
