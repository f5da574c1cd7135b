"""Every statement that fails an execution lets it compensate when there is something to undo."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from durable_otp.engine.journal import Attempt, Completion, Failure
from durable_otp.storage import executions, queue
from durable_otp.storage.database import Database
from durable_otp.storage.deadlines import end_overdue
from durable_otp.storage.identity import new_id
from durable_otp.storage.journal import PostgresJournal
from durable_otp.storage.journal_writing import Holder
from durable_otp.storage.settlement import LostAttempt, settle_crash, settle_timeout
from tests.support.tables import HOLDER, Tables, heard
from tests.support.waiting import wait_until

TOKEN = HOLDER["lock_token"]
OLD = "now() - interval '1 hour'"
LOST = LostAttempt("step2", "step2", "step", 1, 1, 0.5, {"type": "worker_crashed"}, [])
FAILURE = Failure(Attempt(2, "step2", "step2", "step", 1, 1), {"type": "ValueError"}, [], 0.1)


def fail(database: Database, row: str) -> Any:
    PostgresJournal(database, Holder(row, TOKEN)).fail(FAILURE.error, "step2", FAILURE)


def fail_without_attempt(database: Database, row: str) -> Any:
    PostgresJournal(database, Holder(row, TOKEN)).fail({"type": "InvalidInput"}, None, None)


# How each fails a row, the columns of a row that it fails, and the error.
FAILING: dict[str, tuple[Callable[[Database, str], Any], dict[str, Any], str]] = {
    "fail": (fail, {}, "ValueError"),
    "fail_without_attempt": (fail_without_attempt, {}, "InvalidInput"),
    "nack": (lambda db, row: db.run(queue.nack, row, '{"type": "error"}', TOKEN), {}, "error"),
    "settle_crash": (
        lambda db, row: db.run(settle_crash, row, (TOKEN, new_id()), LOST, 1, 0.5),
        {},
        "worker_crashed",
    ),
    "settle_timeout": (
        lambda db, row: db.run(settle_timeout, row, TOKEN, LOST, None),
        {},
        "worker_crashed",
    ),
    "recover_stale_locks": (
        lambda db, _: db.run(queue.recover_stale_locks, 300),
        {"interruptions": 19, "locked_at": OLD},
        "interrupted_too_often",
    ),
    "recover_claims": (
        lambda db, _: db.run(queue.recover_claims, ["somebody"]),
        {"interruptions": 19},
        "interrupted_too_often",
    ),
    "recover_zombie_workflows": (
        lambda db, _: db.run(queue.recover_zombie_workflows, 300),
        {"status": "waiting", "due_in": None, "updated_at": OLD},
        "zombie_detected",
    ),
    "deadline_running": (
        lambda db, _: db.run(end_overdue, 10),
        {"deadline_at": OLD},
        "workflow_timeout",
    ),
    "deadline_waiting": (
        lambda db, _: db.run(end_overdue, 10),
        {"status": "waiting", "deadline_at": OLD},
        "workflow_timeout",
    ),
    "deadline_pending": (
        lambda db, _: db.run(end_overdue, 10),
        {"status": "pending", "due_in": 600, "deadline_at": OLD},
        "workflow_timeout",
    ),
}
WAITING = [name for name in FAILING if name != "recover_zombie_workflows"]  # that has no open wait
every_way = pytest.mark.parametrize("way", FAILING)


def add(tables: Tables, way: str, **more: Any) -> str:
    """Insert a row that a way of failing fails."""
    columns = {"queue": "gpu", "home_queue": "default", **FAILING[way][1], **more}
    clocks = {key: columns.pop(key) for key in list(columns) if columns[key] == OLD}
    row = tables.add(columns.pop("status", "running"), **columns)
    for column, value in clocks.items():
        tables.sql(
            f"UPDATE durable.workflow_executions SET {column} = {value} WHERE id = %s", [row]
        )
    return row


@every_way
def test_what_has_something_to_undo_compensates(
    database: Database, tables: Tables, way: str
) -> None:
    row = add(tables, way, watched=True)
    tables.add_step(row, 1, compensation="undo")
    with tables.listen("queue") as queues, tables.listen("done") as ends:
        FAILING[way][0](database, row)
        assert heard(queues) == ["default"]
        assert heard(ends, within=0.05) == []
    found = tables.row(row)
    assert (found["status"], found["completed_at"], found["lock_token"]) == (
        "compensating", None, None,
    )  # fmt: skip
    assert found["error"]["type"] == FAILING[way][2]
    assert (found["queue"], found["begun"]) == ("default", None)
    (claim,) = database.run(queue.fetch_jobs, "default", 5, "n", None)
    assert (claim.id, claim.is_plain) == (row, False)


@every_way
def test_what_has_nothing_to_undo_fails(database: Database, tables: Tables, way: str) -> None:
    row = add(tables, way, watched=True)
    tables.add_step(row, 1)
    tables.add_step(row, 2, path="never", status="failed", compensation="undo")
    with tables.listen("queue") as queues, tables.listen("done") as ends:
        FAILING[way][0](database, row)
        assert heard(ends) == [row]
        assert heard(queues, within=0.05) == []
    found = tables.row(row)
    assert (found["status"], found["queue"], found["lock_token"]) == ("failed", "gpu", None)
    assert found["completed_at"] is not None
    assert found["error"]["type"] == FAILING[way][2]
    assert database.run(queue.fetch_jobs, "default", 5, "n", None) == []


@every_way
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_the_completed_children_of_blocks_are_a_part_of_it(
    database: Database, tables: Tables, way: str, status: str
) -> None:
    row = add(tables, way)
    child = tables.add(status, parent_id=row, parent_index=0, parent_path="p", parent_visit=1)
    grandchild = tables.add("completed", parent_id=child, parent_index=0, parent_path="q",
                            parent_visit=1)  # fmt: skip
    called = tables.add("completed", parent_id=row)
    for each in (grandchild, called):
        tables.add_step(each, 1, compensation="undo")
    FAILING[way][0](database, row)
    assert tables.status(row) == ("failed" if status == "failed" else "compensating")


@pytest.mark.parametrize("way", WAITING)
@pytest.mark.parametrize("compensation", ["undo", None])
def test_its_waits_are_closed_and_its_children_cancelled(
    database: Database, tables: Tables, way: str, compensation: str | None
) -> None:
    row = add(tables, way)
    tables.add_step(row, 1, compensation=compensation)
    tables.add_wait(row, path="step2")
    add_input(tables, row)
    child = tables.add("waiting", parent_id=row)
    grandchild = tables.add(
        "running", parent_id=child, locked_by="else", lock_token=new_id(), watched=True
    )
    ended = tables.add("completed", parent_id=child)
    with tables.listen("cancel") as cancels:
        FAILING[way][0](database, row)
        token = [f"{row} {TOKEN}"] if way == "deadline_running" else []
        assert len(heard(cancels)) == 1 + len(token)
    statuses = [tables.status(each) for each in (child, grandchild, ended)]
    assert statuses == ["cancelled", "cancelled", "completed"]
    assert tables.row(child)["error"]["type"] == "cancelled"
    assert tables.sql("SELECT DISTINCT status FROM durable.waits") == [{"status": "cancelled"}]
    assert tables.sql("SELECT status FROM durable.pending_inputs") == [{"status": "cancelled"}]


def add_input(tables: Tables, row: str) -> None:
    tables.sql(
        "INSERT INTO durable.pending_inputs (id, execution_id, wait_id, name, type, created_at) "
        "SELECT gen_random_uuid(), execution_id, id, 'ok', 'approval', durable.now() "
        "FROM durable.waits WHERE execution_id = %s",
        [row],
    )


@every_way
def test_the_parent_of_what_has_failed_is_named_and_of_what_compensates_is_not(
    tables: Tables, way: str
) -> None:
    told = Overheard(tables.dsn, tables.schema, role="test")
    try:
        parent = tables.add("waiting")
        failing = add(tables, way, parent_id=parent)
        FAILING[way][0](told, failing)
        assert told.parents == [parent]
        tables.sql("UPDATE durable.workflow_executions SET deadline_at = NULL")
        undoing = add(tables, way, parent_id=parent)
        tables.add_step(undoing, 1, compensation="undo")
        FAILING[way][0](told, undoing)
        assert tables.status(undoing) == "compensating"
        assert told.parents == [parent]
    finally:
        told.close()


def completion() -> Completion:
    return Completion(Attempt(1, "a", "a", "step", 1, 1), None, [], None, None, 0, [], 0.1)


ENDING: dict[str, tuple[Callable[[Database, str], Any], str]] = {
    "complete": (
        lambda db, row: PostgresJournal(db, Holder(row, TOKEN)).checkpoint(completion()),
        "running",
    ),
    "ack": (lambda db, row: db.run(queue.ack, row, TOKEN), "running"),
    "cancel": (lambda db, row: db.run(executions.cancel, row, None), "waiting"),
    "end_compensation": (
        lambda db, row: PostgresJournal(db, Holder(row, TOKEN)).compensations.end(),
        "compensating",
    ),
}


@pytest.mark.parametrize("way", ENDING)
def test_the_parent_of_what_has_ended_otherwise_is_named(tables: Tables, way: str) -> None:
    told = Overheard(tables.dsn, tables.schema, role="test")
    end, status = ENDING[way]
    held = {"lock_token": TOKEN, "locked_by": "x"} if status == "compensating" else {}
    try:
        parent = tables.add("waiting")
        end(told, tables.add(status, parent_id=parent, **held))
        assert told.parents == [parent]
        end(told, tables.add(status, **held))
        assert told.parents == [parent]
    finally:
        told.close()


class Overheard(Database):
    """Notes which parents it is told to wake, or is answered as those to tell."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.parents: list[str] = []

    def run(self, operation: Any, *args: Any, **options: Any) -> Any:
        if operation.__name__ == "children_ended":
            self.parents += args[0]
        answer = super().run(operation, *args, **options)
        self.parents += getattr(answer, "parents", ())
        return answer


def test_a_checkpoint_that_the_failing_had_to_wait_for_is_undone_too(
    database: Database, tables: Tables
) -> None:
    """Its lock was awaited, so it came first: a look from before the wait would have missed it."""
    row = tables.add("running", interruptions=19)
    statement = (
        "INSERT INTO durable.step_executions (id, execution_id, position, path, name, status, "
        "compensation, completed_at) VALUES (gen_random_uuid(), %s, 1, 'a', 'a', 'completed', 'u', "
        "durable.now())"
    )
    with overlapping(tables, row, statement):
        database.run(queue.recover_claims, ["somebody"])
    assert tables.status(row) == "compensating"


@contextmanager
def overlapping(tables: Tables, row: str, statement: str) -> Iterator[None]:
    """Hold a row's share lock, and commit a statement only once somebody waits for the lock."""
    tables.sql("BEGIN")
    tables.sql("SELECT FROM durable.workflow_executions WHERE id = %s FOR SHARE", [row])
    tables.sql(statement, [row])
    watching = Tables(tables.dsn, tables.schema)

    def commit() -> None:
        wait_until(
            lambda: watching.sql(
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND query LIKE '/* recover_claims%%' AND query LIKE %s",
                [f"%{tables.schema}%"],
            )
        )
        tables.sql("COMMIT")

    committing = threading.Thread(target=commit)
    committing.start()
    try:
        yield
    finally:
        committing.join()
        watching.connection.close()
