"""What the model of `tests.support.model` says of shapes whose ending is plain to see."""

from collections import Counter

import pytest

from tests.support.endings import AmbiguousError, Ending, Trace
from tests.support.model import TooLongError, expected
from tests.support.random_shapes import MOST_NODES, random_shape
from tests.support.shapes import (
    FOR_EVER,
    KINDS,
    Branch,
    Clause,
    Each,
    Handler,
    Into,
    Jump,
    Parallel,
    Shape,
    Step,
    Wait,
    kinds,
    printed,
)

BOOM = Step("boom", failing=FOR_EVER)


def ending(*nodes, given=None, **options) -> Ending:
    return expected(Shape("w", nodes, given, **options))


def order(end: Ending) -> list[str]:
    return [path for path, _, _, status in end.rows if status == "completed"]


def test_a_step_keeps_its_effects_and_what_it_returns() -> None:
    end = ending(
        Step("a", (("set", "v1", (1, "x")), ("append", "l1", 2), ("increment", "i1", 2)), value=7),
        Step("b", (("append", "l1", 3), ("increment", "i1", -1)), value={"v2": {2, 1}}),
        Step("c", (("copy", "v3", "l1"), ("delete", "v1"), ("size", "size")), value=None),
        Step("d", value={"k": 1}, returns="v4"),
        given={"i1": 1},
    )
    assert end.context == {
        "i1": 2, "l1": [2, 3], "a": 7, "v2": [1, 2], "v3": [2, 3], "size": 5, "v4": {"k": 1},
    }  # fmt: skip
    assert (end.status, end.errors, order(end)) == ("completed", frozenset(), list("abcd"))


def test_an_attempt_that_fails_leaves_no_trace() -> None:
    end = ending(Step("a", (("increment", "i1", 1),), failing=2, attempts=3))
    assert end.context == {"i1": 1}
    assert end.rows == [("a", 1, 1, "failed"), ("a", 1, 2, "failed"), ("a", 1, 3, "completed")]
    assert end.traces == [Trace("w", (("a", 1),))]


@pytest.mark.parametrize(("error", "attempts"), [("ValueError", 3), ("Fatal", 1)])
def test_a_step_that_always_fails_ends_it(error: str, attempts: int) -> None:
    end = ending(
        Step("a"), Step("b", (("set", "v1", 1),), failing=FOR_EVER, attempts=3, error=error)
    )
    assert (end.status, end.errors, end.context) == ("failed", {error}, {})
    assert len(end.rows) == 1 + attempts


def test_a_workflows_retry_is_for_steps_without_one() -> None:
    assert ending(Step("a", failing=1), attempts=2).status == "completed"
    assert len(ending(Step("a", failing=FOR_EVER, attempts=2), attempts=3).rows) == 2


@pytest.mark.parametrize(
    ("value", "taken"),
    [(1, "x/1/one"), (True, "x/true/yes"), ("b", "x/a/letter"), (None, "x/default/other")],
)
def test_a_branch_tells_true_from_one(value: object, taken: str) -> None:
    branch = Branch(
        "x",
        "v1",
        (
            Clause((1,), (Step("one"),)),
            Clause((True,), (Step("yes"),)),
            Clause(("a", "b"), (Step("letter"),)),
            Clause((), (Step("other"),)),
        ),
    )
    assert order(ending(branch, given={"v1": value})) == ["x", taken]


def test_a_branch_without_a_match_is_skipped_and_one_that_raises_fails() -> None:
    clauses = (Clause((1,), (Step("one"),)),)
    assert order(ending(Branch("x", "v1", clauses), Step("b"))) == ["x", "b"]
    assert ending(Branch("x", None, clauses)).errors == {"branch_error"}


def test_a_loop_makes_new_visits() -> None:
    again = Step("again", jump=Jump("a", "c", times=2))
    end = ending(Step("a", (("increment", "i1", 1),), failing=1, attempts=2), again, Step("b"))
    assert end.context == {"i1": 3, "c": 3}
    done = [(path, visit) for path, visit, _, status in end.rows if status == "completed"]
    assert done == [
        ("a", 1),
        ("again", 1),
        ("a", 2),
        ("again", 2),
        ("a", 3),
        ("again", 3),
        ("b", 1),
    ]


def test_a_jump_may_leave_a_block_and_never_enters_one() -> None:
    leave = Branch("x", "v1", (Clause((), (Step("out", jump=Jump("z", "c", 1)), Step("in"))),))
    assert order(ending(leave, Step("y"), Step("z"))) == ["x", "x/default/out", "z"]
    enter = Step("a", jump=Jump("x/default/in", "c", 1))
    assert ending(enter, leave, Step("z")).errors == {"decision_error"}


def test_too_many_jumps_fail() -> None:
    loop = Step("a", jump=Jump("a", "c", times=3))
    assert ending(loop, max_jumps=3).context == {"c": 4}
    assert ending(loop, max_jumps=2).errors == {"decision_error"}
    assert ending(loop, max_jumps=2).context == {"c": 2}


def test_parallel_children_keep_their_changes_to_themselves() -> None:
    nodes = (
        Step("a", (("increment", "i1", 1),)),
        Step("b", (("increment", "i1", 2),), value=5, returns="named"),
        Branch("x", "i1", (Clause((1,), (Step("deep", (("append", "l1", 1),)),)),)),
    )
    block = Parallel("p", nodes, into=Into("mapping"))
    end = ending(block, given={"i1": 1})
    results = {"a": ["ok", {"i1": 2}], "named": ["ok", 5], "x": ["ok", {"l1": [1]}]}
    assert end.context == {"i1": 1, "p_results": results}
    lines = [trace.lines for trace in end.traces]
    assert lines == [(("a", 1),), (("b", 1),), (("deep", 1),), (("p:into", 1),)]


def test_a_parallel_block_that_completes_all_keeps_failures_as_results() -> None:
    end = ending(Parallel("p", (Step("a"), BOOM), into=Into("mapping")), Step("b"))
    assert end.status == "completed"
    assert end.context == {"p_results": {"a": ["ok", {}], "boom": ["error", "ValueError"]}}


def test_a_parallel_block_that_fails_fast_lets_siblings_run_or_not() -> None:
    end = ending(Parallel("p", (Step("a"), BOOM)), Step("b"))
    assert (end.status, end.errors, end.context) == ("failed", {"ValueError"}, {})
    assert end.traces[:2] == [Trace("w", (("a", 1),), cut=True), Trace("w", (("boom", 1),))]


def test_a_failure_that_chance_chooses_is_told_or_refused() -> None:
    two = Parallel("p", (BOOM, Step("other", failing=FOR_EVER, error="Fatal")))
    assert ending(two).errors == {"ValueError", "Fatal"}
    assert ending(two).children == {"boom", "other"}
    with pytest.raises(AmbiguousError):
        ending(Parallel("q", (two,), on_error="complete_all"))


def test_the_latest_blocks_results_are_seen() -> None:
    seen = Step("b", (("results", "seen"),))
    assert ending(Parallel("p", (Step("a", value=1),)), seen).context == {"seen": {"a": ["ok", 1]}}


def test_each_gives_a_list_in_order_of_items() -> None:
    items = ({"at": 0, "value": "x", "failing": 1}, {"at": 1, "value": "y", "failing": 0})
    each = Each("e", Step("e", value="item", attempts=2), items)
    end = ending(each, Step("b", (("results", "seen"),)))
    assert end.context["e"] == [["e", "x"], ["e", "y"]]
    assert end.context["seen"] == {"e": [["ok", ["e", "x"]], ["ok", ["e", "y"]]]}
    assert [trace.lines for trace in end.traces[:2]] == [(("e/0", 1),), (("e/1", 1),)]


@pytest.mark.parametrize("on_error", ["fail_fast", "complete_all"])
def test_each_with_an_item_that_fails(on_error: str) -> None:
    items = tuple({"at": at, "value": at, "failing": at * FOR_EVER} for at in range(2))
    end = ending(Each("e", Step("e", value="mapping"), items, on_error=on_error))
    kept = {"e": [["ok", {"of": 0}], ["error", "ValueError"]]}
    assert end.context == ({} if on_error == "fail_fast" else kept)


def test_waits_are_answered_once_a_visit() -> None:
    waits = (Wait("event", "e", "v1"), Wait("any", "f", "v2"), Wait("all", "g", "v3"))
    again = Step("again", jump=Jump("a", "c", times=1))
    end = ending(Step("a", waits=waits, failing=1, attempts=2), again)
    assert end.events[:4] == [("e", "e#1"), ("f", "f#1"), ("g", "g#1"), ("gb", "gb#1")]
    assert len(end.events) == 8
    assert end.context["v1"] == "e#2"
    assert end.context["v2"] == ["f", "f#2"]
    assert end.context["v3"] == {"g": "g#2", "gb": "gb#2"}


def test_waits_that_time_out() -> None:
    def after(kind: str, **options) -> Ending:
        return ending(Step("a", waits=(Wait(kind, "e", "v1", **options),), attempts=2))

    assert after("event_timeout", value=1).context == {"v1": 1}
    assert after("input_timeout", value={2}).context == {"v1": [2]}
    assert after("raises_timeout", catches=True).context == {"v1": "timed out"}
    assert len(after("raises_timeout").rows) == 2
    assert after("raises_timeout").errors == {"WaitTimeout"}
    assert len(after("fails_execution").rows) == 1
    assert after("fails_execution").errors == {"wait_timeout"}


def test_a_sleep_and_a_journaled_result() -> None:
    waits = (Wait("sleep", ""), Wait("once", "o", "v1", value=(1,)))
    assert ending(Step("a", waits=waits)).context == {"v1": [1]}


def test_a_child_gives_its_context_or_its_failure() -> None:
    good = Shape("good", (Step("x", value=1),), {"i1": 2})
    bad = Shape("bad", (Step("x"), BOOM))

    def calling(child: Shape, **options) -> Ending:
        wait = Wait("child", child.name, "v1", **options)
        return ending(Step("a", waits=(wait,), attempts=2), children=(child,))

    assert calling(good).context == {"v1": {"i1": 2, "x": 1}}
    assert calling(bad, catches=True).context == {"v1": ["failed", "ValueError"]}
    kept = expected(
        Shape(
            "w",
            (Step("a", waits=(Wait("child", "good"),), failing=1, attempts=2),),
            children=(good,),
        )
    )
    assert len(kept.traces) == 2
    failed = calling(bad)
    assert failed.errors == {"ChildFailed"}
    again = Trace("bad", (("x", 1), ("boom", 1)), repeatable=True)
    assert failed.traces == [again, again, Trace("w", (("a", 1),))]


def test_compensations_run_newest_first_and_all_of_them() -> None:
    steps = (
        Step("a", handler=Handler("undo_a", failing=1, attempts=2)),
        Step("again", jump=Jump("a", "c", times=1)),
        Step("b", handler=Handler("undo_b", failing=FOR_EVER)),
        Step("boom", failing=FOR_EVER, handler=Handler("undo_boom")),
    )
    end = ending(*steps)
    assert (end.status, end.errors) == ("compensation_failed", {"ValueError"})
    twice = [[("undo_a", "completed")], [("undo_a", "completed")]]
    assert end.undone == [[("undo_b", "failed")], *twice]
    assert ending(*steps[:2], BOOM).status == "compensated"
    assert ending(*steps[:3]).undone == []


def test_a_block_is_undone_by_its_parent_and_what_failed_in_it_by_itself() -> None:
    one, two = (Step(name, handler=Handler(f"undo_{name}")) for name in ("one", "two"))
    into = (Clause((), (Step("in", handler=Handler("undo_in")), Step("bad", failing=FOR_EVER))),)
    failing = Branch("x", "v1", into)
    end = ending(
        one,
        Parallel("p", (two, Step("z", handler=Handler("undo_z")), failing), "complete_all"),
        BOOM,
    )
    done = "completed"
    assert end.undone == [[("undo_two", done), ("undo_z", done)], [("undo_one", done)]]
    assert Trace("w", (("in", 1), ("bad", 1), ("undo_in", 1))) in end.traces
    with pytest.raises(AmbiguousError):
        ending(Parallel("p", (two, BOOM)))


def test_a_shape_without_end_is_refused() -> None:
    with pytest.raises(TooLongError):
        ending(Step("a", jump=Jump("a", "c", times=1000)), max_jumps=None)


def test_random_shapes_have_every_kind_and_ending() -> None:
    shapes = [random_shape(seed) for seed in range(150)]
    found = Counter(kind for shape in shapes for kind in kinds(shape))
    assert set(found) == KINDS
    assert min(found.values()) >= 20, found
    endings = Counter(expected(shape).status for shape in shapes)
    assert min(endings.values()) >= 3, endings
    assert set(endings) == {"completed", "failed", "compensated", "compensation_failed"}
    sizes = [sum(1 for _ in shape.every_node()) for shape in shapes]
    assert max(sizes) >= MOST_NODES - 2


def test_a_seed_gives_the_same_shape_again_and_prints_as_what_makes_it() -> None:
    for seed in range(20):
        shape = random_shape(seed)
        assert shape == random_shape(seed)
        assert eval(printed(shape)) == shape
