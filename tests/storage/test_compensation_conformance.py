"""What is undone in memory, and in which order, is what is undone in PostgreSQL."""

from collections.abc import Callable
from typing import Any

import pytest

from durable_otp.engine.compensation_journal import CompensationJournal, Undo
from durable_otp.engine.journal import Attempt, Failure
from durable_otp.errors import AlreadyFinished, ClaimLost
from durable_otp.workflow.suspension import WaitRequest
from tests.support.journal_rows import ERROR, begun, claimed, completion, failure, sleep_for
from tests.support.journals import Memory, Postgres, Side, comparable


def failed_saga(side: Side) -> str:
    """Complete two steps that can be undone and one that cannot, and fail."""
    id_, journal = begun(side, given={"a": 1})
    journal.checkpoint(completion("one", 1, "two", compensation="undo_one"))
    journal.checkpoint(completion("two", 2, "one"))
    journal.checkpoint(completion("one", 3, "three", visit=2, compensation="undo_one"))
    journal.fail(ERROR, "three", failure("three", 4))
    return id_


def undoing(side: Side, id_: str) -> CompensationJournal:
    return claimed(side, id_).compensations


def attempt_of(undo: Undo, number: int = 1) -> Attempt:
    return Attempt(undo.position, undo.path, undo.compensation, "compensation", undo.visit, number)


def failure_of(undo: Undo, number: int = 1) -> Failure:
    return Failure(attempt_of(undo, number), ERROR, [], 0.1)


def places(journal: CompensationJournal) -> list[tuple[str, int, str]]:
    return [(undo.path, undo.visit, undo.compensation) for undo in journal.to_undo()]


def test_what_has_something_to_undo_compensates(side: Side) -> None:
    id_ = failed_saga(side)
    execution = side.execution(id_)
    assert (execution.status, execution.error) == ("compensating", ERROR)
    assert (execution.completed_at, execution.current_step) == (None, "three")
    with pytest.raises(AlreadyFinished):
        side.send_event(id_, "paid")
    journal = claimed(side, id_)
    origin = journal.family.origin()
    assert (origin.is_compensating, origin.sibling) == (True, None)
    assert side.execution(id_).status == "compensating"


def test_the_newest_visit_is_undone_first(side: Side) -> None:
    id_ = failed_saga(side)
    journal = undoing(side, id_)
    first, second = journal.to_undo()
    assert (first.path, first.visit, first.compensation) == ("one", 2, "undo_one")
    assert (second.path, second.visit) == ("one", 1)
    assert (first.execution_id, first.recorded_attempts, first.failed_attempts) == (id_, 0, 0)
    assert second.position == first.position + 1
    assert journal.context_of(id_, {"a": 1}) == side.execution(id_).context


def test_every_handler_that_completes_makes_it_compensated(side: Side) -> None:
    id_ = failed_saga(side)
    journal = undoing(side, id_)
    for undo in journal.to_undo():
        journal.undone(attempt_of(undo), {"undone": undo.visit}, [], 0.1)
    assert journal.to_undo() == []
    assert journal.end()
    execution = side.execution(id_)
    assert (execution.status, execution.error, execution.output) == ("compensated", ERROR, None)
    assert execution.compensation_results == [
        {"step": "one", "compensation": "undo_one", "status": "completed", "error": None},
        {"step": "one", "compensation": "undo_one", "status": "completed", "error": None},
    ]
    assert execution.completed_at is not None


def test_a_handler_that_gives_up_does_not_keep_the_others(side: Side) -> None:
    id_ = failed_saga(side)
    journal = undoing(side, id_)
    first, second = journal.to_undo()
    journal.record_failure(failure_of(first), gave_up=False)
    assert [(undo.recorded_attempts, undo.failed_attempts) for undo in journal.to_undo()] == [
        (1, 1),
        (0, 0),
    ]
    journal.record_failure(failure_of(first, 2), gave_up=True)
    assert places(journal) == [("one", 1, "undo_one")]
    journal.undone(attempt_of(second), None, [], 0.1)
    assert not journal.end()
    execution = side.execution(id_)
    assert execution.status == "compensation_failed"
    assert [result["status"] for result in execution.compensation_results] == [
        "failed",
        "completed",
    ]


def test_a_handler_is_tried_again_later(side: Side) -> None:
    id_ = failed_saga(side)
    journal = undoing(side, id_)
    first, _ = journal.to_undo()
    journal.retry_later(failure_of(first), 60)
    assert side.execution(id_).status == "compensating"
    side.advance(59)
    assert side.claim(id_) is None
    side.advance(1)
    assert [undo.recorded_attempts for undo in undoing(side, id_).to_undo()] == [1, 0]


def test_waits_end_with_a_failure(side: Side) -> None:
    id_, journal = begun(side)
    journal.checkpoint(completion("one", 1, "two", compensation="undo_one"))
    request = WaitRequest(kind="input", names=("manager",), seconds=60, on_timeout="fail")
    journal.suspend("two", 1, [(0, request), (1, sleep_for(90))])
    side.advance(60)
    assert side.execution(id_).status == "compensating"
    assert places(undoing(side, id_)) == [("one", 1, "undo_one")]


WRITES: dict[str, Callable[[CompensationJournal, Undo], Any]] = {
    "undone": lambda journal, undo: journal.undone(attempt_of(undo), None, [], 0.1),
    "record_failure": lambda journal, undo: journal.record_failure(failure_of(undo), gave_up=True),
    "retry_later": lambda journal, undo: journal.retry_later(failure_of(undo), 60),
    "end": lambda journal, _: journal.end(),
}


@pytest.mark.parametrize("write", WRITES)
def test_nobody_else_undoes(side: Side, write: str) -> None:
    id_ = failed_saga(side)
    journal = undoing(side, id_)
    undo = journal.to_undo()[0]
    before = comparable(side.execution(id_))
    with pytest.raises(ClaimLost):
        WRITES[write](side.stranger(id_).compensations, undo)
    assert comparable(side.execution(id_)) == before
    WRITES[write](journal, undo)
    assert comparable(side.execution(id_)) != before


def test_for_nobody_else_there_is_anything_to_undo(side: Side) -> None:
    id_ = failed_saga(side)
    journal = undoing(side, id_)
    assert list(side.stranger(id_).compensations.to_undo()) == []
    assert len(journal.to_undo()) == 2


def test_a_step_is_no_part_of_undoing(side: Side) -> None:
    id_ = failed_saga(side)
    journal = claimed(side, id_)
    with pytest.raises(ClaimLost):
        journal.checkpoint(completion("three", 4))


@pytest.mark.parametrize("undoable", [True, False])
def test_a_deadline_ends_whatever_goes_on(side: Side, undoable: bool) -> None:
    id_, journal = begun(side, timeout=60.5)
    journal.checkpoint(completion("one", 1, "two", compensation="undo" if undoable else None))
    journal.suspend("two", 1, [(0, sleep_for(1000))])
    side.advance(60)
    assert side.execution(id_).status == "waiting"
    side.advance(1)
    execution = side.execution(id_)
    assert execution.status == ("compensating" if undoable else "failed")
    assert execution.error == {
        "type": "workflow_timeout",
        "message": "Workflow 'steps' did not end within its timeout of 60.5 s.",
        "stacktrace": None,
    }


def a_life_and_its_undoing(side: Side) -> list[dict[str, Any]]:
    """Undo in every way, and return what is shown of it."""
    id_ = failed_saga(side)
    shown = [comparable(side.execution(id_))]
    journal = undoing(side, id_)
    first, second = journal.to_undo()
    journal.retry_later(failure_of(first), 5)
    side.advance(5)
    journal = undoing(side, id_)
    first, second = journal.to_undo()
    journal.undone(attempt_of(first, 2), {"n": 1}, [{"message": "said"}], 0.25)
    journal.record_failure(failure_of(second), gave_up=True)
    shown.append(comparable(side.execution(id_)))
    journal.end()
    return [*shown, comparable(side.execution(id_))]


def test_undoing_looks_the_same_on_both_sides(real_side: Postgres) -> None:
    assert a_life_and_its_undoing(Memory()) == a_life_and_its_undoing(real_side)
