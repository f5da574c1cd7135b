"""A workflow is a sequence of steps; every mistake in it is said before it runs."""

import functools
from datetime import timedelta

import dill
import pytest
from pydantic import BaseModel

from durable_otp.errors import DefinitionError
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.retry import Retry


def body(ctx):
    return ctx


def two_steps(**options):
    workflow = Workflow("order", **options)

    @workflow.step
    def validate(ctx):
        return {"valid": bool(ctx)}

    @workflow.step(retry=Retry(3), timeout=timedelta(seconds=30), queue="slow", returns="charge_id")
    async def charge():
        return "c1"

    return workflow


def test_the_steps_are_nodes_in_order_of_definition():
    definition = two_steps().definition()
    validate, charge = definition.nodes
    assert (validate.name, validate.path, validate.kind) == ("validate", "validate", "step")
    assert (validate.takes_context, validate.is_async) == (True, False)
    assert (charge.takes_context, charge.is_async) == (False, True)
    assert (charge.timeout, charge.queue, charge.returns) == (30.0, "slow", "charge_id")
    assert definition.node("charge") is charge


def test_the_paths_lead_from_the_first_node_to_none():
    definition = two_steps().definition()
    assert definition.next_path(None) == "validate"
    assert definition.next_path("validate") == "charge"
    assert definition.next_path("charge") is None
    with pytest.raises(KeyError, match="no node 'refund'"):
        definition.node("refund")
    with pytest.raises(KeyError):
        definition.next_path("refund")


def test_the_options_of_the_workflow_have_the_contracts_defaults():
    definition = two_steps().definition()
    assert (definition.version, definition.queue, definition.priority) == ("1", "default", 0)
    assert (definition.timeout, definition.max_crashes, definition.max_jumps) == (None, 3, 1000)


def test_a_step_has_its_own_retry_or_the_workflows_or_none():
    definition = two_steps(retry=Retry(7)).definition()
    assert [node.retry.max_attempts for node in definition.nodes] == [7, 3]
    assert two_steps().definition().nodes[0].retry == Retry()


def test_the_decorator_returns_the_function_unchanged():
    workflow = Workflow("w")
    assert workflow.step(body) is body
    assert workflow.step(name="again")(body) is body
    assert [node.path for node in workflow.definition().nodes] == ["body", "again"]


class Caller:
    async def __call__(self, ctx):
        return ctx


@pytest.mark.parametrize(
    ("function", "takes_context", "is_async"),
    [
        (lambda: 1, False, False),
        (lambda ctx: ctx, True, False),
        (lambda ctx=None: ctx, True, False),
        (lambda *parts: parts, True, False),
        (lambda ctx, extra=1: ctx, True, False),
        (lambda **options: options, False, False),
        (functools.partial(lambda key, ctx: ctx, "key"), True, False),
        (Caller(), True, True),
        (len, True, False),
    ],
)
def test_any_callable_of_one_or_no_argument_is_a_step(function, takes_context, is_async):
    workflow = Workflow("w")
    workflow.step(name="s")(function)
    node = workflow.definition().nodes[0]
    assert (node.takes_context, node.is_async) == (takes_context, is_async)


def generator(ctx):
    yield ctx


async def async_generator(ctx):
    yield ctx


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda a, b: a, "needs a, b"),
        (lambda *, key: key, "needs key"),
        (generator, "yield"),
        (async_generator, "yield"),
        (5, "must be a function"),
    ],
)
def test_what_cannot_be_called_with_a_context_is_refused(function, said):
    with pytest.raises(DefinitionError, match=said):
        Workflow("w").step(name="s")(function)


def test_a_function_without_a_name_needs_one():
    with pytest.raises(DefinitionError, match="needs a name"):
        Workflow("w").step(lambda: 1)
    with pytest.raises(DefinitionError, match="needs a name"):
        Workflow("w").step(functools.partial(body))


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": " "},
        {"name": "a/b"},
        {"name": "a\nb"},
        {"name": 5},
        {"name": "x" * 201},
        {"retry": 3},
        {"timeout": 0},
        {"timeout": "30s"},
        {"timeout": -1},
        {"timeout": True},
        {"timeout": 1e300},
        {"queue": ""},
        {"queue": "q" * 101},
        {"returns": ""},
        {"returns": 1},
    ],
)
def test_a_wrong_option_of_a_step_is_one_sentence_at_the_decorator(options):
    with pytest.raises(DefinitionError) as refused:
        Workflow("w").step(**({"name": "s"} | options))(body)
    assert next(iter(options)) in str(refused.value)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": None},
        {"name": "a\0"},
        {"version": 2},
        {"version": ""},
        {"queue": 5},
        {"queue": "a\tb"},
        {"priority": "high"},
        {"priority": 2**31},
        {"priority": True},
        {"timeout": 0},
        {"retry": "3"},
        {"max_crashes": 0},
        {"max_crashes": None},
        {"max_jumps": -1},
        {"max_jumps": 1.5},
        {"input": 5},
        {"input": "Missing"},
    ],
)
def test_a_wrong_option_of_a_workflow_is_one_sentence(options):
    with pytest.raises(DefinitionError) as refused:
        Workflow(**({"name": "w"} | options))
    assert next(iter(options)) in str(refused.value)


def test_two_steps_of_one_name_are_refused_at_the_second():
    workflow = Workflow("w")
    workflow.step(body)
    with pytest.raises(DefinitionError, match="'body' of workflow 'w' exists already"):
        workflow.step(body)


def test_a_workflow_without_steps_has_no_definition():
    with pytest.raises(DefinitionError, match="'w' has no steps"):
        Workflow("w").definition()


def test_the_definition_is_made_once_and_the_workflow_grows_no_more():
    workflow = two_steps()
    assert workflow.definition() is workflow.definition()
    with pytest.raises(DefinitionError, match="too late"):
        workflow.step(body)


def test_the_published_form_is_json_and_its_digest_tells_definitions_apart():
    first, again = two_steps().definition(), two_steps().definition()
    assert first.description()["nodes"][1]["path"] == "charge"
    assert first.fingerprint() == again.fingerprint()
    assert first.fingerprint() != two_steps(max_crashes=5).definition().fingerprint()


def test_definitions_of_equal_code_are_the_same_and_of_other_code_are_not():
    def other():
        workflow = two_steps()
        node = Workflow("order")
        node.step(name="validate")(lambda ctx: ctx)
        node.step(name="charge", retry=Retry(3), timeout=30, queue="slow", returns="charge_id")(
            body
        )
        assert node.definition().fingerprint() == workflow.definition().fingerprint()
        return node.definition()

    assert two_steps().definition().same_as(two_steps().definition())
    assert not two_steps().definition().same_as(other())


def test_an_input_type_may_be_completed_until_the_workflow_is_registered():
    class Incomplete(BaseModel):
        later: "DefinedLater"  # noqa: F821 - defined nowhere, on purpose

    workflow = Workflow("w", input=Incomplete)
    workflow.step(body)
    with pytest.raises(DefinitionError, match="DefinedLater"):
        workflow.definition()


def test_a_workflow_travels_by_value():
    workflow = two_steps(input=dict[str, list[int]])
    workflow.validate_input({"items": [1]})
    copy = dill.loads(dill.dumps(workflow, recurse=True))
    assert copy.definition().same_as(workflow.definition())
    assert copy.validate_input({"items": ["2"]})[1] == {"items": [2]}
