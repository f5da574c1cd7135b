"""The clock that tests can move, and those who hear that it moved."""

from datetime import timedelta

import pytest

from durable_otp.storage import queue, test_clock
from durable_otp.storage.database import Database
from durable_otp.storage.migrator import Migrator
from tests.support.tables import heard, migrated_tables

NOW = "SELECT durable.now() AS now"


@pytest.fixture
def clocked(dsn, schema):
    with migrated_tables(dsn, schema, test_clock=True) as tables:
        yield tables


@pytest.fixture
def database(clocked):
    database = Database(clocked.dsn, clocked.schema, role="test")
    yield database
    database.close()


def test_time_moves_by_what_it_is_told(clocked, database):
    (before,) = clocked.sql("SELECT durable.now() - now() AS ahead")
    database.run(test_clock.advance, timedelta(days=3))
    database.run(test_clock.advance, timedelta(hours=1))
    (after,) = clocked.sql("SELECT durable.now() - now() AS ahead")
    assert before["ahead"] == timedelta(0)
    assert after["ahead"] == timedelta(days=3, hours=1)


def test_sleepers_are_told_on_both_channels(clocked, database):
    with clocked.listen("sleep") as sleep, clocked.listen("queue") as work:
        database.run(test_clock.advance, timedelta(seconds=1))
        assert heard(sleep) == ["*"]
        assert heard(work) == ["*"]


def test_what_is_due_by_the_moved_clock_is_claimed(clocked, database):
    late = clocked.add(due_in=3600)
    assert database.run(queue.fetch_jobs, "default", 5, "n", None) == []
    database.run(test_clock.advance, timedelta(hours=2))
    assert [claim.id for claim in database.run(queue.fetch_jobs, "default", 5, "n", None)] == [late]


def test_the_claim_still_uses_its_index(clocked):
    clocked.sql("SET enable_seqscan = off")
    plan = clocked.sql(
        "EXPLAIN SELECT id FROM durable.workflow_executions WHERE queue = 'q' AND priority = 0 "
        "AND status IN ('pending', 'compensating') AND lock_token IS NULL "
        "AND scheduled_at <= durable.now()"
    )
    text = "\n".join(line["QUERY PLAN"] for line in plan)
    assert "workflow_executions_claim" in text
    assert "Index Cond" in text
    assert "scheduled_at <=" in text.split("Index Cond")[1].splitlines()[0]


def test_installing_it_again_keeps_the_time(clocked, database):
    database.run(test_clock.advance, timedelta(days=1))
    Migrator(clocked.dsn, clocked.schema).migrate(test_clock=True)
    (row,) = clocked.sql("SELECT durable.now() - now() AS ahead")
    assert row["ahead"] == timedelta(days=1)
