"""An operator's retry, row by row: what is kept, what is forgotten, and who goes along."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest

from durable_otp.errors import AlreadyFinished, ExecutionNotFound, NotRetryable, ParentFinished
from durable_otp.storage import executions, journal, retrying
from durable_otp.storage.operation import Wish
from durable_otp.storage.pool import PooledDatabase
from tests.support.tables import heard

ERROR = {"type": "ValueError", "message": "no"}


@pytest.fixture
def retry(database):
    return lambda id_: database.run(retrying.retry, id_)


@pytest.fixture
def block(tables):
    """Open a block of an execution with one child of each status given."""

    def block(parent, *statuses, visit=1, **columns):
        tables.sql(
            "INSERT INTO durable.fan_outs (execution_id, path, visit, on_error, total, context, "
            "opened_at) VALUES (%s, 'block', %s, 'fail_fast', %s, '{}', durable.now())",
            [parent, visit, len(statuses)],
        )
        place = {"parent_id": parent, "parent_path": "block", "parent_visit": visit}
        return [
            tables.add(status, parent_index=number, start_path="block/a", **place, **columns)
            for number, status in enumerate(statuses)
        ]

    return block


def test_a_failed_execution_is_due_again_and_knows_no_failure_any_more(tables, retry):
    id_ = tables.add(
        "failed", error=ERROR, result={"x": 1}, crashes=3, crash_streak=3, crash_position=4,
        interruptions=2, interruption_position=1, queue="q", current_step="b",
    )  # fmt: skip
    before = tables.row(id_)
    with tables.listen("queue") as listener:
        retry(id_)
        assert heard(listener) == ["q"]
    row = tables.row(id_)
    assert (row["status"], row["error"], row["result"]) == ("pending", None, None)
    assert (row["completed_at"], row["current_step"], row["crashes"]) == (None, "b", 3)
    assert (row["crash_streak"], row["crash_position"]) == (0, -1)
    assert (row["interruptions"], row["interruption_position"]) == (0, -1)
    assert row["retried_at"] == row["scheduled_at"] > before["completed_at"]


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_a_deadline_is_as_long_as_it_was_however_often(tables, retry, status):
    id_ = tables.add(status)
    tables.sql(
        "UPDATE durable.workflow_executions SET inserted_at = inserted_at - interval '1 day', "
        "deadline_at = inserted_at - interval '1 day' + interval '2 hours'"
    )
    for _ in range(2):
        retry(id_)
        row = tables.row(id_)
        assert row["deadline_at"] - row["retried_at"] == timedelta(hours=2)
        tables.sql(
            "UPDATE durable.workflow_executions SET status = 'failed', completed_at = durable.now()"
        )


def test_the_children_of_a_block_have_the_deadline_of_their_parent(tables, retry, block):
    id_ = tables.add("failed")
    children = block(id_, "failed", "cancelled")
    tables.sql(
        "UPDATE durable.workflow_executions SET deadline_at = durable.now() + interval '1 hour', "
        "inserted_at = inserted_at - CASE WHEN parent_id IS NULL THEN 1 ELSE 0 END "
        "* interval '1 hour'"
    )
    retry(id_)
    deadlines = {tables.row(each)["deadline_at"] for each in (id_, *children)}
    assert len(deadlines) == 1
    assert deadlines.pop() - tables.row(id_)["retried_at"] > timedelta(minutes=119)


@pytest.mark.parametrize("status", ["pending", "running", "waiting", "completed", "compensating"])
def test_what_has_not_failed_is_refused_and_left_alone(tables, retry, status):
    id_ = tables.add(status)
    before = tables.row(id_)
    with pytest.raises(NotRetryable, match=f"is {status}; only a failed"):
        retry(id_)
    assert tables.row(id_) == before


def test_what_was_undone_is_refused_and_said_so(tables, retry):
    with pytest.raises(NotRetryable, match="is compensated"):
        retry(tables.add("compensated"))


@pytest.mark.parametrize("id_", ["", "no", "00000000-0000-4000-8000-0000000000ff", None, 7])
def test_an_unknown_id_is_not_found(tables, retry, id_):
    with pytest.raises(ExecutionNotFound):
        retry(id_)


def test_attempts_before_the_retry_are_counted_and_use_up_nothing(tables, retry, database):
    id_ = tables.add("failed")
    for attempt in (1, 2):
        tables.add_step(id_, 1, path="a", status="failed", attempt=attempt, error=ERROR)
    record, _ = database.run(journal.visit_record, id_, "a")
    assert (record.recorded_attempts, record.failed_attempts) == (2, 2)
    retry(id_)
    record, _ = database.run(journal.visit_record, id_, "a")
    assert (record.recorded_attempts, record.failed_attempts) == (2, 0)
    tables.add_step(id_, 1, path="a", status="failed", attempt=3, error=ERROR)
    record, _ = database.run(journal.visit_record, id_, "a")
    assert (record.recorded_attempts, record.failed_attempts) == (3, 1)


def test_an_end_that_is_later_than_the_retry_s_transaction_uses_up_nothing(tables, retry, database):
    id_ = tables.add("failed")
    tables.add_step(id_, 1, path="a", status="failed", error=ERROR)
    later = "durable.now() + interval '1 hour'"
    tables.sql(f"UPDATE durable.workflow_executions SET completed_at = {later}")
    tables.sql(
        "UPDATE durable.step_executions SET completed_at = "
        "(SELECT completed_at FROM durable.workflow_executions)"
    )
    retry(id_)
    assert database.run(journal.visit_record, id_, "a")[0].failed_attempts == 0


def test_waits_in_vain_are_asked_afresh_and_answers_are_kept(tables, retry):
    id_ = tables.add("cancelled")
    tables.add_step(id_, 1, path="done")
    for number, status in enumerate(("answered", "timed_out", "cancelled", "open"), 1):
        tables.add_wait(id_, path="here", ordinal=number, status=status)
        tables.add_wait(id_, path="done", ordinal=number, status=status)
    tables.add_wait(id_, path="here", ordinal=5, kind="sleep", status="cancelled")
    tables.add_wait(id_, path="here", ordinal=6, kind="sleep", status="cancelled")
    tables.sql(
        "UPDATE durable.waits SET due_at = durable.now() "
        "+ CASE ordinal WHEN 5 THEN -1 ELSE 1 END * interval '1 hour' WHERE kind = 'sleep'"
    )
    retry(id_)
    kept = tables.sql("SELECT path, ordinal FROM durable.waits ORDER BY path, ordinal")
    assert [(row["path"], row["ordinal"]) for row in kept] == [
        ("done", 1), ("done", 2), ("done", 3), ("done", 4), ("here", 1), ("here", 5),
    ]  # fmt: skip


def test_a_called_workflow_that_completed_or_runs_is_not_called_again(tables, retry):
    id_ = tables.add("cancelled")
    statuses = ("completed", "running", "waiting", "failed", "cancelled", "compensated")
    for number, status in enumerate(statuses):
        child = tables.add(status, parent_id=id_)
        wait = {"ordinal": number, "kind": "child", "child_id": child}
        tables.add_wait(id_, **wait, status="cancelled")
    timed_out = tables.add("running", parent_id=id_)
    tables.add_wait(id_, ordinal=9, kind="child", child_id=timed_out, status="timed_out")
    tables.add_wait(id_, ordinal=10, kind="child", status="open")  # a block's
    retry(id_)
    waits = tables.sql("SELECT ordinal, status FROM durable.waits ORDER BY ordinal")
    assert [(row["ordinal"], row["status"]) for row in waits] == [
        (0, "answered"), (1, "open"), (2, "open"),
    ]  # fmt: skip


def test_an_event_that_an_unfinished_wait_had_taken_is_there_again(tables, retry):
    id_ = tables.add("cancelled")
    tables.add_wait(id_, ordinal=1, kind="all", status="cancelled")
    tables.add_wait(id_, ordinal=2, status="answered")
    tables.sql(
        "INSERT INTO durable.events (id, execution_id, name, sent_at, consumed_at, consumed_by) "
        "SELECT gen_random_uuid(), execution_id, 'e' || ordinal, durable.now(), durable.now(), id "
        "FROM durable.waits"
    )
    retry(id_)
    events = tables.sql("SELECT name, consumed_by IS NULL AS free FROM durable.events ORDER BY 1")
    assert events == [{"name": "e1", "free": True}, {"name": "e2", "free": False}]


def test_a_half_undone_execution_goes_on_undoing(tables, retry):
    results = [
        {"step": "b", "compensation": "unb", "status": "completed", "error": None},
        {"step": "a", "compensation": "una", "status": "failed", "error": ERROR},
    ]
    id_ = tables.add("compensation_failed", error=ERROR, compensation_results=results)
    for attempt, gave_up in ((1, None), (2, "una")):
        tables.add_step(
            id_, 1, path="a", is_compensation=True, compensation_for="a", status="failed",
            attempt=attempt, compensation=gave_up, error=ERROR,
        )  # fmt: skip
    tables.add_step(id_, 1, path="a", compensation="una")
    retry(id_)
    marks = tables.sql("SELECT is_compensation AS by, compensation FROM durable.step_executions")
    assert [row["compensation"] for row in marks if row["by"]] == [None, None]
    assert [row["compensation"] for row in marks if not row["by"]] == ["una"]
    row = tables.row(id_)
    assert (row["status"], row["error"], row["completed_at"]) == ("compensating", ERROR, None)
    assert row["compensation_results"] == results[:1]
    assert row["retried_at"] == row["scheduled_at"]


def test_the_children_of_the_open_block_go_along(tables, retry, block):
    id_ = tables.add("failed")
    done = block(id_, "failed", "completed")
    tables.add_step(id_, 1, path="block", visit=1)
    children = block(id_, "failed", "cancelled", "completed", "compensation_failed", visit=2)
    (called,) = [tables.add("cancelled", parent_id=id_, parent_path="call", parent_visit=1)]
    grandchildren = block(children[0], "cancelled", "completed")
    retry(id_)
    assert [tables.status(each) for each in (id_, *children)] == [
        "pending", "pending", "pending", "completed", "compensating",
    ]  # fmt: skip
    assert [tables.status(each) for each in grandchildren] == ["pending", "completed"]
    assert [tables.status(each) for each in (*done, called)] == ["failed", "completed", "cancelled"]


def test_a_child_that_was_undone_begins_anew(tables, retry, block):
    id_ = tables.add("failed")
    (child, other) = block(id_, "compensated", "failed")
    for each in (child, other):
        tables.add_step(each, 1)
        tables.add_step(each, 1, is_compensation=True, compensation_for="step1", path="undo")
        tables.add_wait(each, status="answered")
        tables.sql("INSERT INTO durable.once_results VALUES (%s, 'step1', 1, 'key', '{}')", [each])
    tables.sql(
        "INSERT INTO durable.events (id, execution_id, name, sent_at, consumed_at, consumed_by) "
        "SELECT gen_random_uuid(), execution_id, 'e', durable.now(), durable.now(), id "
        "FROM durable.waits"
    )
    below = block(child, "completed", "cancelled")
    below += block(below[0], "completed")
    retry(id_)
    assert tables.status(child) == "pending"
    for table, left in (("step_executions", 2), ("once_results", 1), ("waits", 1)):
        rows = tables.sql(f"SELECT execution_id::text AS id FROM durable.{table}")
        assert [row["id"] for row in rows] == [other] * left
    ids = {row["id"] for row in tables.sql("SELECT id::text FROM durable.workflow_executions")}
    assert ids == {id_, child, other}
    assert ids.isdisjoint(below)
    events = tables.sql("SELECT execution_id::text AS id, consumed_at FROM durable.events")
    assert {row["id"]: row["consumed_at"] is None for row in events} == {child: True, other: False}


def test_a_child_that_was_undone_and_has_a_live_one_is_not_begun_anew(tables, retry, block):
    id_ = tables.add("failed")
    (child,) = block(id_, "compensated")
    (below,) = block(child, "compensating")
    with pytest.raises(NotRetryable, match=f"{below} is compensating; try again"):
        retry(id_)
    assert [tables.status(each) for each in (id_, child)] == ["failed", "compensated"]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "compensating"])
def test_a_child_of_a_finished_parent_is_refused(tables, retry, block, status):
    parent = tables.add(status)
    (child,) = block(parent, "failed")
    with pytest.raises(ParentFinished, match=f"child of {parent}, which is {status}"):
        retry(child)
    assert tables.status(child) == "failed"


@pytest.mark.parametrize("status", ["pending", "running", "waiting"])
def test_a_child_of_a_living_parent_goes_on_alone(tables, retry, block, status):
    parent = tables.add(status)
    (child, other) = block(parent, "failed", "failed")
    retry(child)
    assert [tables.status(each) for each in (parent, child, other)] == [status, "pending", "failed"]


def test_a_child_of_a_block_that_was_completed_without_it_is_refused(tables, retry, block):
    parent = tables.add("waiting")
    (child,) = block(parent, "failed")
    called = tables.add("failed", parent_id=parent, parent_path="block", parent_visit=1)
    tables.add_step(parent, 1, path="block")
    with pytest.raises(NotRetryable, match="has completed without it"):
        retry(child)
    retry(called)
    assert [tables.status(each) for each in (child, called)] == ["failed", "pending"]


def test_retries_cancels_and_claims_at_once_never_deadlock(tables, block):
    id_ = tables.add("failed")
    children = block(id_, "failed", "failed", "cancelled")
    begin = threading.Barrier(4)
    pool = PooledDatabase(tables.dsn, tables.schema, size=4)

    def storm(operation, target):
        begin.wait()
        done = 0
        for _ in range(25):
            with suppress(AlreadyFinished, NotRetryable, ParentFinished):
                pool.run(operation, target, *([None] if operation is executions.cancel else []))
                done += 1
        return done

    work = [
        (retrying.retry, id_),
        (executions.cancel, id_),
        (retrying.retry, children[0]),
        (executions.cancel, children[0]),
    ]
    with ThreadPoolExecutor(4) as threads:
        done = [each.result(60) for each in [threads.submit(storm, *each) for each in work]]
    pool.close()
    assert done[0] >= 1


def test_a_repeated_retry_takes_what_goes_on_for_its_own(tables, database):
    id_ = tables.add("failed", error=ERROR)
    database.run(retrying.retry, id_, Wish())
    with pytest.raises(NotRetryable):
        database.run(retrying.retry, id_, Wish())
    database.run(retrying.retry, id_, Wish(is_repeated=True))
    assert tables.status(id_) == "pending"
