"""Undo handlers as they are written: names, options, and what is refused."""

from typing import Any

import pytest

from durable_otp.errors import DefinitionError
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.registry import Registry
from durable_otp.workflow.retry import Retry


def body(ctx: Any) -> Any:
    return ctx


def test_a_handler_is_named_by_its_function_and_returned_unchanged():
    workflow = Workflow("w")

    @workflow.step(compensate="refund")
    def charge(ctx): ...

    @workflow.compensate
    def refund(ctx):
        return "undone"

    assert refund(None) == "undone"
    definition = workflow.definition()
    assert definition.node("charge").compensate == "refund"
    (handler,) = definition.compensations
    assert (handler.name, handler.timeout, handler.retry) == ("refund", None, Retry())
    assert handler is definition.compensation("refund")
    assert definition.compensation("other") is None


def test_a_handler_has_options_and_may_be_named_by_a_decision_and_inside_a_branch():
    workflow = Workflow("w", retry=Retry(max_attempts=7))
    with workflow.branch(body, name="b") as block, block.case(1):
        workflow.decision(name="d", compensate="undo")(body)
    workflow.compensate(name="undo", retry=Retry(max_attempts=2), timeout=3)(body)
    workflow.compensate(name="unused")(body)
    first, second = workflow.definition().compensations
    assert (first.retry.max_attempts, first.timeout, second.retry.max_attempts) == (2, 3.0, 7)


def test_handlers_and_their_names_are_published_and_part_of_the_fingerprint():
    def one(compensate: str | None, timeout: float | None = None) -> Workflow:
        workflow = Workflow("w")
        workflow.step(name="one", compensate=compensate)(body)
        workflow.compensate(name="undo", timeout=timeout)(body)
        return workflow

    described = one("undo").definition().description()
    assert described["nodes"][0]["compensate"] == "undo"
    assert [each["name"] for each in described["compensations"]] == ["undo"]
    variants = (one(None), one("undo"), one("undo", 5))
    assert len({each.definition().fingerprint() for each in variants}) == 3


def test_two_definitions_with_different_handlers_are_different():
    def one(handler: Any) -> Workflow:
        workflow = Workflow("w")
        workflow.step(name="one", compensate="undo")(body)
        workflow.compensate(name="undo")(handler)
        return workflow

    registry = Registry()
    registry.register(one(body))
    registry.register(one(body))
    with pytest.raises(DefinitionError, match="defined twice"):
        registry.register(one(lambda: None))


def test_an_unknown_handler_is_refused_at_registration():
    workflow = Workflow("shop")
    workflow.step(name="charge", compensate="refnud")(body)
    workflow.compensate(name="refund")(body)
    with pytest.raises(DefinitionError, match=r"step 'charge' names the compensation 'refnud'"):
        Registry().register(workflow)


@pytest.mark.parametrize("compensate", [3, "", body, "a\nb"])
def test_what_is_no_name_is_refused_at_the_decorator(compensate):
    with pytest.raises(DefinitionError, match="compensate must"):
        Workflow("w").step(name="one", compensate=compensate)(body)


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (body, {"name": "taken"}, "exists already"),
        (body, {"name": "a/b"}, "must not contain"),
        (body, {"retry": 3}, "retry must be"),
        (body, {"timeout": 0}, "timeout must be"),
        (lambda a, b: None, {"name": "x"}, "must be f"),
        (lambda: None, {}, "needs a name"),
        (3, {"name": "x"}, "must be a function"),
    ],
)
def test_a_handler_that_cannot_be_run_is_refused_at_the_decorator(function, options, words):
    workflow = Workflow("w")
    workflow.compensate(name="taken")(body)
    with pytest.raises(DefinitionError, match=words):
        workflow.compensate(**options)(function)


def test_a_handler_after_the_first_start_is_refused():
    workflow = Workflow("w")
    workflow.step(name="one")(body)
    workflow.definition()
    with pytest.raises(DefinitionError, match="comes too late"):
        workflow.compensate(body)
