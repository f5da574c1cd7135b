"""Called and started workflows in PostgreSQL: which child a call means, and what it hears."""

from typing import Any

import pytest

from durable_otp.engine.journal import Attempt, Failure
from durable_otp.errors import ClaimLost
from durable_otp.storage.database import Database
from durable_otp.storage.families import children_ended, give_up_call, left_parents, overdue_calls
from durable_otp.storage.journal import Holder, PostgresJournal
from durable_otp.storage.reports import get_execution
from durable_otp.workflow.child_call import ChildCall, ChildEnd, ChildOptions
from durable_otp.workflow.wait import WaitRequest
from tests.support.families import (
    FINAL_STATUSES,
    TOKEN,
    children_of,
    claim,
    end,
    family_of,
    set_end,
)
from tests.support.tables import Tables, heard

STRANGER = "00000000-0000-4000-8000-0000000000ff"


def called(**options: Any) -> ChildCall:
    return ChildCall("child", "7", "kids", 3, 60.0, '{"n": 1}', ChildOptions(**options))


def call(
    database: Database, parent: str, ordinal: int = 0, path: str = "step1", **options: Any
) -> None:
    names = (options["ref"],) if "ref" in options else ()
    request = WaitRequest("child", names, child=called(**options))
    journal_of(database, parent).suspend(path, 1, [(ordinal, request)])


def journal_of(database: Database, parent: str, token: str = TOKEN) -> PostgresJournal:
    return PostgresJournal(database, Holder(parent, token))


def answer(database: Database, parent: str, ordinal: int = 0, path: str = "step1") -> Any:
    return journal_of(database, parent).visit(path).answers.get(ordinal)


def fail_attempt(database: Database, parent: str, number: int = 1) -> None:
    attempt = Attempt(1, "step1", "step1", "step", 1, number)
    journal_of(database, parent).record_failure(Failure(attempt, {"type": "E"}, [], 0.1))


def only_child(tables: Tables, parent: str) -> dict[str, Any]:
    (child,) = children_of(tables, parent)
    return child


def test_a_call_creates_its_child_together_with_the_wait(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    with tables.listen("queue") as listening:
        call(database, parent)
        assert heard(listening) == ["kids"]
    child = only_child(tables, parent)
    assert (child["workflow"], child["version"], child["status"]) == ("child", "7", "pending")
    assert (child["queue"], child["priority"], child["input"]) == ("kids", 3, {"n": 1})
    assert (child["parent_path"], child["parent_visit"], child["parent_index"]) == (
        "step1", 1, None,
    )  # fmt: skip
    assert child["deadline_at"] is not None
    assert tables.status(parent) == "waiting"
    (wait,) = tables.sql("SELECT child_id::text, attempt, status FROM durable.waits")
    assert wait == {"child_id": child["id"], "attempt": 1, "status": "open"}
    assert answer(database, parent).is_answered is False


def test_a_call_under_another_token_creates_nothing(database: Database, tables: Tables) -> None:
    parent = tables.add("running")
    with pytest.raises(ClaimLost):
        journal_of(database, parent, STRANGER).suspend(
            "step1", 1, [(0, WaitRequest("child", child=called()))]
        )
    assert children_of(tables, parent) == []
    assert tables.sql("SELECT * FROM durable.waits") == []


@pytest.mark.parametrize("status", FINAL_STATUSES)
def test_the_end_of_a_called_child_wakes_its_caller(
    database: Database, tables: Tables, status: str
) -> None:
    parent = tables.add("running")
    call(database, parent)
    end(database, tables, only_child(tables, parent)["id"], status)
    assert tables.status(parent) == "pending"


def test_an_end_that_nobody_told_of_is_found(database: Database, tables: Tables) -> None:
    parent = tables.add("running")
    call(database, parent)
    assert database.run(left_parents, 10) == []
    set_end(tables, only_child(tables, parent)["id"], "failed")
    assert database.run(left_parents, 10) == [parent]
    database.run(children_ended, [parent])
    assert tables.status(parent) == "pending"


def test_a_completed_child_answers_with_its_final_context_in_every_attempt(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    call(database, parent)
    child = only_child(tables, parent)["id"]
    tables.add_step(child, 1, changes=[["set", "x", 2]])
    end(database, tables, child)
    claim(tables, parent)
    for _ in range(2):
        value = answer(database, parent).value
        assert value == ChildEnd(child, "child", "completed", {"n": 1, "x": 2})
        fail_attempt(database, parent)


def test_a_failed_child_belongs_to_the_attempt_that_saw_it(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    call(database, parent)
    first = only_child(tables, parent)["id"]
    end(database, tables, first, "failed")
    claim(tables, parent)
    seen = answer(database, parent)
    assert seen.is_answered
    assert (seen.value.status, seen.value.error) == ("failed", {"type": "E"})
    assert answer(database, parent) == seen
    fail_attempt(database, parent)
    assert answer(database, parent) is None
    call(database, parent)
    second = children_of(tables, parent)[1]["id"]
    assert answer(database, parent).is_answered is False
    end(database, tables, second)
    claim(tables, parent)
    assert answer(database, parent).value.execution_id == second
    assert len(children_of(tables, parent)) == 2


def test_a_live_child_is_waited_for_by_the_next_attempt(database: Database, tables: Tables) -> None:
    parent = tables.add("running")
    call(database, parent)
    claim(tables, parent)
    fail_attempt(database, parent)
    assert answer(database, parent).is_answered is False
    call(database, parent)
    assert len(children_of(tables, parent)) == 1


def test_a_ref_means_the_same_child_wherever_it_is_called(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    call(database, parent, ref="r")
    child = only_child(tables, parent)["id"]
    claim(tables, parent)
    call(database, parent, path="step2", ref="r")
    assert only_child(tables, parent)["id"] == child
    assert tables.status(parent) == "waiting"
    end(database, tables, child)
    claim(tables, parent)
    call(database, parent, path="step3", ref="r")
    assert tables.status(parent) == "pending"  # nobody will end it again
    claim(tables, parent)
    assert answer(database, parent, path="step3").value.execution_id == child
    call(database, parent, path="step3", ordinal=1, ref="other")
    assert len(children_of(tables, parent)) == 2


def test_a_failed_child_with_a_ref_is_called_afresh_by_the_next_attempt(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    call(database, parent, ref="r")
    end(database, tables, only_child(tables, parent)["id"], "failed")
    claim(tables, parent)
    fail_attempt(database, parent)
    call(database, parent, ref="r")
    assert [child["status"] for child in children_of(tables, parent)] == ["failed", "pending"]
    claim(tables, parent)
    call(database, parent, path="step2", ref="r")
    assert len(children_of(tables, parent)) == 2


# the time of a call


def overdue(tables: Tables) -> None:
    tables.sql("UPDATE durable.waits SET due_at = durable.now() - interval '1 s'")


def give_up(database: Database) -> list[bool]:
    calls = database.run(overdue_calls, 10)
    return [database.run(give_up_call, each["id"], each["parent"], each["child"]) for each in calls]


def test_a_call_past_its_time_is_over_and_its_child_is_cancelled_with_its_own(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    call(database, parent, patience=60.0, has_timeout_value=True, timeout_value={"late": True})
    child = only_child(tables, parent)["id"]
    grandchild = tables.add("waiting", parent_id=child)
    assert give_up(database) == []
    overdue(tables)
    assert give_up(database) == [True]
    assert (tables.status(parent), tables.status(child), tables.status(grandchild)) == (
        "pending", "cancelled", "cancelled",
    )  # fmt: skip
    claim(tables, parent)
    value = answer(database, parent).value
    assert (value.status, value.has_timeout_value, value.timeout_value) == (
        "timed_out", True, {"late": True},
    )  # fmt: skip
    fail_attempt(database, parent)
    assert answer(database, parent) is None


def test_a_child_that_ended_in_time_wins_over_its_timeout(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    call(database, parent, patience=60.0)
    child = only_child(tables, parent)["id"]
    overdue(tables)
    calls = database.run(overdue_calls, 10)
    set_end(tables, child)
    assert (
        database.run(give_up_call, *(calls[0][key] for key in ("id", "parent", "child"))) is False
    )
    database.run(children_ended, [parent])
    claim(tables, parent)
    assert answer(database, parent).value.status == "completed"


def test_a_call_without_a_timeout_is_never_overdue(database: Database, tables: Tables) -> None:
    parent = tables.add("running")
    call(database, parent)
    assert tables.sql("SELECT due_at FROM durable.waits") == [{"due_at": None}]
    assert database.run(overdue_calls, 10) == []


# fire and forget


def test_an_execution_is_started_once_under_a_key_and_is_nobody_s_child(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    family = family_of(database, parent)
    ids = [family.start(called(), "start at 1.1 step1") for _ in range(2)]
    other = family.start(called(), "start as x")
    assert ids[0] == ids[1] != other
    row = tables.row(ids[0])
    assert (row["workflow"], row["version"], row["queue"], row["priority"]) == (
        "child", "7", "kids", 3,
    )  # fmt: skip
    assert (row["parent_id"], row["input"]) == (None, {"n": 1})
    assert children_of(tables, parent) == []


def test_a_stranger_starts_nothing(database: Database, tables: Tables) -> None:
    parent = tables.add("running")
    with pytest.raises(ClaimLost):
        family_of(database, parent, STRANGER).start(called(), "start as x")
    assert tables.sql("SELECT id FROM durable.workflow_executions WHERE workflow = 'child'") == []
    assert tables.sql("SELECT * FROM durable.once_results") == []


def test_the_rows_of_a_step_name_the_child_that_each_attempt_called(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    call(database, parent)
    first = only_child(tables, parent)["id"]
    waiting = database.run(get_execution, parent, steps=True).steps
    assert waiting is not None
    assert [(s.status, s.child_id) for s in waiting] == [("waiting", first)]
    end(database, tables, first, "failed")
    claim(tables, parent)
    fail_attempt(database, parent)
    call(database, parent)
    second = children_of(tables, parent)[1]["id"]
    steps = database.run(get_execution, parent, steps=True).steps
    assert steps is not None
    assert [(s.status, s.child_id) for s in steps] == [("failed", first), ("waiting", second)]
