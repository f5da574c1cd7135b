"""Parents and children in memory wait for each other as those in PostgreSQL do."""

from typing import Any

import pytest

from durable_otp.engine.family_journal import BlockState, Opening
from durable_otp.engine.journal import Answer, Journal
from durable_otp.errors import ClaimLost
from durable_otp.workflow.child_call import ChildCall, ChildEnd, ChildOptions
from durable_otp.workflow.suspension import WaitRequest
from tests.support.journal_rows import ERROR, begun, claimed, completion, failure, workflow
from tests.support.journals import Side

BLOCK = ("block", 1)


def opening(total: int = 2, **fields: Any) -> Opening:
    given: dict[str, Any] = {
        "path": "block",
        "visit": 1,
        "kind": "parallel",
        "on_error": "fail_fast",
        "max_concurrency": None,
        "starts": [(f"block/{name}", "default") for name in "abcde"[:total]],
        "items": None,
        "total": total,
        "input": {"i": 1},
        "context": {"i": 1, "before": True},
        "results": None,
    }
    return Opening(**(given | fields))


def each(items: list[Any], **fields: Any) -> Opening:
    starts = [("block", "default")]
    return opening(len(items), kind="each", starts=starts, items=items, **fields)


def opened(side: Side, how: Opening) -> str:
    """Start an execution that opens a block; return its id."""
    id_, journal = begun(side, given={"i": 1})
    journal.family.open(how)
    return id_


def end(side: Side, child: str, value: Any = None, *, context: Any = ()) -> None:
    """Complete a child's one step."""
    path = "block"
    changes = [["set", key, item] for key, item in dict(context).items()]
    claimed(side, child).checkpoint(completion(path, 1, value=value, changes=changes))


def test_a_block_waits_for_its_children(side: Side) -> None:
    id_ = opened(side, opening())
    execution = side.execution(id_)
    assert (execution.status, execution.current_step) == ("waiting", "block")
    assert [(s.path, s.type, s.status) for s in execution.steps or []] == [
        ("block", "parallel", "waiting")
    ]
    first, second = side.children(id_)
    shown = side.execution(first)
    assert (shown.parent_id, shown.status) == (id_, "pending")
    assert shown.context == {"i": 1, "before": True}
    end(side, first, {"v": 1})
    assert side.claim(id_) is None
    end(side, second, 2)
    family = claimed(side, id_).family
    assert family.block(*BLOCK) == BlockState(2, 2, is_live=False, on_error="fail_fast")
    assert [(c.index, c.start_path, c.status, c.result) for c in family.children(*BLOCK)] == [
        (0, "block/a", "completed", {"v": 1}),
        (1, "block/b", "completed", 2),
    ]


def test_a_child_knows_where_it_begins(side: Side) -> None:
    id_ = opened(side, each(["x", {"y": 1}], results={"earlier": ["ok", 1]}))
    _, second = side.children(id_)
    origin = claimed(side, second).family.origin()
    assert not origin.is_compensating
    sibling = origin.sibling
    assert sibling is not None
    assert (sibling.start_path, sibling.index, sibling.item) == ("block", 1, {"y": 1})
    assert (sibling.input, sibling.is_item) == ({"i": 1}, True)
    assert sibling.context == {"i": 1, "before": True}
    assert sibling.results == {"earlier": ["ok", 1]}


def test_a_block_that_is_not_open_has_no_state(side: Side) -> None:
    _, journal = begun(side)
    assert journal.family.block(*BLOCK) is None
    assert journal.family.latest_results() is None


def test_as_many_run_as_may(side: Side) -> None:
    id_ = opened(side, each([1, 2, 3, 4], max_concurrency=2))
    assert len(side.children(id_)) == 2
    end(side, side.children(id_)[1])
    assert len(side.children(id_)) == 3
    end(side, side.children(id_)[0])
    assert len(side.children(id_)) == 4
    for child in side.children(id_)[2:]:
        assert side.claim(id_) is None
        end(side, child)
    results = claimed(side, id_).family.children(*BLOCK)
    assert [child.index for child in results] == [0, 1, 2, 3]


def test_the_first_failure_cancels_the_siblings(side: Side) -> None:
    id_ = opened(side, each([1, 2, 3], max_concurrency=2))
    first, second = side.children(id_)
    claimed(side, second).fail(ERROR, "block", None)
    cancelled = side.execution(first)
    assert cancelled.status == "cancelled"
    assert cancelled.error == {
        "type": "cancelled",
        "message": "Child block/1 of the same block failed.",
    }
    assert len(side.children(id_)) == 2
    ended = claimed(side, id_).family.children(*BLOCK)
    assert [(child.index, child.status) for child in ended] == [(0, "cancelled"), (1, "failed")]
    assert ended[1].ended_at <= ended[0].ended_at


def test_complete_all_lets_the_siblings_go_on(side: Side) -> None:
    id_ = opened(side, each([1, 2, 3], max_concurrency=2, on_error="complete_all"))
    first, second = side.children(id_)
    claimed(side, second).fail(ERROR, "block", None)
    assert side.execution(first).status == "pending"
    end(side, side.children(id_)[2])
    end(side, first)
    ended = claimed(side, id_).family.children(*BLOCK)
    assert [child.status for child in ended] == ["completed", "failed", "completed"]


def test_children_end_with_their_parent(side: Side) -> None:
    id_, journal = begun(side, timeout=60)
    journal.family.open(opening())
    side.advance(61)
    assert side.execution(id_).status == "failed"
    assert [side.execution(child).status for child in side.children(id_)] in (
        ["failed", "failed"],  # their deadline is their parent's
        ["cancelled", "cancelled"],
        ["failed", "cancelled"],
    )


def test_what_completed_children_did_is_undone_by_their_parent(side: Side) -> None:
    id_ = opened(side, each([1, 2]))
    for child in side.children(id_):
        claimed(side, child).checkpoint(completion("block", 1, compensation="undo"))
    claimed(side, id_).fail(ERROR, "block", None)
    journal = claimed(side, id_)
    undos = journal.compensations.to_undo()
    assert [(undo.path, undo.visit) for undo in undos] == [("block/1", 1), ("block/0", 1)]
    context = journal.compensations.context_of(undos[0].execution_id, {"i": 1})
    assert context == {"i": 1, "before": True, "block": 1, "names": ["block"]}


def test_a_block_is_settled_once(side: Side) -> None:
    id_ = opened(side, opening())
    for child in side.children(id_):
        end(side, child)
    journal = claimed(side, id_)
    journal.visit("block")
    journal.checkpoint(completion("block", 1, "two", results={"a": ["ok", 1]}))
    assert journal.family.latest_results() == {"a": ["ok", 1]}
    with pytest.raises(ClaimLost):
        side.stranger(id_).family.open(opening(path="other"))


# calls


def call(ref: str | None = None, **options: Any) -> WaitRequest:
    definition = workflow("only", name="child").definition()
    how = ChildOptions(ref=ref, **options)
    made = ChildCall(
        workflow="child",
        version="1",
        queue="default",
        priority=0,
        timeout=None,
        input='{"n": 1}',
        options=how,
        definition=definition,
    )
    return WaitRequest(kind="child", names=() if ref is None else (ref,), child=made)


def calling(side: Side, *requests: WaitRequest) -> str:
    id_, journal = begun(side)
    journal.suspend("one", 1, list(enumerate(requests)), attempt=1)
    return id_


def answers(journal: Journal) -> dict[int, Answer]:
    return dict(journal.visit("one").answers)


def test_a_call_is_answered_by_the_end_of_its_child(side: Side) -> None:
    id_ = calling(side, call())
    (child,) = side.children(id_)
    assert side.execution(child).input == {"n": 1}
    (step,) = side.execution(id_).steps or []
    assert (step.status, step.child_id) == ("waiting", child)
    claimed(side, child).checkpoint(completion("only", 1))
    answer = answers(claimed(side, id_))[0]
    assert answer.is_answered
    context = {"n": 1, "only": 1, "names": ["only"]}
    assert answer.value == ChildEnd(child, "child", "completed", context)


def test_a_failed_call_belongs_to_the_attempt_that_made_it(side: Side) -> None:
    id_ = calling(side, call())
    (child,) = side.children(id_)
    claimed(side, child).fail(ERROR, "only", None)
    journal = claimed(side, id_)
    answer = answers(journal)[0]
    assert answer.value == ChildEnd(child, "child", "failed", error=ERROR)
    journal.record_failure(failure("one", 1))
    assert answers(journal) == {}
    journal.suspend("one", 1, [(0, call())], attempt=2)
    first, second = side.children(id_)
    claimed(side, second).checkpoint(completion("only", 1))
    assert answers(claimed(side, id_))[0].value.execution_id == second
    assert [s.child_id for s in (side.execution(id_).steps or []) if s.attempt == 1] == [first]


def test_a_call_with_a_name_is_one_child(side: Side) -> None:
    id_ = calling(side, call("ref"))
    (child,) = side.children(id_)
    claimed(side, child).checkpoint(completion("only", 1))
    journal = claimed(side, id_)
    journal.suspend("one", 1, [(1, call("ref"))])
    assert side.children(id_) == [child]
    assert answers(claimed(side, id_))[1].value.execution_id == child


@pytest.mark.parametrize("has_value", [True, False])
def test_a_call_is_given_up_when_its_time_is_over(side: Side, has_value: bool) -> None:
    patience = {"patience": 60.0, "has_timeout_value": has_value}
    id_ = calling(side, call(**patience, timeout_value="late" if has_value else None))
    (child,) = side.children(id_)
    side.advance(59)
    assert side.claim(id_) is None
    side.advance(1)
    assert side.execution(child).status == "cancelled"
    answer = answers(claimed(side, id_))[0]
    assert answer.value.status == "timed_out"
    assert (answer.value.has_timeout_value, answer.value.timeout_value) == (
        has_value,
        "late" if has_value else None,
    )


def test_a_started_execution_is_nobodys_child_and_started_once(side: Side) -> None:
    id_, journal = begun(side)
    child = call().child
    assert child is not None
    started = journal.family.start(child, "key")
    assert journal.family.start(child, "key") == started
    assert journal.family.start(child, "other") != started
    assert side.execution(started).parent_id is None
    assert side.children(id_) == []
    with pytest.raises(ClaimLost):
        side.stranger(id_).family.start(child, "third")
