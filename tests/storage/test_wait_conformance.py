"""Waits in memory are answered, timed out and asked for again as those in PostgreSQL are."""

from typing import Any

import pytest

from durable_otp.engine.journal import Answer, Journal
from durable_otp.errors import AlreadyFinished, ClaimLost, InputRejected, NoPendingInput
from durable_otp.workflow.human_input import question
from durable_otp.workflow.suspension import NO_VALUE, WaitRequest
from tests.support.journal_rows import (
    ERROR,
    begun,
    claimed,
    completion,
    failure,
    sleep_for,
)
from tests.support.journals import Memory, Postgres, Side, comparable


def event(*names: str, kind: str = "event", **options: Any) -> WaitRequest:
    return WaitRequest(kind=kind, names=names, **options)


def ask(name: str, *, choices: list[str] | None = None, **options: Any) -> WaitRequest:
    asked = question("approval" if choices is None else "choice", choices=choices)
    return WaitRequest(kind="input", names=(name,), question=asked, **options)


def waiting(side: Side, *requests: WaitRequest) -> str:
    """Start an execution whose first step waits for these."""
    id_, journal = begun(side)
    journal.suspend("one", 1, list(enumerate(requests)), attempt=1)
    return id_


def answers(journal: Journal, path: str = "one") -> list[Answer]:
    return [answer for _, answer in sorted(journal.visit(path).answers.items())]


# events


def test_an_event_wakes_who_waits_for_it(side: Side) -> None:
    id_ = waiting(side, event("paid"))
    side.send_event(id_, "other")
    assert side.claim(id_) is None
    side.send_event(id_, "paid", {"sum": 3})
    assert answers(claimed(side, id_)) == [Answer("event", True, {"sum": 3}, ("paid",))]


@pytest.mark.parametrize("sent_at", ["pending", "running"])
def test_an_event_may_come_first(side: Side, sent_at: str) -> None:
    id_, journal = begun(side)
    if sent_at == "pending":
        journal.move("slow", "one")
        side.send_event(id_, "paid", 1)
        journal = claimed(side, id_)
    else:
        side.send_event(id_, "paid", 1)
    side.send_event(id_, "paid", 2)
    journal.suspend("one", 1, [(0, event("paid"))])
    assert answers(claimed(side, id_)) == [Answer("event", True, 1, ("paid",))]


def test_an_event_answers_one_wait(side: Side) -> None:
    id_ = waiting(side, event("a"), event("a"), event("a", "b", kind="any"))
    side.send_event(id_, "a", 1)
    journal = claimed(side, id_)
    assert [answer.is_answered for answer in answers(journal)] == [True, False, False]
    journal.suspend("one", 1, [(1, event("a")), (2, event("a", "b", kind="any"))])
    assert side.claim(id_) is None
    side.send_event(id_, "b", 2)
    journal = claimed(side, id_)
    assert [answer.value for answer in answers(journal)] == [1, None, ["b", 2]]


def test_all_are_taken_together(side: Side) -> None:
    id_ = waiting(side, event("a", "b", kind="all"))
    side.send_event(id_, "a", 1)
    side.send_event(id_, "a", 2)
    assert side.claim(id_) is None
    side.send_event(id_, "b", 3)
    journal = claimed(side, id_)
    assert answers(journal) == [Answer("all", True, {"a": 1, "b": 3}, ("a", "b"))]
    journal.suspend("one", 1, [(1, event("a"))])
    assert answers(claimed(side, id_))[1].value == 2


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_what_has_ended_takes_no_events(side: Side, end: str) -> None:
    id_, journal = begun(side)
    if end == "completed":
        journal.checkpoint(completion("one", 1))
    else:
        journal.fail(ERROR, "one", None)
    with pytest.raises(AlreadyFinished):
        side.send_event(id_, "paid")


# answers of people


def test_an_answer_wakes_who_asked(side: Side) -> None:
    id_ = waiting(side, ask("manager"), ask("color", choices=["red", "blue"]))
    with pytest.raises(InputRejected):
        side.provide_input(id_, "color", "green")
    with pytest.raises(NoPendingInput, match=r"'shape'; open are: 'color', 'manager'"):
        side.provide_input(id_, "shape", "round")
    assert side.claim(id_) is None
    side.provide_input(id_, "color", "red")
    journal = claimed(side, id_)
    assert [answer.value for answer in answers(journal)] == [None, "red"]
    side.provide_input(id_, "manager", True)  # while its step runs
    journal.suspend("one", 1, [(0, ask("manager"))])
    assert answers(claimed(side, id_))[0].value == "approved"
    with pytest.raises(NoPendingInput):
        side.provide_input(id_, "manager", False)


def test_a_question_asked_again_stays_as_it_was(side: Side) -> None:
    id_ = waiting(side, ask("color", choices=["red"]), sleep_for(5))
    side.advance(5)
    again = ask("color", choices=["blue"])
    claimed(side, id_).suspend("one", 1, [(0, again)])
    with pytest.raises(InputRejected):
        side.provide_input(id_, "color", "blue")
    side.provide_input(id_, "color", "red")
    assert claimed(side, id_)


# time


@pytest.mark.parametrize("value", ["late", None, NO_VALUE])
def test_a_timeout_brings_its_value_to_the_attempt_that_saw_it(side: Side, value: Any) -> None:
    id_ = waiting(side, event("paid", seconds=60, timeout_value=value))
    side.advance(59)
    assert side.claim(id_) is None
    side.advance(1)
    journal = claimed(side, id_)
    found = None if value is NO_VALUE else value
    assert answers(journal) == [
        Answer("event", value is not NO_VALUE, found, ("paid",), timed_out=True)
    ]
    journal.record_failure(failure("one", 1))
    assert answers(journal) == [Answer("event", False, None, ("paid",))]
    journal.suspend("one", 1, [(0, event("paid", seconds=60, timeout_value=value))], attempt=2)
    side.advance(59)
    assert side.claim(id_) is None
    side.send_event(id_, "paid", "at last")
    assert answers(claimed(side, id_))[0].value == "at last"


def test_an_event_after_the_timeout_stays_in_the_mailbox(side: Side) -> None:
    id_ = waiting(side, event("paid", seconds=60))
    side.advance(60)
    journal = claimed(side, id_)
    side.send_event(id_, "paid", 1)
    journal.suspend("one", 1, [(1, event("paid"))])
    assert answers(claimed(side, id_))[1].value == 1


def test_an_input_may_fail_its_execution(side: Side) -> None:
    id_ = waiting(side, ask("manager", seconds=60, on_timeout="fail"), event("paid"))
    side.advance(60)
    execution = side.execution(id_)
    assert execution.status == "failed"
    assert execution.error == {
        "type": "wait_timeout",
        "message": 'Nobody has given the input "manager" in time.',
    }
    assert execution.current_step == "one"
    (step,) = execution.steps or []
    assert (step.path, step.attempt, step.status, step.error) == (
        "one",
        1,
        "failed",
        execution.error,
    )
    assert (step.duration_ms, step.logs) == (None, [])
    assert step.completed_at is not None
    assert step.started_at is not None
    assert (step.completed_at - step.started_at).total_seconds() >= 60
    with pytest.raises(NoPendingInput):
        side.provide_input(id_, "manager", True)


def test_waits_that_are_asked_for_again_keep_their_time(side: Side) -> None:
    id_ = waiting(side, event("a"), event("b", seconds=60))
    side.advance(30)
    side.send_event(id_, "a")
    claimed(side, id_).suspend("one", 1, [(1, event("b", seconds=60))])
    side.advance(29)
    assert side.claim(id_) is None
    side.advance(1)
    assert answers(claimed(side, id_))[1].timed_out


def test_a_sleep_that_a_run_left_out_goes_on(side: Side) -> None:
    id_ = waiting(side, sleep_for(10), sleep_for(60))
    side.advance(10)
    claimed(side, id_).suspend("one", 1, [(2, sleep_for(10))])
    side.advance(10)
    claimed(side, id_).suspend("one", 1, [(1, sleep_for(60))])
    side.advance(39)
    assert side.claim(id_) is None
    side.advance(1)
    assert claimed(side, id_)


def test_what_is_not_asked_for_any_more_is_closed(side: Side) -> None:
    id_ = waiting(side, event("a"), event("b", seconds=60), sleep_for(30))
    side.advance(30)
    journal = claimed(side, id_)
    assert [answer.is_answered for answer in answers(journal)] == [False, False, True]
    journal.suspend("one", 1, [(0, event("a"))])
    side.advance(60)
    assert side.claim(id_) is None
    side.send_event(id_, "b")
    assert side.claim(id_) is None


def test_a_completed_step_waits_for_nothing(side: Side) -> None:
    id_ = waiting(side, event("a"), ask("manager"), sleep_for(30))
    side.advance(30)
    journal = claimed(side, id_)
    journal.visit("one")
    journal.checkpoint(completion("one", 1, "two"))
    with pytest.raises(NoPendingInput):
        side.provide_input(id_, "manager", True)
    journal.suspend("two", 1, [(0, sleep_for(5))])
    side.send_event(id_, "a")
    assert side.claim(id_) is None
    assert [(s.path, s.status) for s in side.execution(id_).steps or []] == [
        ("one", "completed"),
        ("two", "waiting"),
    ]


# once


def test_a_result_is_kept_once_for_a_visit(side: Side) -> None:
    id_, journal = begun(side)
    once = journal.once_results
    assert once.kept("one", 1) == {}
    assert once.keep("one", 1, "key", {"n": [1]}) == {"n": [1]}
    assert once.keep("one", 1, "key", "other") == {"n": [1]}
    assert once.keep("one", 1, "none", None) is None
    assert once.keep("one", 2, "key", 2) == 2
    journal.record_failure(failure("one", 1))
    journal.move("slow", "one")
    assert claimed(side, id_).once_results.kept("one", 1) == {"key": {"n": [1]}, "none": None}
    with pytest.raises(ClaimLost):
        side.stranger(id_).once_results.keep("one", 1, "late", 1)


# the whole


def a_life_of_waiting(side: Side) -> dict[str, Any]:
    """Wait in every way, and return what is shown of it."""
    id_ = waiting(side, event("a"), ask("manager", seconds=9), sleep_for(5))
    shown = [comparable(side.execution(id_))]
    side.send_event(id_, "a", 1)
    shown.append(comparable(side.execution(id_)))
    journal = claimed(side, id_)
    journal.suspend("one", 1, [(1, ask("manager", seconds=9))])
    shown.append(comparable(side.execution(id_)))
    side.advance(9)
    journal = claimed(side, id_)
    journal.retry_later(failure("one", 1), 3)
    side.advance(3)
    journal = claimed(side, id_)
    journal.suspend("one", 1, [(1, ask("manager", seconds=9))], attempt=2)
    shown.append(comparable(side.execution(id_)))
    side.provide_input(id_, "manager", False)
    journal = claimed(side, id_)
    journal.visit("one")
    journal.checkpoint(completion("one", 1, "two", number=2))
    journal.suspend("two", 1, [(0, sleep_for(5)), (1, event("never"))])
    return {"shown": [*shown, comparable(side.execution(id_))]}


def test_waiting_looks_the_same_on_both_sides(real_side: Postgres) -> None:
    assert a_life_of_waiting(Memory()) == a_life_of_waiting(real_side)
