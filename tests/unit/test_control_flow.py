"""Branches and decisions as they are written, and where an execution goes on after each node."""

import pytest

from durable_otp.engine.direction import directed
from durable_otp.engine.failure import DecisionError
from durable_otp.engine.outcome import Returned
from durable_otp.errors import DefinitionError
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.goto import goto


def body(ctx):
    return ctx


def nested() -> Workflow:
    """first · decision/{approved/{ship, branch_1/{true/deep}}, default/notify} · last"""
    workflow = Workflow("order")
    workflow.step(name="first")(body)
    with workflow.branch(body, name="decision") as decision:
        with decision.case("approved", "yes"):
            workflow.step(name="ship")(body)
            with workflow.branch(body) as inner, inner.case(True):
                workflow.step(name="deep")(body)
        with decision.default():
            workflow.step(name="notify")(body)
    workflow.step(name="last")(body)
    return workflow


def after(workflow: Workflow, path: str, *, jump: str | None = None, value=None, jumps: int = 0):
    definition = workflow.definition()
    end = Returned(value, (), jump=jump)
    return directed(definition, definition.node(path), end, jumps).next_path


def test_paths_are_made_of_names_and_of_the_first_value_of_a_case():
    paths = [node.path for node in nested().definition().every_node()]
    assert paths == [
        "first",
        "decision",
        "decision/approved/ship",
        "decision/approved/branch_1",
        "decision/approved/branch_1/true/deep",
        "decision/default/notify",
        "last",
    ]


def test_what_follows_the_last_node_of_a_clause_follows_the_branch():
    definition = nested().definition()
    assert definition.next_path(None) == "first"
    assert definition.next_path("decision/approved/ship") == "decision/approved/branch_1"
    assert definition.next_path("decision/approved/branch_1/true/deep") == "last"
    assert definition.next_path("decision/default/notify") == "last"
    assert definition.next_path("last") is None


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("approved", "decision/approved/ship"),
        ("yes", "decision/approved/ship"),
        ("anything", "decision/default/notify"),
        (None, "decision/default/notify"),
    ],
)
def test_a_branch_goes_on_in_the_clause_of_its_value(value, path):
    assert after(nested(), "decision", value=value) == path


@pytest.mark.parametrize(
    ("value", "path"), [(True, "decision/approved/branch_1/true/deep"), (1, "last")]
)
def test_values_are_compared_as_json_and_true_is_not_1(value, path):
    assert after(nested(), "decision/approved/branch_1", value=value) == path


@pytest.mark.parametrize(
    ("source", "target", "path"),
    [
        ("last", "first", "first"),
        ("first", "first", "first"),
        ("first", "last", "last"),
        ("first", "decision", "decision"),
        ("decision/approved/branch_1/true/deep", "ship", "decision/approved/ship"),
        ("decision/approved/branch_1/true/deep", "first", "first"),
        ("decision/approved/branch_1/true/deep", "deep", "decision/approved/branch_1/true/deep"),
        ("decision/approved/ship", "decision/approved/branch_1", "decision/approved/branch_1"),
    ],
)
def test_a_jump_leads_to_a_node_of_the_same_sequence_or_of_one_around_it(source, target, path):
    assert after(nested(), source, jump=target) == path


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("first", "ship"),
        ("first", "decision/approved/ship"),
        ("decision/default/notify", "ship"),
        ("first", "nowhere"),
    ],
)
def test_a_jump_never_enters_a_block_and_never_leads_nowhere(source, target):
    with pytest.raises(DecisionError, match="does not exist"):
        after(nested(), source, jump=target)


def test_a_jump_beyond_max_jumps_is_refused_and_none_is_no_limit():
    workflow = Workflow("loop", max_jumps=2)
    workflow.step(name="again")(body)
    assert after(workflow, "again", jump="again", jumps=1) == "again"
    with pytest.raises(DecisionError, match="2 times already"):
        after(workflow, "again", jump="again", jumps=2)
    unlimited = Workflow("loop", max_jumps=None)
    unlimited.step(name="again")(body)
    assert after(unlimited, "again", jump="again", jumps=10**6) == "again"


def test_the_targets_of_a_decision_must_exist():
    workflow = Workflow("w")
    workflow.decision(targets=["later"])(body)
    with pytest.raises(DefinitionError, match="'later'"):
        workflow.definition()
    workflow.step(name="later")(body)
    assert workflow.definition().node("body").targets == ("later",)


def test_a_block_without_steps_is_refused_at_the_end_of_its_with():
    workflow = Workflow("w")
    with (
        pytest.raises(DefinitionError, match="empty"),
        workflow.branch(body) as block,
        block.case(1),
    ):
        pass
    with pytest.raises(DefinitionError, match="empty"), workflow.branch(body):
        pass


@pytest.mark.parametrize("values", [(1, 1), ({1, 2}, [1, 2]), (), (float("nan"),), (object(),)])
def test_a_case_needs_different_json_values(values):
    workflow = Workflow("w")
    with (
        pytest.raises(DefinitionError),
        workflow.branch(body) as block,
        block.case(*values),
    ):
        workflow.step(body)


def test_a_value_in_two_cases_is_refused():
    workflow = Workflow("w")
    with workflow.branch(body) as block:
        with block.case(1):
            workflow.step(body)
        with pytest.raises(DefinitionError, match="repeats"), block.case(2, 1):
            pass


def test_a_second_default_is_refused():
    workflow = Workflow("w")
    with workflow.branch(body) as block:
        with block.default():
            workflow.step(body)
        with pytest.raises(DefinitionError, match="two defaults"), block.default():
            pass


def test_a_step_of_a_branch_belongs_into_a_case():
    workflow = Workflow("w")
    with pytest.raises(DefinitionError, match="inside a case"), workflow.branch(body):
        workflow.step(body)


def test_what_a_failed_block_had_opened_is_closed_again():
    workflow = Workflow("w")
    with pytest.raises(ValueError, match="mine"), workflow.branch(body) as block, block.case(1):
        raise ValueError("mine")
    workflow.step(name="outside")(body)
    assert [node.path for node in workflow.definition().nodes] == ["outside"]


def test_unnamed_blocks_are_counted_per_kind_in_their_own_sequence():
    workflow = Workflow("w")
    for _ in range(2):
        with workflow.branch(body) as block, block.case("x"):
            workflow.step(body)
    assert [node.path for node in workflow.definition().nodes] == ["branch_1", "branch_2"]


def test_goto_needs_a_name():
    for wrong in ("", None, 3):
        with pytest.raises(DefinitionError):
            goto(wrong)


def test_the_published_form_shows_the_clauses_and_tells_definitions_apart():
    description = nested().definition().description()
    branch = description["nodes"][1]
    assert [clause["label"] for clause in branch["clauses"]] == ["approved", "default"]
    assert branch["clauses"][0]["values"] == ["approved", "yes"]
    assert nested().definition().fingerprint() == nested().definition().fingerprint()
