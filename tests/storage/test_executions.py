"""How executions begin and how they are called off, row by row."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import psycopg
import pytest

from durable_otp.errors import AlreadyFinished, ExecutionNotFound
from durable_otp.storage import executions
from durable_otp.storage.database import Database
from durable_otp.storage.definitions import PublishedDefinition, publish
from durable_otp.storage.executions import NewExecution, Start
from durable_otp.storage.identity import new_id
from durable_otp.storage.journal import database_now
from durable_otp.storage.operation import Wish
from durable_otp.storage.pool import PooledDatabase
from tests.support.tables import HOLDER, heard
from tests.support.waiting import wait_until

HOW = Start(workflow="w", version="1", queue="default", priority=0)
NOTHING_CHOSEN = {"queue": None, "priority": None, "scheduled_at": None}
FINAL = ("completed", "failed", "cancelled", "compensated", "compensation_failed")


def test_a_start_writes_a_pending_row_that_is_due(tables, database):
    how = Start(workflow="shop", version="3", queue="q", priority=7, timeout=60.5)
    (id_,) = database.run(executions.start, how, [NewExecution('{"a": [1]}', "key")])
    row = tables.row(id_)
    assert (row["workflow"], row["version"], row["queue"], row["priority"]) == ("shop", "3", "q", 7)
    assert (row["status"], row["input"], row["idempotency_key"]) == ("pending", {"a": [1]}, "key")
    assert row["inserted_at"] == row["updated_at"] == row["scheduled_at"]
    assert (row["deadline_at"] - row["inserted_at"]).total_seconds() == 60.5
    assert (row["started_at"], row["parent_id"], row["lock_token"]) == (None, None, None)


def test_a_start_without_input_timeout_and_key_leaves_them_empty(tables, database):
    (id_,) = database.run(executions.start, HOW, [NewExecution(None)])
    row = tables.row(id_)
    assert (row["input"], row["deadline_at"], row["idempotency_key"]) == (None, None, None)


def test_a_start_by_name_is_the_same_as_one_of_the_definition_published_last(tables, database):
    for version, queue, timeout in (("1", "old", None), ("2", "q", 60.5)):
        described = {"name": "shop", "version": version, "queue": queue, "priority": 7}
        published = PublishedDefinition("shop", version, version, described | {"timeout": timeout})
        database.run(publish, [published])
    how = Start(workflow="shop", version="2", queue="q", priority=7, timeout=60.5)
    prepared, named = NewExecution('{"a": [1]}'), NewExecution('{"a": [1]}')
    database.run(executions.start, how, [prepared])
    with tables.listen("queue") as listener:
        assert database.run(executions.start_published, "shop", named, **NOTHING_CHOSEN)
        assert heard(listener) == ["q"]
    rows = [tables.row(each.id) for each in (prepared, named)]
    for row in rows:
        row["deadline_at"] -= row["inserted_at"]
        for column in ("id", "inserted_at", "updated_at", "scheduled_at"):
            del row[column]
    assert rows[0] == rows[1]


def test_a_start_by_name_takes_what_was_chosen(tables, database):
    described = {"queue": "q", "priority": 7, "timeout": None}
    database.run(publish, [PublishedDefinition("shop", "1", "1", described)])
    due, new = database.run(database_now) + timedelta(seconds=60), NewExecution(None)
    chosen = {"queue": "mine", "priority": -1, "scheduled_at": due}
    with tables.listen("queue") as listener:
        assert database.run(executions.start_published, "shop", new, **chosen)
        assert heard(listener) == ["mine"]
    row = tables.row(new.id)
    assert {name: row[name] for name in chosen} == chosen
    assert row["deadline_at"] is None


def test_a_start_by_a_name_that_nobody_published_starts_nothing(tables, database):
    assert not database.run(
        executions.start_published, "shop", NewExecution(None), **NOTHING_CHOSEN
    )
    assert tables.sql("SELECT FROM durable.workflow_executions") == []


def test_a_start_by_name_whose_answer_was_lost_is_repeated_once(tables, database):
    described = {"queue": "q", "priority": 0, "timeout": None}
    database.run(publish, [PublishedDefinition("shop", "1", "1", described)])
    sent, lost = NewExecution(None), NewExecution(None, is_sent=True)
    for _ in range(2):
        assert database.run(executions.start_published, "shop", sent, **NOTHING_CHOSEN)
    assert database.run(executions.start_published, "shop", lost, **NOTHING_CHOSEN)
    assert len(tables.sql("SELECT FROM durable.workflow_executions")) == 2


def test_ids_come_back_in_the_order_given_over_many_batches(tables, database):
    new = [NewExecution(str(number)) for number in range(2500)]
    ids = database.run(executions.start, HOW, new)
    assert ids == [each.id for each in new]
    rows = tables.sql("SELECT id::text, input FROM durable.workflow_executions")
    assert {row["id"]: str(row["input"]) for row in rows} == {each.id: each.input for each in new}


def test_a_thousand_are_one_statement(database):
    steps = executions.start(HOW, [NewExecution(None) for _ in range(2002)])
    sizes, rows = [], None
    with suppress(StopIteration):
        while True:
            sizes.append(len(steps.send(rows).parameters["ids"].split(",")))
            rows = ()
    assert sizes == [1000, 1000, 2]


@pytest.mark.parametrize("keys", [(None,), ("k",), (None, None), (None, "k")])
def test_a_start_whose_answer_was_lost_is_repeated_without_harm(tables, database, keys):
    """Its rows are there, or only some of its batches are, or none."""
    new = [NewExecution(str(number), key) for number, key in enumerate(keys)]
    first = database.run(executions.start, HOW, new)
    if len(new) > 1:
        tables.sql("DELETE FROM durable.workflow_executions WHERE id = %s RETURNING id", [first[0]])
    assert database.run(executions.start, HOW, new) == first
    rows = tables.sql("SELECT id::text, input FROM durable.workflow_executions")
    assert {row["id"]: str(row["input"]) for row in rows} == {each.id: each.input for each in new}


def test_a_batch_of_long_inputs_is_cut_before_it_is_too_long(tables, database, monkeypatch):
    monkeypatch.setattr(executions, "BATCH_CHARACTERS", 10)
    new = [NewExecution(text) for text in ("[1, 2, 3, 4, 5]", "[6, 7]", "8", None, "[9, 10, 11]")]
    steps, sizes = executions.start(HOW, new), []
    with suppress(StopIteration):
        while True:
            parameters = steps.send(None if not sizes else [{"started": 1}]).parameters
            sizes.append(len(parameters["ids"].split(",")) if "ids" in parameters else 1)
    assert sizes == [1, 3, 1]
    ids = database.run(executions.start, HOW, new)
    assert [tables.row(id_)["input"] for id_ in ids] == [
        [1, 2, 3, 4, 5],
        [6, 7],
        8,
        None,
        [9, 10, 11],
    ]


def test_inputs_of_many_come_as_they_were_written(tables, database):
    texts = [
        '"a,b"',
        '"\\u001e"',
        None,
        '"{\\"x\\": \\"\\\\\\\\\\"}"',
        '""',
        "{}",
        '"\N{SNOWMAN}"',
        "null",
    ]
    ids = database.run(executions.start, HOW, [NewExecution(text) for text in texts])
    expected = [None if text is None else json.loads(text) for text in texts]
    assert [tables.row(id_)["input"] for id_ in ids] == expected


def test_a_repeated_start_changes_nothing(tables, database):
    new = [NewExecution(None), NewExecution(None, "k")]
    first = database.run(executions.start, HOW, new)
    with tables.listen("queue") as listener:
        assert database.run(executions.start, HOW, new) == first
        assert heard(listener) == []
    assert len(tables.sql("SELECT id FROM durable.workflow_executions")) == 2


def test_a_key_that_is_taken_gives_its_execution_whatever_became_of_it(tables, database):
    for status in ("pending", "running", "waiting", *FINAL):
        existing = tables.add(status, idempotency_key=status)
        assert database.run(executions.start, HOW, [NewExecution("1", status)]) == [existing]


def test_keys_are_per_workflow_name_over_versions(tables, database):
    existing = tables.add(workflow="w", version="0", idempotency_key="k")
    assert database.run(executions.start, HOW, [NewExecution(None, "k")]) == [existing]
    other = Start("other", "1", "default", 0)
    assert database.run(executions.start, other, [NewExecution(None, "k")]) != [existing]


def test_a_key_twice_in_one_call_is_one_execution(tables, database):
    new = [NewExecution(None, key) for key in ("a", "b", "a", None, None, "b")]
    ids = database.run(executions.start, HOW, new)
    assert ids[0] == ids[2]
    assert ids[1] == ids[5]
    assert len(set(ids)) == len(tables.sql("SELECT id FROM durable.workflow_executions")) == 4


def test_the_same_keys_from_many_sides_make_one_execution_each(tables):
    keys = [f"k{number}" for number in range(50)]
    start = threading.Barrier(6)

    def work(number: int) -> list[str]:
        order = keys if number % 2 else keys[::-1]
        database = Database(tables.dsn, tables.schema, role=f"starter {number}")
        start.wait()
        try:
            new = [NewExecution(None, key) for key in order]
            return sorted(database.run(executions.start, HOW, new))
        finally:
            database.close()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(work, range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert len(set(answers[0])) == 50


def test_callers_with_the_same_keys_wait_for_each_other_and_not_in_a_circle(tables):
    """In the caller's own transaction nobody repeats what a deadlock rolled back."""
    keys = [f"k{number}" for number in range(300)]
    database = PooledDatabase(tables.dsn, tables.schema)
    start = threading.Barrier(4)

    def work(number: int) -> list[str]:
        order = keys if number % 2 else keys[::-1]
        start.wait()
        with psycopg.connect(tables.dsn) as mine:
            new = [NewExecution(None, key) for key in order]
            return database.run_within(mine, executions.start, HOW, new)

    with ThreadPoolExecutor(4) as pool:
        answers = [sorted(answer) for answer in pool.map(work, range(4))]
    assert all(answer == answers[0] for answer in answers)


def somebody_waits_for_a_lock(tables):
    return tables.sql("SELECT pid FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()")


def insert(connection, schema, **columns):
    names, values = ", ".join(columns), ", ".join("%s" for _ in columns)
    connection.execute(
        f"INSERT INTO {schema}.workflow_executions (workflow, version, scheduled_at, inserted_at, "
        f"updated_at, {names}) VALUES ('w', '1', now(), now(), now(), {values})",
        list(columns.values()),
    )


def test_a_key_that_another_transaction_is_taking_is_waited_for(tables, database):
    id_ = new_id()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(tables.dsn) as other:
        insert(other, tables.schema, id=id_, idempotency_key="k")
        waiting = pool.submit(database.run, executions.start, HOW, [NewExecution(None, "k")])
        wait_until(lambda: somebody_waits_for_a_lock(tables), timeout=10, what="the second")
        other.commit()
        assert waiting.result(10) == [id_]


@pytest.mark.parametrize("status", ["pending", "running", "waiting"])
def test_what_has_not_ended_can_be_cancelled(tables, database, status):
    id_ = tables.add(status, current_step="charge")
    database.run(executions.cancel, id_, "changed my mind")
    row = tables.row(id_)
    assert (row["status"], row["current_step"]) == ("cancelled", "charge")
    assert row["error"] == {"type": "cancelled", "message": "changed my mind"}
    assert row["completed_at"] is not None
    assert (row["lock_token"], row["locked_by"], row["locked_at"]) == (None, None, None)


def test_a_cancel_without_a_reason_says_so(tables, database):
    id_ = tables.add()
    database.run(executions.cancel, id_, None)
    assert tables.row(id_)["error"]["message"] == "The execution was cancelled."


@pytest.mark.parametrize("status", ["compensating", *FINAL])
def test_what_has_ended_or_is_being_undone_cannot(tables, database, status):
    id_ = tables.add(status)
    before = tables.row(id_)
    with pytest.raises(AlreadyFinished, match=rf"{id_} is {status} and cannot be cancelled"):
        database.run(executions.cancel, id_, None)
    assert tables.row(id_) == before


@pytest.mark.parametrize("id_", ["", "no", "00000000-0000-4000-8000-0000000000ff"])
def test_an_unknown_id_cannot_be_cancelled_or_watched(database, tables, id_):
    with pytest.raises(ExecutionNotFound):
        database.run(executions.cancel, id_, None)
    with pytest.raises(ExecutionNotFound):
        database.run(executions.watch, id_)


def test_a_cancel_takes_all_descendants_that_have_not_ended(tables, database):
    root = tables.add("waiting", due_in=None)
    child = tables.add("waiting", due_in=None, parent_id=root)
    done = tables.add("completed", parent_id=root)
    below_done = tables.add("running", parent_id=done)
    grandchild = tables.add("running", parent_id=child)
    undoing = tables.add("compensating", parent_id=child)
    stranger = tables.add()
    database.run(executions.cancel, root, "stop")
    cancelled = (root, child, below_done, grandchild)
    assert {tables.status(id_) for id_ in cancelled} == {"cancelled"}
    assert {tables.row(id_)["error"]["message"] for id_ in cancelled} == {"stop"}
    rest = (done, undoing, stranger)
    assert [tables.status(id_) for id_ in rest] == ["completed", "compensating", "pending"]


def test_a_cancelled_child_leaves_its_parent_alone(tables, database):
    root = tables.add("waiting", due_in=None)
    child = tables.add(parent_id=root)
    database.run(executions.cancel, child, None)
    assert (tables.status(root), tables.status(child)) == ("waiting", "cancelled")


def test_a_cancel_closes_the_open_waits(tables, database):
    id_ = tables.add("waiting", due_in=None)
    tables.add_wait(id_)
    tables.add_wait(id_, ordinal=2, status="answered")
    database.run(executions.cancel, id_, None)
    rows = tables.sql("SELECT ordinal, status FROM durable.waits ORDER BY ordinal")
    assert [row["status"] for row in rows] == ["cancelled", "answered"]


def test_holders_and_watchers_are_told_of_a_cancel(tables, database):
    parent = tables.add("waiting", due_in=None, watched=True)
    held = tables.add("running", parent_id=parent)
    with tables.listen("cancel") as cancels, tables.listen("done") as ends:
        database.run(executions.cancel, parent, None)
        assert heard(cancels) == [f"{held} {HOLDER['lock_token']}"]
        assert heard(ends) == [parent]


@pytest.mark.parametrize("generations", [1, 2], ids=["child", "grandchild"])
def test_a_child_being_made_during_a_cancel_does_not_survive_it(tables, database, generations):
    """Its maker locks the parent; the cancel waits for that and then reads the children."""
    root = parent = tables.add("running")
    if generations > 1:
        parent = tables.add("running", parent_id=root)
    child = new_id()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(tables.dsn) as maker:
        insert(maker, tables.schema, id=child, parent_id=parent)
        waiting = pool.submit(database.run, executions.cancel, root, None)
        wait_until(lambda: somebody_waits_for_a_lock(tables), timeout=10, what="the cancel")
        maker.commit()
        waiting.result(10)
    assert {tables.status(id_) for id_ in (root, parent, child)} == {"cancelled"}


def test_cancels_of_one_family_from_many_sides_do_not_deadlock(tables):
    root = tables.add("waiting", due_in=None)
    children = [tables.add("waiting", due_in=None, parent_id=root) for _ in range(5)]
    leaves = [tables.add("running", parent_id=child) for child in children for _ in range(3)]
    everyone = [root, *children, *leaves]
    start = threading.Barrier(6)

    def cancel(number: int) -> None:
        database = Database(tables.dsn, tables.schema, role=f"canceller {number}")
        start.wait()
        for id_ in everyone if number % 2 else everyone[::-1]:
            try:
                database.run(executions.cancel, id_, None)
            except AlreadyFinished:
                continue
        database.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(cancel, range(6)))
    assert {tables.status(id_) for id_ in everyone} == {"cancelled"}


def test_watching_marks_what_has_not_ended(tables, database):
    running, ended = tables.add("running"), tables.add("failed")
    assert database.run(executions.watch, running) == "running"
    assert database.run(executions.watch, ended) == "failed"
    assert tables.row(running)["watched"]
    assert not tables.row(ended)["watched"]


def test_a_repeated_cancel_takes_what_is_cancelled_for_its_own(tables, database):
    id_ = tables.add("waiting")
    database.run(executions.cancel, id_, "changed my mind", Wish())
    with pytest.raises(AlreadyFinished):
        database.run(executions.cancel, id_, None, Wish())
    database.run(executions.cancel, id_, None, Wish(is_repeated=True))
    assert tables.row(id_)["error"]["message"] == "changed my mind"
    with pytest.raises(AlreadyFinished):
        database.run(executions.cancel, tables.add("completed"), None, Wish(is_repeated=True))
