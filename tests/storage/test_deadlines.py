"""Deadlines by the database's clock: which executions they end, and when the next one passes."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from durable_otp.storage import executions, test_clock
from durable_otp.storage.database import Database
from durable_otp.storage.deadlines import end_overdue, next_deadline
from durable_otp.storage.executions import NewExecution, Start
from tests.support.postgres import fresh_schema
from tests.support.tables import Tables, heard, migrated_tables

STATUSES = ("pending", "running", "waiting", "compensating", "completed", "failed", "cancelled")


@pytest.fixture(scope="module")
def clocked(postgres_dsn: str) -> Iterator[Tables]:
    """A schema whose time the tests move."""
    with (
        fresh_schema(postgres_dsn) as schema,
        migrated_tables(postgres_dsn, schema, test_clock=True) as tables,
    ):
        yield tables


@pytest.fixture
def clock(clocked: Tables) -> Iterator[Database]:
    """A connection on that schema, which is empty."""
    clocked.empty()
    database = Database(clocked.dsn, clocked.schema, role="test")
    yield database
    database.close()


def start(clock: Database, seconds: float | None, count: int = 1) -> list[str]:
    how = Start("w", "1", "default", 0, timeout=seconds)
    return clock.run(executions.start, how, [NewExecution(None) for _ in range(count)])


def test_a_deadline_is_counted_from_the_start_and_ends_what_has_not(
    clocked: Tables, clock: Database
) -> None:
    (row,) = start(clock, 60.0)
    clock.run(test_clock.advance, timedelta(seconds=59))
    assert clock.run(end_overdue, 10).count == 0
    clock.run(test_clock.advance, timedelta(seconds=1))
    assert clock.run(end_overdue, 10).count == 1
    found = clocked.row(row)
    assert found["status"] == "failed"
    assert found["error"] == {
        "type": "workflow_timeout",
        "message": "Workflow 'w' did not end within its timeout of 60 s.",
        "stacktrace": None,
    }
    assert clock.run(end_overdue, 10).count == 0


def test_only_what_may_still_run_or_wait_has_a_deadline(clocked: Tables, clock: Database) -> None:
    rows = {status: clocked.add(status) for status in STATUSES}
    clocked.sql(
        "UPDATE durable.workflow_executions SET deadline_at = durable.now() - '1s'::interval"
    )
    assert clock.run(end_overdue, 10).count == 3
    after = {status: clocked.status(row) for status, row in rows.items()}
    ended = dict.fromkeys(("pending", "running", "waiting"), "failed")
    assert after == {status: status for status in STATUSES} | ended
    assert clock.run(next_deadline) is None


def test_a_full_batch_means_there_may_be_more(clocked: Tables, clock: Database) -> None:
    start(clock, 1.0, count=5)
    clock.run(test_clock.advance, timedelta(seconds=2))
    assert [clock.run(end_overdue, 2).count for _ in range(4)] == [2, 2, 1, 0]


def test_the_next_deadline_is_the_earliest(clocked: Tables, clock: Database) -> None:
    assert clock.run(next_deadline) is None
    start(clock, None)
    assert clock.run(next_deadline) is None
    for seconds in (300.0, 30.0):
        start(clock, seconds)
    assert 0 < clock.run(next_deadline) <= 30
    clock.run(test_clock.advance, timedelta(seconds=31))
    assert clock.run(next_deadline) < 0


def test_a_start_with_a_deadline_tells_who_sleeps_until_the_next(
    clocked: Tables, clock: Database
) -> None:
    with clocked.listen("timeout") as sleepers:
        start(clock, None)
        assert heard(sleepers, within=0.05) == []
        start(clock, 5.0)
        assert heard(sleepers) == [""]


def test_a_row_that_is_being_written_is_left_for_the_next_round(
    clocked: Tables, clock: Database
) -> None:
    (row,) = start(clock, 1.0)
    clock.run(test_clock.advance, timedelta(seconds=2))
    clocked.sql("BEGIN")
    clocked.sql("SELECT FROM durable.workflow_executions WHERE id = %s FOR SHARE", [row])
    assert clock.run(end_overdue, 10).count == 0
    clocked.sql("ROLLBACK")
    assert clock.run(end_overdue, 10).count == 1
