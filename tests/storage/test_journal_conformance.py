"""The journal in memory does what the one in PostgreSQL does: one suite, run on both.

Whoever tests a workflow with `durable_otp.testing` trusts that nothing else happens in production.
"""

from collections.abc import Callable
from typing import Any

import pytest

from durable_otp.engine.journal import Entry, Failure, Journal
from durable_otp.errors import ClaimLost
from tests.support.journal_rows import (
    ERROR,
    begun,
    claimed,
    completion,
    failure,
    sleep_for,
)
from tests.support.journals import Memory, Postgres, Side, comparable

# what is new


def test_nothing_is_recorded_of_a_new_execution(side: Side) -> None:
    id_, journal = begun(side, given={"a": 1})
    assert journal.entries() == []
    record = journal.visit("one")
    assert (record.visit, record.recorded_attempts, record.failed_attempts) == (1, 0, 0)
    assert dict(record.answers) == {}
    execution = side.execution(id_)
    assert (execution.status, execution.context, execution.steps) == ("running", {"a": 1}, [])
    assert execution.started_at is not None


def test_an_execution_is_claimed_by_one(side: Side) -> None:
    id_, _ = begun(side)
    assert side.claim(id_) is None


# steps


def test_completed_steps_come_back_as_they_were_written(side: Side) -> None:
    _, journal = begun(side)
    journal.checkpoint(completion("one", 1, "two"))
    journal.checkpoint(completion("two", 2, "one", jumps=1))
    assert journal.entries() == [
        Entry(1, "one", 1, [["set", "one", 1], ["append", "names", "one"]], None, "two", 0),
        Entry(2, "two", 1, [["set", "two", 2], ["append", "names", "two"]], None, "one", 1),
    ]
    assert journal.visit("one").visit == 2
    assert journal.visit("three").visit == 1


def test_entries_begin_with_the_newest_snapshot(side: Side) -> None:
    id_, journal = begun(side)
    journal.checkpoint(completion("one", 1, "two"))
    journal.checkpoint(completion("two", 2, "one", snapshot={"whole": True}))
    journal.checkpoint(completion("one", 3, "two", visit=2))
    assert [(entry.position, entry.snapshot) for entry in journal.entries()] == [
        (2, {"whole": True}),
        (3, None),
    ]
    assert side.execution(id_).context == {"whole": True, "one": 3, "names": ["one"]}


def test_what_a_step_returned_may_go_on_changing(side: Side) -> None:
    _, journal = begun(side)
    items = ["a"]
    journal.checkpoint(completion("one", 1, "two", changes=[["set", "items", items]]))
    items.append("b")
    assert journal.entries()[0].changes == [["set", "items", ["a"]]]


def test_a_visit_completes_once(side: Side) -> None:
    _, journal = begun(side)
    journal.checkpoint(completion("one", 1, "two"))
    with pytest.raises(ClaimLost):
        journal.checkpoint(completion("one", 2, "two"))
    journal.checkpoint(completion("one", 2, "two", visit=2))
    assert len(journal.entries()) == 2


def test_the_last_step_ends_the_execution(side: Side) -> None:
    id_, journal = begun(side, given={"a": 1})
    journal.checkpoint(completion("one", 1, "two"))
    journal.checkpoint(completion("two", 2, None, output=None))
    execution = side.execution(id_)
    assert execution.status == "completed"
    assert execution.output == {"a": 1, "one": 1, "two": 2, "names": ["one", "two"]}
    assert (execution.current_step, execution.locked_by) == (None, None)
    assert execution.completed_at is not None
    assert side.claim(id_) is None


# failures


def test_failed_attempts_are_counted_by_visit(side: Side) -> None:
    _, journal = begun(side)
    journal.record_failure(failure("one", 1, 1))
    journal.record_failure(failure("one", 1, 2))
    record = journal.visit("one")
    assert (record.visit, record.recorded_attempts, record.failed_attempts) == (1, 2, 2)
    journal.checkpoint(completion("one", 1, "one", number=3))
    record = journal.visit("one")
    assert (record.visit, record.recorded_attempts) == (2, 0)


def test_a_retry_waits_for_its_time(side: Side) -> None:
    id_, journal = begun(side)
    journal.retry_later(failure("one", 1), 60)
    execution = side.execution(id_)
    assert (execution.status, execution.current_step) == ("pending", "one")
    side.advance(59)
    assert side.claim(id_) is None
    side.advance(1)
    assert claimed(side, id_).visit("one").recorded_attempts == 1


@pytest.mark.parametrize("last", [failure("one", 1), None], ids=["attempt", "no attempt"])
def test_a_failure_ends_the_execution(side: Side, last: Failure | None) -> None:
    id_, journal = begun(side)
    journal.fail(ERROR, "one" if last else None, last)
    execution = side.execution(id_)
    assert (execution.status, execution.error, execution.output) == ("failed", ERROR, None)
    assert execution.current_step == ("one" if last else None)
    assert execution.completed_at is not None
    assert len(execution.steps or []) == (1 if last else 0)


# moves and waits


def test_a_move_gives_the_claim_to_another_queue(side: Side) -> None:
    id_, journal = begun(side)
    journal.move("slow", "one")
    execution = side.execution(id_)
    assert (execution.status, execution.queue, execution.current_step) == ("pending", "slow", "one")
    claimed(side, id_).move("default", "two")
    assert side.execution(id_).queue == "default"


def test_a_sleep_ends_by_the_clock(side: Side) -> None:
    id_, journal = begun(side)
    journal.suspend("one", 1, [(0, sleep_for(3600))])
    execution = side.execution(id_)
    assert (execution.status, execution.current_step) == ("waiting", "one")
    (step,) = execution.steps or []
    assert (step.path, step.visit, step.attempt, step.status) == ("one", 1, 1, "waiting")
    side.advance(3599)
    assert side.claim(id_) is None
    side.advance(1)
    answer = claimed(side, id_).visit("one").answers[0]
    assert (answer.kind, answer.is_answered, answer.value) == ("sleep", True, None)


def test_a_sleep_asked_for_again_keeps_its_time(side: Side) -> None:
    id_, journal = begun(side)
    journal.suspend("one", 1, [(0, sleep_for(100)), (1, sleep_for(300))])
    side.advance(100)
    again = claimed(side, id_)
    assert [a.is_answered for _, a in sorted(again.visit("one").answers.items())] == [True, False]
    again.suspend("one", 1, [(1, sleep_for(300))])
    side.advance(199)
    assert side.claim(id_) is None
    side.advance(1)
    assert claimed(side, id_).visit("one").answers[1].is_answered


def test_the_waits_of_one_visit_are_not_those_of_another(side: Side) -> None:
    id_, journal = begun(side)
    journal.suspend("one", 1, [(0, sleep_for(10))])
    side.advance(10)
    again = claimed(side, id_)
    again.checkpoint(completion("one", 1, "one"))
    assert dict(again.visit("one").answers) == {}
    again.suspend("one", 2, [(0, sleep_for(10))])
    step = (side.execution(id_).steps or [])[-1]
    assert (step.visit, step.status) == (2, "waiting")


# fencing

WRITES: dict[str, Callable[[Journal], None]] = {
    "checkpoint": lambda journal: journal.checkpoint(completion("one", 1, "two")),
    "complete": lambda journal: journal.checkpoint(completion("one", 1)),
    "record_failure": lambda journal: journal.record_failure(failure("one", 1)),
    "retry_later": lambda journal: journal.retry_later(failure("one", 1), 60),
    "fail": lambda journal: journal.fail(ERROR, "one", failure("one", 1)),
    "move": lambda journal: journal.move("slow", "one"),
    "suspend": lambda journal: journal.suspend("one", 1, [(0, sleep_for(9))]),
}
GIVES_BACK = [name for name in WRITES if name not in ("checkpoint", "record_failure")]


@pytest.mark.parametrize("write", WRITES)
def test_nobody_else_writes(side: Side, write: str) -> None:
    id_, journal = begun(side)
    before = comparable(side.execution(id_))
    with pytest.raises(ClaimLost):
        WRITES[write](side.stranger(id_))
    assert comparable(side.execution(id_)) == before
    WRITES[write](journal)
    assert comparable(side.execution(id_)) != before


def test_nobody_else_reads_where_it_stands(side: Side) -> None:
    id_, journal = begun(side)
    with pytest.raises(ClaimLost):
        side.stranger(id_).entries()
    journal.checkpoint(completion("one", 1, "two"))
    with pytest.raises(ClaimLost):
        side.stranger(id_).entries()
    assert len(journal.entries()) == 1


@pytest.mark.parametrize("write", GIVES_BACK)
def test_whoever_gave_the_claim_back_writes_no_more(side: Side, write: str) -> None:
    id_, journal = begun(side)
    WRITES[write](journal)
    before = comparable(side.execution(id_))
    for again in WRITES.values():
        with pytest.raises(ClaimLost):
            again(journal)
    assert comparable(side.execution(id_)) == before


# the whole


def a_life(side: Side) -> dict[str, Any]:
    """Do everything once, and return what is shown of it."""
    id_, journal = begun(side, given={"a": 1})
    journal.record_failure(failure("one", 1))
    journal.retry_later(failure("one", 1, 2), 5)
    side.advance(5)
    journal = claimed(side, id_)
    journal.suspend("one", 1, [(0, sleep_for(5))])
    side.advance(5)
    journal = claimed(side, id_)
    journal.checkpoint(completion("one", 1, "two", number=3))
    journal.move("slow", "two")
    journal = claimed(side, id_)
    journal.checkpoint(completion("two", 2, "one", jumps=1, output=None))
    journal.move("default", "one")
    journal = claimed(side, id_)
    journal.checkpoint(completion("one", 3, "three", visit=2))
    journal.record_failure(failure("three", 4))
    return comparable(side.execution(id_))


def test_a_life_looks_the_same_on_both_sides(real_side: Postgres) -> None:
    assert a_life(Memory()) == a_life(real_side)
