"""What is removed for ever: whole families, never a part of one."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from durable_otp.errors import ExecutionNotFound, NotRetryable
from durable_otp.storage import deletion, retrying
from durable_otp.storage.database import Database
from durable_otp.storage.deletion import Old, Place
from durable_otp.storage.pool import PooledDatabase
from durable_otp.workflow.state import FINAL, State

DAY = timedelta(days=1)


@pytest.fixture
def now(tables):
    return tables.sql("SELECT durable.now() AS now")[0]["now"]


@pytest.fixture
def ended(tables, now):
    """Add an execution that ended so many days ago."""

    def ended(days, status="completed", **columns):
        return tables.add(status, completed_at=now - days * DAY, **columns)

    return ended


@pytest.fixture
def delete(database, now):
    """Remove what ended ten days ago, in batches; return how many went."""

    def delete(status=State.COMPLETED, *, limit=2, operation=deletion.delete_batch):
        old, place, deleted = Old(status, now - 10 * DAY), None, 0
        while True:
            batch = database.run(operation, old, place, limit)
            deleted, place = deleted + batch.deleted, batch.next
            if place is None:
                return deleted

    return delete


def left(tables):
    return {row["id"] for row in tables.sql("SELECT id::text FROM durable.workflow_executions")}


def test_what_ended_long_ago_goes_with_all_its_rows(tables, ended, delete):
    old = [ended(20) for _ in range(5)]
    for number, id_ in enumerate(old):
        tables.add_step(id_, 1)
        tables.add_wait(id_, status="answered")
        tables.sql(
            "INSERT INTO durable.events (id, execution_id, name, sent_at, consumed_at, consumed_by)"
            " SELECT gen_random_uuid(), execution_id, 'e', durable.now(), durable.now(), id "
            "FROM durable.waits WHERE execution_id = %s",
            [id_],
        )
        tables.sql(
            "INSERT INTO durable.pending_inputs (id, execution_id, wait_id, name, type, created_at)"
            " SELECT gen_random_uuid(), execution_id, id, 'i', 'text', durable.now() "
            "FROM durable.waits WHERE execution_id = %s",
            [id_],
        )
        tables.sql(
            "INSERT INTO durable.once_results VALUES (%s, 'p', 1, %s, '{}')", [id_, str(number)]
        )
        tables.sql(
            "INSERT INTO durable.fan_outs (execution_id, path, visit, on_error, total, context, "
            "opened_at) VALUES (%s, 'block', 1, 'fail_fast', 1, '{}', durable.now())",
            [id_],
        )
        tables.sql(
            "INSERT INTO durable.fan_out_items VALUES (%s, 'block', 1, 0, 'block/a', 'default')",
            [id_],
        )
    kept = {ended(5), ended(20, "failed"), tables.add("running"), tables.add("pending")}
    assert delete(operation=deletion.count_batch) == 5
    assert left(tables) == kept | set(old)
    assert delete() == 5
    assert left(tables) == kept
    for table in (
        "step_executions", "waits", "events", "pending_inputs", "once_results", "fan_outs",
        "fan_out_items",
    ):  # fmt: skip
        assert tables.sql(f"SELECT 1 FROM durable.{table}") == []
    assert delete() == 0


@pytest.mark.parametrize("status", sorted(FINAL))
def test_every_final_status_can_be_meant(tables, ended, delete, status):
    for each in FINAL:
        ended(20, each.value)
    assert delete(status) == 1
    rows = tables.sql("SELECT status FROM durable.workflow_executions")
    assert {row["status"] for row in rows} == FINAL - {status}


def test_a_family_goes_as_a_whole_and_a_child_never_alone(tables, ended, delete):
    root = ended(20)
    child = ended(25, "failed", parent_id=root)
    grandchild = ended(30, "cancelled", parent_id=child)
    living = tables.add("waiting")
    ended(20, parent_id=living)
    assert delete(State.FAILED) == delete(State.CANCELLED) == 0
    assert delete(operation=deletion.count_batch) == 3
    assert delete() == 3
    assert left(tables).isdisjoint({root, child, grandchild})
    assert len(left(tables)) == 2


@pytest.mark.parametrize("held_by", ["young", "running", "pending", "compensating"])
def test_a_family_is_held_back_by_any_descendant_and_holds_back_nobody(
    tables, ended, delete, held_by
):
    for number in range(5):  # more than a batch, and the longest ended
        child = ended(40, parent_id=ended(50 + number))
        if held_by == "young":
            ended(1, parent_id=child)
        else:
            tables.add(held_by, parent_id=child)
    free = ended(20)
    assert delete(operation=deletion.count_batch) == 1
    assert delete() == 1
    assert free not in left(tables)
    assert len(left(tables)) == 15


def test_a_batch_ends_with_the_family_that_is_enough(ended, database, now, monkeypatch):
    monkeypatch.setattr(deletion, "ENOUGH_DELETED", 2)
    for number in range(3):
        root = ended(30 - number)
        for _ in range(2):
            ended(30, parent_id=root)
    old = Old(State.COMPLETED, now - 10 * DAY)
    place = None
    for number in range(3):
        batch = database.run(deletion.delete_batch, old, place)
        assert batch.deleted == 3
        assert batch.next == Place(now - (30 - number) * DAY, batch.next.id)
        place = batch.next
    assert database.run(deletion.delete_batch, old, place) == deletion.Batch(0, None)


def test_what_somebody_has_locked_is_left_for_later(tables, ended, delete):
    locked, free = ended(30), ended(20)
    with tables.connection.transaction():
        tables.sql("SELECT FROM durable.workflow_executions WHERE id = %s FOR UPDATE", [locked])
        assert delete() == 1
    assert left(tables) == {locked}
    assert free not in left(tables)
    assert delete() == 1


def test_a_delete_beside_retries_makes_no_error_and_no_broken_family(tables, now):
    old = Old(State.FAILED, now)
    for _ in range(30):
        root = tables.add("failed", completed_at=now - DAY)
        tables.sql(
            "INSERT INTO durable.fan_outs (execution_id, path, visit, on_error, total, context, "
            "opened_at) VALUES (%s, 'block', 1, 'fail_fast', 2, '{}', durable.now())",
            [root],
        )
        for index in range(2):
            tables.add(
                "failed", completed_at=now - DAY, parent_id=root, parent_path="block",
                parent_visit=1, parent_index=index,
            )  # fmt: skip
    rows = tables.sql(
        "SELECT id::text FROM durable.workflow_executions WHERE parent_id IS NULL ORDER BY id"
    )
    pool = PooledDatabase(tables.dsn, tables.schema, size=3)
    begin = threading.Barrier(3)

    def retry_all(ids):
        begin.wait()
        outcomes = set()
        for id_ in ids:
            try:
                pool.run(retrying.retry, id_)
                outcomes.add("retried")
            except (ExecutionNotFound, NotRetryable) as error:
                outcomes.add(type(error).__name__)
        return outcomes

    def delete_all():
        begin.wait()
        deleted = 0
        for _ in range(30):
            deleted += pool.run(deletion.delete_batch, old, None, 1).deleted
        return deleted

    ids = [row["id"] for row in rows]
    with ThreadPoolExecutor(3) as threads:
        retries = [threads.submit(retry_all, each) for each in (ids, ids[::-1])]
        deleted = threads.submit(delete_all).result(60)
        assert set().union(*(each.result(60) for each in retries)) <= {
            "retried", "ExecutionNotFound", "NotRetryable",
        }  # fmt: skip
    pool.close()
    assert deleted % 3 == 0
    families = tables.sql(
        "SELECT count(*) AS n, array_agg(DISTINCT status::text) AS statuses "
        "FROM durable.workflow_executions GROUP BY coalesce(parent_id, id)"
    )
    assert all(each == {"n": 3, "statuses": ["pending"]} for each in families), families
    assert len(families) == 30 - deleted // 3


def test_the_walk_goes_along_its_index(tables, now):
    tables.sql("SET enable_seqscan = off")
    tables.sql("SET enable_sort = off")  # of a few rows any index and a sort would be as good
    try:
        plan = tables.sql(
            "EXPLAIN SELECT id FROM durable.workflow_executions WHERE parent_id IS NULL "
            "AND completed_at IS NOT NULL AND status = 'completed' AND completed_at < %s "
            "AND (completed_at, id) > (%s, gen_random_uuid()) ORDER BY completed_at, id LIMIT 5",
            [now, now - DAY],
        )
    finally:
        tables.sql("RESET enable_seqscan")
        tables.sql("RESET enable_sort")
    text = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "workflow_executions_ended" in text
    assert "Sort" not in text


def test_the_statuses_that_may_be_meant():
    assert deletion.final_statuses(None) == sorted(FINAL)
    assert deletion.final_statuses("failed") == [State.FAILED]
    assert deletion.final_statuses(State.FAILED) == [State.FAILED]
    assert deletion.final_statuses(["failed", State.CANCELLED, "failed"]) == ["failed", "cancelled"]
    assert deletion.final_statuses([]) == []


@pytest.mark.parametrize("status", ["running", "no", ["completed", "waiting"], State.PENDING, [7]])
def test_a_status_that_is_not_final_is_refused(status):
    with pytest.raises(ValueError, match="which are final"):
        deletion.final_statuses(status)


def test_how_old_is_said_in_several_ways(database: Database, now):
    before = database.run(deletion.cutoff, timedelta(days=3))
    assert timedelta(days=-3) <= before - now < timedelta(days=-3, minutes=5)
    assert database.run(deletion.cutoff, 60) < now + timedelta(minutes=5)
    instant = datetime(2030, 1, 1, tzinfo=UTC)
    assert database.run(deletion.cutoff, instant) is instant
    ancient = database.run(deletion.cutoff, timedelta.max)
    assert database.run(deletion.count_batch, Old(State.FAILED, ancient), None).deleted == 0


@pytest.mark.parametrize(
    ("older_than", "error", "words"),
    [
        (datetime(2030, 1, 1), ValueError, "time zone"),  # noqa: DTZ001 - the mistake
        (timedelta(seconds=-1), ValueError, "zero or more"),
        (float("inf"), ValueError, "finite"),
        ("30d", TypeError, "older_than"),
        (None, TypeError, "older_than"),
        (True, TypeError, "older_than"),
    ],
)
def test_a_time_that_is_none_is_refused(database, older_than, error, words):
    with pytest.raises(error, match=words):
        database.run(deletion.cutoff, older_than)


def test_what_processes_leave_behind_goes_when_nothing_refers_to_it(tables, database):
    tables.sql(
        "INSERT INTO durable.nodes (id, name, hostname, pid, started_at, seen_at) "
        "SELECT name, name, 'h', 1, seen, seen FROM (VALUES "
        "('gone', durable.now() - interval '8 days'), ('has a manager', '2000-01-01'), "
        "('has a setting', '2000-01-01'), ('lives', durable.now())) AS given (name, seen)"
    )
    tables.sql(
        "INSERT INTO durable.queues (queue, node_id, updated_at) "
        "VALUES ('default', 'has a setting', durable.now())"
    )
    tables.sql(
        "INSERT INTO durable.queue_managers (id, node_id, queue, started_at, seen_at) VALUES "
        "('gone', 'gone', 'q', '2000-01-01', '2000-01-01'), "
        "('somebody', 'has a manager', 'q', '2000-01-01', '2000-01-01'), "
        "('lives', 'lives', 'q', '2000-01-01', durable.now())"
    )
    tables.add("running")  # held by somebody
    tables.sql(
        "INSERT INTO durable.commands (id, node_id, verb, target, requested_at, deadline_at, "
        "finished_at) SELECT gen_random_uuid(), 'n', name, 't', '2000-01-01', deadline, finished "
        "FROM (VALUES ('finished long ago', '2000-01-01'::timestamptz, '2000-01-01'::timestamptz), "
        "('never taken', '2000-01-01', NULL), ('finished now', '2000-01-01', durable.now()), "
        "('open', durable.now(), NULL)) AS given (name, deadline, finished)"
    )
    database.run(deletion.tidy)
    nodes = tables.sql("SELECT id FROM durable.nodes ORDER BY 1")
    managers = tables.sql("SELECT id FROM durable.queue_managers ORDER BY 1")
    commands = tables.sql("SELECT verb FROM durable.commands ORDER BY 1")
    assert [row["id"] for row in nodes] == ["has a manager", "has a setting", "lives"]
    assert [row["id"] for row in managers] == ["lives", "somebody"]
    assert [row["verb"] for row in commands] == ["finished now", "open"]
