"""What executions wait for: each event is consumed once, each wait ends in one way."""

import pytest

from durable_otp.errors import AlreadyFinished, ExecutionNotFound, InputRejected, NoPendingInput
from durable_otp.storage import executions, waits
from durable_otp.storage.waits import Sent
from tests.support.tables import heard
from tests.support.waits import (
    asking,
    claim,
    complete,
    event,
    journal_of,
    statuses,
    suspend,
    visit,
    waiting,
)

NOBODY = "00000000-0000-7000-8000-000000000000"


def send(database, id_, name, value=None):
    database.run(waits.send_event, id_, Sent(name, value))


def answers(database, id_):
    record = visit(database, id_)
    return [
        (each.value if each.is_answered else None) for _, each in sorted(record.answers.items())
    ]


@pytest.mark.parametrize("when", ["before", "while it runs", "after"])
def test_an_event_answers_its_wait_whenever_it_is_sent(tables, database, when):
    id_ = tables.add("pending" if when == "before" else "running")
    if when != "after":
        with tables.listen("queue") as queue:
            send(database, id_, "a", {"n": 1})
            # a claim may have skipped the row while the sender had it locked
            assert heard(queue) == (["default"] if when == "before" else [])
        assert tables.status(id_) == ("pending" if when == "before" else "running")
    if when == "before":
        claim(tables, id_)
    with tables.listen("queue") as queue:
        suspend(database, id_, event("a"))
        if when == "after":
            assert tables.status(id_) == "waiting"
            assert heard(queue) == []
            send(database, id_, "a", {"n": 1})
        assert heard(queue) == ["default"]
    assert tables.status(id_) == "pending"
    assert answers(database, id_) == [{"n": 1}]
    (kept,) = database.run(waits.list_events, id_)
    assert (kept.name, kept.payload, kept.consumed_at is None) == ("a", {"n": 1}, False)


def test_each_event_is_consumed_once_in_the_order_of_arrival(tables, database):
    id_ = waiting(database, tables, event("a"))
    for number in range(3):
        send(database, id_, "a", number)
    assert answers(database, id_) == [0]
    claim(tables, id_)
    suspend(database, id_, event("a"), event("a"), first=1)
    assert answers(database, id_) == [0, 1, 2]
    assert all(each.consumed_at for each in database.run(waits.list_events, id_))


def test_an_event_of_another_name_or_execution_wakes_nobody(tables, database):
    id_, other = (waiting(database, tables, event("a")) for _ in range(2))
    send(database, id_, "A")
    send(database, other, "a")
    assert (tables.status(id_), tables.status(other)) == ("waiting", "pending")


@pytest.mark.parametrize("name", ["größe/π: 'x' \"y\" %s {} \\", "日本", "a" * 200])
def test_names_are_any_printable_text(tables, database, name):
    id_ = waiting(database, tables, event(name))
    send(database, id_, name, name)
    assert answers(database, id_) == [name]


def test_any_takes_the_first_and_leaves_the_rest(tables, database):
    id_ = tables.add("running")
    for name in ("c", "b", "a"):
        send(database, id_, name, name.upper())
    suspend(database, id_, event("a", "b", kind="any"))
    assert answers(database, id_) == [["b", "B"]]
    left = [each.name for each in database.run(waits.list_events, id_) if not each.consumed_at]
    assert left == ["c", "a"]


def test_all_takes_one_of_each_when_all_are_there(tables, database):
    id_ = waiting(database, tables, event("a", "b", kind="all"))
    for number, name in enumerate("aab"):
        assert tables.status(id_) == "waiting"
        assert not any(each.consumed_at for each in database.run(waits.list_events, id_))
        send(database, id_, name, number)
    assert tables.status(id_) == "pending"
    assert answers(database, id_) == [{"a": 0, "b": 2}]
    assert sum(not each.consumed_at for each in database.run(waits.list_events, id_)) == 1


def test_an_execution_that_waits_for_more_wakes_at_the_first_and_keeps_the_rest(tables, database):
    asked = (event("a", seconds=60), asking("q", seconds=90), event("b"))
    id_ = waiting(database, tables, *asked)
    before = tables.sql("SELECT id, due_at, created_at FROM durable.waits ORDER BY ordinal")
    (question,) = database.run(waits.list_pending_inputs, id_, 9)
    send(database, id_, "b")
    claim(tables, id_)
    suspend(database, id_, *asked[:2])
    assert tables.status(id_) == "waiting"
    assert statuses(tables) == ["open", "open", "answered"]
    after = tables.sql("SELECT id, due_at, created_at FROM durable.waits ORDER BY ordinal")
    assert after == before
    assert database.run(waits.list_pending_inputs, id_, 9) == [question]


def test_what_a_run_does_not_ask_for_any_more_is_closed(tables, database):
    id_ = waiting(database, tables, event("a"), asking("q"), event("b"))
    send(database, id_, "a")
    claim(tables, id_)
    suspend(database, id_, event("c"), first=3)
    assert statuses(tables) == ["answered", "cancelled", "cancelled", "open"]
    assert statuses(tables, "pending_inputs") == ["cancelled"]
    send(database, id_, "b")
    assert tables.status(id_) == "waiting"
    send(database, id_, "c")
    claim(tables, id_)
    suspend(database, id_, asking("q"), first=1)  # asked for again: opened again
    assert statuses(tables) == ["answered", "open", "cancelled", "answered"]
    assert statuses(tables, "pending_inputs") == ["cancelled", "open"]


@pytest.mark.parametrize("next_path", [None, "step2"])
def test_a_completed_step_leaves_no_wait_open(tables, database, next_path):
    id_ = waiting(database, tables, event("a"), asking("q"))
    send(database, id_, "a")
    claim(tables, id_)
    complete(database, id_, next_path=next_path)
    assert statuses(tables) == ["answered", "cancelled"]
    assert statuses(tables, "pending_inputs") == ["cancelled"]
    assert database.run(waits.list_pending_inputs, None, 9) == []


@pytest.mark.parametrize("how", ["fail", "cancel", "crash"])
def test_an_execution_that_fails_or_is_cancelled_waits_for_nothing(tables, database, how):
    id_ = waiting(database, tables, event("a"), asking("q"))
    if how == "cancel":
        database.run(executions.cancel, id_, None)
    else:
        send(database, id_, "a")
        claim(tables, id_)
    if how == "fail":
        journal_of(database, id_).fail({"type": "E", "message": "m"}, "step1", None)
    elif how == "crash":  # whoever ends it: what a settled crash does to the row
        tables.sql(
            "UPDATE durable.workflow_executions SET status = 'failed', completed_at = now(), "
            "lock_token = NULL, locked_by = NULL, locked_at = NULL WHERE id = %s",
            [id_],
        )
    assert "open" not in statuses(tables) + statuses(tables, "pending_inputs")
    with pytest.raises(NoPendingInput):
        database.run(waits.provide_input, id_, Sent("q", True))


def test_a_sleep_is_answered_by_the_clock_and_open_no_longer_than_its_step(tables, database):
    id_ = waiting(database, tables, event(kind="sleep", seconds=0), event("a"))
    assert tables.row(id_)["scheduled_at"] is not None
    send(database, id_, "a")
    claim(tables, id_)
    assert visit(database, id_).answers[0].is_answered
    suspend(database, id_, event("b"), first=2)
    assert statuses(tables) == ["answered", "answered", "open"]
    assert tables.row(id_)["scheduled_at"] is None
    send(database, id_, "b")
    claim(tables, id_)
    complete(database, id_)
    assert statuses(tables) == ["answered"] * 3


@pytest.mark.parametrize(
    "status", ["completed", "failed", "cancelled", "compensated", "compensating"]
)
def test_an_execution_that_has_ended_takes_no_events(tables, database, status):
    id_ = tables.add(status)
    with pytest.raises(AlreadyFinished, match=status):
        send(database, id_, "a")
    assert database.run(waits.list_events, id_) == []


@pytest.mark.parametrize("id_", [NOBODY, "no id", "%", ""])
def test_nobody_is_not_found(database, id_):
    for operation in (waits.send_event, waits.provide_input):
        with pytest.raises(ExecutionNotFound):
            database.run(operation, id_, Sent("a", 1))
    with pytest.raises(ExecutionNotFound):
        database.run(waits.list_events, id_)
    assert database.run(waits.list_pending_inputs, id_, 9) == []
    assert database.run(waits.list_pending_events, id_, 9) == []


def test_a_repeated_send_or_answer_is_the_same_one(tables, database):
    """What a client does whose connection was lost before it had the answer."""
    id_ = waiting(database, tables, event("a"), asking("q"))
    event_, answer = Sent("a", 1), Sent("q", True)
    for _ in range(2):
        database.run(waits.send_event, id_, event_)
        database.run(waits.provide_input, id_, answer)
    assert len(database.run(waits.list_events, id_)) == 1
    assert answers(database, id_) == [1, "approved"]
    tables.sql("UPDATE durable.workflow_executions SET status = 'completed', completed_at = now()")
    database.run(waits.send_event, id_, event_)
    database.run(waits.provide_input, id_, answer)
    with pytest.raises(AlreadyFinished):
        send(database, id_, "a", 1)


def test_an_answer_that_does_not_fit_leaves_the_input_open(tables, database):
    id_ = waiting(database, tables, asking("q", "choice", choices=["x", "y"], prompt="Which?"))
    with pytest.raises(InputRejected, match='"x", "y"'):
        database.run(waits.provide_input, id_, Sent("q", "z"))
    with pytest.raises(NoPendingInput, match="'other'; open are: 'q'"):
        database.run(waits.provide_input, id_, Sent("other", "x"))
    (asked,) = database.run(waits.list_pending_inputs, None, 9)
    assert (asked.execution_id, asked.step, asked.name, asked.type) == (id_, "step1", "q", "choice")
    assert (asked.choices, asked.prompt, asked.fields) == (["x", "y"], "Which?", None)
    assert tables.status(id_) == "waiting"
    database.run(waits.provide_input, id_, Sent("q", "y"))
    assert (tables.status(id_), answers(database, id_)) == ("pending", ["y"])
    with pytest.raises(NoPendingInput):
        database.run(waits.provide_input, id_, Sent("q", "x"))


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_second_input_is_answered_while_the_first_one_s_answer_is_being_read(
    tables, database, status
):
    id_ = waiting(database, tables, asking("q"), asking("r"))
    database.run(waits.provide_input, id_, Sent("q", True))
    if status == "running":
        claim(tables, id_)
    with tables.listen("queue") as queue:
        database.run(waits.provide_input, id_, Sent("r", False))
        assert heard(queue) == (["default"] if status == "pending" else [])
    assert tables.status(id_) == status
    if status == "running":  # its run began before the answer, and asks for it
        suspend(database, id_, asking("r"), first=1)
        assert tables.status(id_) == "pending"
    assert answers(database, id_) == ["approved", "rejected"]


def test_lists_show_the_first_to_time_out_first_and_no_more_than_asked_for(tables, database):
    late, never, soon = (
        waiting(database, tables, asking("q", seconds=s), event("e", "f", kind=kind, seconds=s))
        for s, kind in ((60, "any"), (None, "all"), (5, "any"))
    )
    listed = database.run(waits.list_pending_inputs, None, 9)
    assert [each.execution_id for each in listed] == [soon, late, never]
    listed = database.run(waits.list_pending_events, None, 2)
    assert [each.execution_id for each in listed] == [soon, late]
    (one,) = database.run(waits.list_pending_events, never, 9)
    assert (one.names, one.kind, one.timeout_at, one.step) == (["e", "f"], "all", None, "step1")
    for limit in (0, -1, True, "9"):
        with pytest.raises(ValueError, match="limit"):
            database.run(waits.list_pending_inputs, None, limit)
