"""Parallel and each blocks as they are written: names, paths, options, and what is refused."""

import pytest

from durable_otp.errors import DefinitionError
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.goto import goto
from durable_otp.workflow.json_form import canonical
from durable_otp.workflow.results import Err, Ok, restored_results, stored_results


def body(ctx):
    return ctx


def item_body(ctx, item):
    return item


def nested() -> Workflow:
    """first · lookups/{user, choice/{yes/deep}, pack, inner/{a}} · last"""
    workflow = Workflow("order")
    workflow.step(name="first")(body)
    with workflow.parallel(name="lookups") as lookups:
        workflow.step(name="user", returns="u")(body)
        with workflow.branch(body, name="choice") as choice, choice.case("yes"):
            workflow.step(name="deep")(body)
        workflow.each("items", name="pack")(item_body)
        with workflow.parallel():
            workflow.step(name="a")(body)
    lookups.into(lambda ctx, results: None)
    workflow.step(name="last")(body)
    return workflow


def test_paths_are_made_of_names_and_unnamed_blocks_are_counted():
    paths = [node.path for node in nested().definition().every_node()]
    assert paths == [
        "first",
        "lookups",
        "lookups/user",
        "lookups/choice",
        "lookups/choice/yes/deep",
        "lookups/pack",
        "lookups/parallel_1",
        "lookups/parallel_1/a",
        "last",
    ]


def test_a_child_ends_behind_its_node_and_the_block_goes_on_behind_it():
    definition = nested().definition()
    assert definition.next_path("first") == "lookups"
    assert definition.next_path("lookups") == "last"
    for path in ("user", "choice", "choice/yes/deep", "pack", "parallel_1", "parallel_1/a"):
        assert definition.next_path(f"lookups/{path}") is None


@pytest.mark.parametrize(
    ("source", "target", "found"),
    [
        ("lookups/user", "user", "lookups/user"),
        ("lookups/user", "lookups/user", "lookups/user"),
        ("lookups/user", "choice", None),
        ("lookups/user", "last", None),
        ("lookups/choice/yes/deep", "choice", "lookups/choice"),
        ("lookups/choice/yes/deep", "last", None),
        ("lookups/parallel_1/a", "user", None),
        ("first", "lookups", "lookups"),
        ("first", "user", None),
        ("first", "lookups/user", None),
        ("last", "lookups", "lookups"),
    ],
)
def test_a_jump_neither_enters_nor_leaves_a_child(source, target, found):
    assert nested().definition().destination(source, target) == found


def test_a_decision_in_a_block_may_not_name_what_it_cannot_reach():
    workflow = Workflow("w")
    workflow.step(name="before")(body)
    with workflow.parallel():
        workflow.decision(name="a", targets=["before"])(lambda: goto("before"))
    with pytest.raises(DefinitionError, match="names the target 'before'"):
        workflow.definition()


def test_a_child_s_part_of_the_definition_is_its_node_and_what_is_in_it():
    definition = nested().definition()
    part = definition.of_child("lookups/choice")
    assert part.next_path(None) == "lookups/choice"
    assert part.has("lookups/choice/yes/deep")
    assert not part.has("lookups/user")
    item = definition.of_item("lookups/pack", {"n": 1}, 4).node("lookups/pack")
    assert (item.kind, item.function({"the": "context"})) == ("step", {"n": 1})


def test_each_is_given_the_index_only_if_it_takes_it():
    workflow = Workflow("w")
    workflow.each("items", name="two")(lambda ctx, item: [item])
    workflow.each("items", name="three")(lambda ctx, item, index: [item, index])
    workflow.each("items", name="any")(lambda *given: list(given[1:]))
    definition = workflow.definition()
    values = [definition.of_item(path, "x", 7).node(path).function(None) for path in
              ("two", "three", "any")]  # fmt: skip
    assert values == [["x"], ["x", 7], ["x", 7]]


def test_the_default_of_on_error_depends_on_into():
    workflow = Workflow("w")
    chosen = {}
    for name, on_error, has_into in [
        ("plain", None, False),
        ("with_into", None, True),
        ("strict", "fail_fast", True),
        ("lenient", "complete_all", False),
    ]:
        with workflow.parallel(name, on_error=on_error) as block:
            workflow.step(name="a")(body)
        if has_into:
            block.into(lambda ctx, results: None)
    for node in workflow.definition().nodes:
        chosen[node.name] = node.on_error
    assert chosen == {
        "plain": "fail_fast",
        "with_into": "complete_all",
        "strict": "fail_fast",
        "lenient": "complete_all",
    }


def test_into_may_stand_inside_its_block_and_gives_the_function_back():
    workflow = Workflow("w")

    def merge(ctx, results):
        return results

    with workflow.parallel() as block:
        workflow.step(name="a")(body)
        assert block.into(merge) is merge
    (node,) = workflow.definition().nodes
    assert (node.into, node.on_error) == (merge, "complete_all")


def block_in(workflow, *, steps=("a",), **options):
    with workflow.parallel(**options) as block:
        for name in steps:
            workflow.step(name=name)(body)
    return block


def same_result(workflow):
    with workflow.parallel():
        workflow.step(name="a", returns="b")(body)
        workflow.step(name="b")(body)


def twice_into(workflow):
    block = block_in(workflow)
    block.into(lambda ctx, results: None)
    block.into(lambda ctx, results: None)


def into_after_registration(workflow):
    block = block_in(workflow)
    workflow.definition()
    block.into(lambda ctx, results: None)


def into_behind_the_case(workflow):
    with workflow.branch(body) as branch, branch.case(1):
        block = block_in(workflow)
    block.into(lambda ctx, results: None)


MISTAKES = {
    "empty": (lambda w: block_in(w, steps=()), "is empty"),
    "duplicate name": (lambda w: block_in(w, steps=("a", "a")), "exists already"),
    "duplicate result": (same_result, "two results called 'b'"),
    "on_error": (lambda w: block_in(w, on_error="ignore"), "on_error must be"),
    "concurrency 0": (lambda w: block_in(w, max_concurrency=0), "max_concurrency"),
    "concurrency True": (lambda w: block_in(w, max_concurrency=True), "max_concurrency"),
    "concurrency large": (lambda w: block_in(w, max_concurrency=2**31), "32 bits"),
    "slash": (lambda w: block_in(w, name="a/b"), "must not contain"),
    "into twice": (twice_into, "given twice"),
    "into late": (into_after_registration, "too late"),
    "into outside": (into_behind_the_case, "is closed"),
    "into arity": (lambda w: block_in(w).into(lambda ctx: None), r"f\(ctx, results\)"),
    "each arity": (lambda w: w.each("items", name="e")(lambda ctx: None), r"f\(ctx, item\) or"),
    "each keyword": (lambda w: w.each("items", name="e")(lambda ctx, item, *, k: 0), "f.ctx, item"),
    "each items": (lambda w: w.each(5, name="e")(item_body), "a context key or a function"),
    "each items key": (lambda w: w.each("", name="e")(item_body), "must not be empty"),
    "each items arity": (lambda w: w.each(lambda a, b: [], name="e")(item_body), "items must be"),
    "each on_error": (lambda w: w.each("i", name="e", on_error=None)(item_body), "on_error"),
    "each queue": (lambda w: w.each("i", name="e", queue="")(item_body), "queue"),
    "each timeout": (lambda w: w.each("i", name="e", timeout=0)(item_body), "timeout"),
    "each retry": (lambda w: w.each("i", name="e", retry=3)(item_body), "retry"),
    "each generator": (lambda w: w.each("i", name="e")(generator), "must not yield"),
    "each lambda": (lambda w: w.each("i")(lambda ctx, item: 0), "needs a name"),
}


def generator(ctx, item):
    yield item


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_block_that_cannot_be_run_is_refused_while_it_is_written(mistake):
    make, sentence = MISTAKES[mistake]
    with pytest.raises(DefinitionError, match=sentence):
        make(Workflow("w"))


def test_blocks_are_published_and_compared_with_everything_in_them():
    one, two = nested().definition(), nested().definition()
    assert one.same_as(two)
    assert one.fingerprint() == two.fingerprint()
    described = one.description()["nodes"][1]
    assert (described["kind"], described["into"], len(described["nodes"])) == ("parallel", True, 4)
    each = described["nodes"][2]
    assert (each["kind"], each["items"], each["on_error"]) == ("each", "items", "fail_fast")
    other = Workflow("order")
    other.each(lambda ctx: [], name="pack")(item_body)
    another = Workflow("order")
    another.each(lambda ctx: [1], name="pack")(item_body)
    assert not other.definition().same_as(another.definition())


def test_results_travel_as_pairs_and_come_back_as_they_were():
    results = {"a": Ok(None), "b": Err({"type": "E", "message": "m"}), "c": [Ok(1), Err({})]}
    stored = stored_results(results)
    assert stored == {
        "a": ["ok", None],
        "b": ["error", {"type": "E", "message": "m"}],
        "c": [["ok", 1], ["error", {}]],
    }
    assert restored_results(stored) == results
    assert canonical({"kept": [Ok(1), Err({"x": 2})]}) == {"kept": [["ok", 1], ["error", {"x": 2}]]}


def test_results_can_be_matched():
    match Ok(3):
        case Ok(value):
            assert value == 3
    match Err({"type": "E"}):
        case Err({"type": kind}):
            assert kind == "E"
