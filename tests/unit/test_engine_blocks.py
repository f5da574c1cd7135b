"""Blocks in the engine: what is opened, what a child is, and what becomes of the results."""

from durable_otp import Err, Ok, Retry, goto, parallel_result, parallel_results, sleep
from durable_otp.engine.family_journal import Sibling
from durable_otp.engine.outcome import Outcome
from durable_otp.workflow.builder import Workflow
from tests.support.engine import MemoryFamily, MemoryJournal, run


def family_of(sibling: Sibling | None = None) -> tuple[MemoryJournal, MemoryFamily]:
    journal = MemoryJournal()
    return journal, MemoryFamily(journal, sibling)


def block(into=None, **options) -> Workflow:
    workflow = Workflow("w")
    workflow.step(name="first")(lambda: {"a": 1})
    with workflow.parallel(name="both", **options) as both:
        workflow.step(name="left", returns="l", queue="slow")(lambda: None)
        workflow.step(name="right")(lambda: None)
    if into is not None:
        both.into(into)
    workflow.step(name="last")(seen)
    return workflow


def seen(ctx):
    return {"seen": {name: result.stored() for name, result in ctx.results.items()}}


def each(items="items", function=lambda ctx, item: None, **options) -> Workflow:
    workflow = Workflow("w")
    workflow.each(items, name="pack", **options)(function)
    return workflow


def test_a_block_is_opened_with_the_context_before_it_and_its_execution_waits():
    journal, family = family_of()
    assert run(block(), {"n": 0}, journal=journal, family=family) is Outcome.WAITING
    (opening,) = family.openings
    assert (opening.path, opening.visit, opening.kind, opening.total) == ("both", 1, "parallel", 2)
    assert opening.starts == [("both/left", "slow"), ("both/right", "default")]
    assert opening.context == {"n": 0, "a": 1}
    assert opening.input == {"n": 0}
    assert [each.attempt.path for each in journal.completions] == ["first"]


def test_without_into_the_results_are_there_and_the_context_is_as_it_was():
    journal, family = family_of()
    run(block(), journal=journal, family=family)
    family.end(5, {"x": 1})
    assert run(block(), journal=journal, family=family) is Outcome.COMPLETED
    both, last = journal.completions[1:]
    assert (both.attempt.type, list(both.changes)) == ("parallel", [])
    assert both.results == {"l": ["ok", 5], "right": ["ok", {"x": 1}]}
    assert last.output == {"seen": both.results}


def test_into_runs_as_a_step_does():
    def into(ctx, results):
        assert results == ctx.results == parallel_results()
        assert parallel_result("l") == results["l"]
        match results["l"], results["right"]:
            case Ok(value), Err({"type": kind}):
                return {"value": value, "kind": kind}

    journal, family = family_of()
    run(block(into), journal=journal, family=family)
    family.end(5, KeyError("x"))
    assert run(block(into), journal=journal, family=family) is Outcome.COMPLETED
    assert journal.completions[1].output == {"value": 5, "kind": "KeyError"}
    assert list(journal.completions[1].changes) == [
        ["set", "kind", "KeyError"],
        ["set", "value", 5],
    ]


def test_into_may_jump_and_the_block_runs_afresh():
    def into(ctx, results):
        return goto("both") if results["l"].value == "again" else None

    journal, family = family_of()
    run(block(into), journal=journal, family=family)
    family.end("again", 1)
    assert run(block(into), journal=journal, family=family) is Outcome.WAITING
    assert [opening.visit for opening in family.openings] == [1, 2]
    family.end("enough", 2)
    assert run(block(into), journal=journal, family=family) is Outcome.COMPLETED


def test_into_is_retried_by_the_workflow_s_policy_and_its_attempts_are_recorded():
    tries = []

    def into(ctx, results):
        tries.append(ctx.attempt)
        raise ValueError("no")

    workflow = Workflow("w", retry=Retry(max_attempts=2, base=0))
    with workflow.parallel() as only:
        workflow.step(name="a")(lambda: None)
    only.into(into)
    journal, family = family_of()
    run(workflow, journal=journal, family=family)
    family.end(1)
    assert run(workflow, journal=journal, family=family) is Outcome.FAILED
    assert tries == [1, 2]
    assert [(f.attempt.path, f.attempt.number) for f in journal.failures] == [
        ("parallel_1", 1),
        ("parallel_1", 2),
    ]
    assert len(family.openings) == 1


def test_into_and_items_may_wait_without_getting_in_each_other_s_way():
    def items(ctx):
        sleep(1)
        return [1]

    journal, family = family_of()
    assert run(each(items), journal=journal, family=family) is Outcome.WAITING
    assert (family.openings, list(journal.waits)) == ([], [("pack", 1)])
    journal.answer_all()
    assert run(each(items), journal=journal, family=family) is Outcome.WAITING
    assert len(family.openings) == 1

    def into(ctx, results):
        sleep(1)
        return {"done": True}

    journal, family = family_of()
    run(block(into), journal=journal, family=family)
    family.end(1, 2)
    assert run(block(into), journal=journal, family=family) is Outcome.WAITING
    journal.answer_all()
    assert run(block(into), journal=journal, family=family) is Outcome.COMPLETED


def test_fail_fast_fails_with_the_child_s_error_and_its_name():
    journal, family = family_of()
    run(block(), journal=journal, family=family)
    family.end(5, KeyError("x"))
    assert run(block(), journal=journal, family=family) is Outcome.FAILED
    (failure,) = journal.failures
    assert failure.error == {
        "type": "KeyError",
        "message": "'x'",
        "child": {"name": "right", "id": "child 1"},
    }


def test_each_keeps_the_values_in_order_under_its_name():
    journal, family = family_of()
    workflow = each()
    workflow.step(name="after")(lambda ctx: [each.value for each in ctx.results["pack"]])
    run(workflow, {"items": [3, 4]}, journal=journal, family=family)
    (opening,) = family.openings
    assert (opening.items, opening.total, opening.starts) == ([3, 4], 2, [("pack", "default")])
    family.end("c", "d")
    given = {"items": [3, 4]}
    assert run(workflow, given, journal=journal, family=family) is Outcome.COMPLETED
    assert list(journal.completions[0].changes) == [["set", "pack", ["c", "d"]]]
    assert journal.completions[1].output == ["c", "d"]


def test_each_that_completes_all_keeps_pairs():
    journal, family = family_of()
    workflow = each(on_error="complete_all")
    run(workflow, {"items": [3, 4]}, journal=journal, family=family)
    family.end("c", ValueError("d"))
    run(workflow, {"items": [3, 4]}, journal=journal, family=family)
    pairs = [["ok", "c"], ["error", {"type": "ValueError", "message": "d"}]]
    assert journal.completions[0].output == pairs
    assert journal.completions[0].results == {"pack": pairs}


def test_the_failed_item_is_named_by_its_index():
    journal, family = family_of()
    run(each(), {"items": [1, 2, 3, 4]}, journal=journal, family=family)
    family.end(1, 2, 3, ValueError("four"))
    run(each(), {"items": [1, 2, 3, 4]}, journal=journal, family=family)
    assert journal.failures[0].error["child"] == {"name": "pack/3", "id": "child 3"}


def test_each_of_nothing_completes_at_once():
    journal, family = family_of()
    assert run(each(), {"items": []}, journal=journal, family=family) is Outcome.COMPLETED
    assert family.openings == []
    assert journal.completions[0].output == []
    assert journal.completions[0].results == {"pack": []}


def test_items_that_are_no_list_fail_clearly():
    for given, message in [({"items": {"a": 1}}, "must be a list, not {'a': 1}"),
                           ({"items": None}, "must be a list, not None"),
                           ({}, "there is none")]:  # fmt: skip
        journal, family = family_of()
        assert run(each(), given, journal=journal, family=family) is Outcome.FAILED
        assert message in journal.failures[0].error["message"]
        assert family.openings == []


def test_items_are_code_of_the_user_s_and_are_retried_like_a_step():
    tries = []

    def items(ctx):
        tries.append(ctx.attempt)
        ctx["left out"] = True
        if len(tries) < 2:
            raise ValueError("not yet")
        return (n for n in [1, 2]) if len(tries) == 9 else (1, 2)

    journal, family = family_of()
    workflow = each(items, retry=Retry(max_attempts=2, base=0))
    assert run(workflow, journal=journal, family=family) is Outcome.WAITING
    assert tries == [1, 2]
    assert family.openings[0].items == [1, 2]
    assert family.openings[0].context == {}


def test_a_block_whose_children_live_is_waited_for_again_and_not_asked_again():
    asked = []
    journal, family = family_of()
    workflow = each(lambda ctx: asked.append(1) or [1, 2])
    run(workflow, journal=journal, family=family)
    assert run(workflow, journal=journal, family=family) is Outcome.WAITING
    assert asked == [1]
    assert [opening.items for opening in family.openings] == [[1, 2], None]


def test_a_parallel_block_that_changed_while_it_was_open_fails_as_definition_changed():
    journal, family = family_of()
    run(block(), journal=journal, family=family)
    family.end(1, 2)
    changed = Workflow("w")
    changed.step(name="first")(lambda: None)
    with changed.parallel(name="both"):
        changed.step(name="left")(lambda: None)
        changed.step(name="other")(lambda: None)
    assert run(changed, journal=journal, family=family) is Outcome.FAILED
    assert journal.ended == ("failed", "definition_changed")


# children


def child(path: str, *, is_item: bool = False, **fields) -> Sibling:
    given = {"index": 2, "item": None, "input": {"n": 0}, "context": {"n": 0, "a": 1}} | fields
    return Sibling(path, is_item=is_item, **given)


def run_child(workflow: Workflow, sibling: Sibling) -> MemoryJournal:
    journal, family = family_of(sibling)
    run(workflow, None, journal=journal, family=family)
    return journal


def test_a_child_runs_its_node_alone_on_the_context_before_the_block():
    workflow = Workflow("w")
    saw = {}
    with workflow.parallel(name="p"):

        @workflow.step
        def left(ctx):
            saw.update(ctx, input=ctx.input, results=ctx.results, key=ctx.idempotency_key)
            ctx["a"] = 2
            return "value"

        workflow.step(name="right")(lambda: 1 / 0)
    workflow.step(name="last")(lambda: 1 / 0)
    journal = run_child(workflow, child("p/left", results={"x": ["ok", 1]}))
    assert journal.ended == ("completed", None)
    assert [c.attempt.path for c in journal.completions] == ["p/left"]
    assert saw == {
        "n": 0, "a": 1, "input": {"n": 0}, "results": {"x": Ok(1)}, "key": "an id:p/left:1",
    }  # fmt: skip
    assert journal.completions[0].value == "value"


def test_a_child_that_returns_nothing_gives_the_keys_it_changed():
    workflow = Workflow("w")
    with workflow.parallel(name="p"):

        @workflow.step
        def left(ctx):
            ctx["a"] = True
            ctx["b"] = [1]
            ctx["n"] = 0

    assert run_child(workflow, child("p/left")).completions[0].value == {"a": True, "b": [1]}


def test_a_child_that_is_a_block_gives_the_keys_it_changed_in_all_its_steps():
    workflow = Workflow("w")
    with workflow.parallel(name="p"), workflow.branch(lambda: 1, name="b") as b, b.case(1):
        workflow.step(name="one")(lambda: {"one": 1})
        workflow.step(name="two")(lambda ctx: goto("one") if ctx.get("n") == 0 else "last")
        workflow.step(name="three")(lambda ctx: None)

    @workflow.step
    def never():
        raise AssertionError

    journal = run_child(workflow, child("p/b", context={}))
    assert [c.attempt.path for c in journal.completions] == [
        "p/b", "p/b/1/one", "p/b/1/two", "p/b/1/three",
    ]  # fmt: skip
    assert journal.completions[-1].value == {"one": 1, "two": "last"}


def test_an_item_s_child_is_given_its_item_and_its_index():
    workflow = each(function=lambda ctx, item, index: [item, index, ctx["a"], ctx.input])
    journal = run_child(workflow, child("pack", is_item=True, item={"x": 1}))
    assert journal.completions[0].value == [{"x": 1}, 2, 1, {"n": 0}]
    assert journal.completions[0].attempt.path == "pack"


def test_a_jump_out_of_a_child_fails_as_decision_error_and_one_to_itself_does_not():
    workflow = Workflow("w")
    workflow.step(name="before")(lambda: None)
    with workflow.parallel(name="p"):
        workflow.step(name="out")(lambda: goto("before"))
        workflow.step(name="again")(
            lambda ctx: goto("again") if ctx.increment("n") < 3 else {"n": ctx["n"]}
        )
    workflow.each("items", name="pack")(lambda ctx, item: goto("before"))
    assert run_child(workflow, child("p/out")).ended == ("failed", "decision_error")
    journal = run_child(workflow, child("pack", is_item=True))
    assert journal.ended == ("failed", "decision_error")
    journal = run_child(workflow, child("p/again"))
    assert [c.attempt.visit for c in journal.completions] == [1, 2, 3]
    assert journal.completions[-1].value == {"n": 3}


def test_a_child_whose_node_is_gone_fails_as_definition_changed():
    for sibling in (child("p/left"), child("pack", is_item=True), child("first", is_item=True)):
        workflow = Workflow("w")
        workflow.step(name="first")(lambda: None)
        assert run_child(workflow, sibling).ended == ("failed", "definition_changed")


def test_a_child_that_is_an_each_opens_a_block_of_its_own():
    workflow = Workflow("w")
    with workflow.parallel(name="p"):
        workflow.each("items", name="pack")(lambda ctx, item: item)
    journal, family = family_of(child("p/pack", context={"items": [1, 2]}))
    assert run(workflow, journal=journal, family=family) is Outcome.WAITING
    assert (family.openings[0].path, family.openings[0].items) == ("p/pack", [1, 2])
    assert family.openings[0].input == {"n": 0}
    family.end("x", "y")
    assert run(workflow, journal=journal, family=family) is Outcome.COMPLETED
    assert journal.completions[0].value == {"pack": ["x", "y"]}
