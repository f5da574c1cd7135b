"""The ledger: nobody can tidy it up, and it sees what the product's rows go through."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from durable_otp.storage.adapter import PostgresAdapter
from tests.support.ledger import Ledger, check, violations
from tests.support.ledger.book import kept
from tests.support.postgres import fresh_schema
from tests.support.tables import Tables, migrated_tables


@pytest.fixture
def watched(postgres_dsn: str) -> Iterator[tuple[Tables, Ledger]]:
    with (
        fresh_schema(postgres_dsn) as schema,
        migrated_tables(postgres_dsn, schema) as tables,
        kept(postgres_dsn, schema) as ledger,
    ):
        yield tables, ledger


@pytest.mark.parametrize("table", ["effect", "intent", "ack", "fault", "moves"])
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET n = n"])
def test_nobody_changes_what_is_written(watched, table, verb):
    _, ledger = watched
    ledger.intent("one")
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        ledger.sql(verb.format(f"{{l}}.{table}"))


def test_a_claim_and_its_end_leave_lines_and_a_heartbeat_none(watched):
    tables, ledger = watched
    ledger.intent("one")
    execution = tables.add(idempotency_key="one")
    ledger.ack("one", execution)
    with PostgresAdapter(tables.dsn, schema=tables.schema) as adapter:
        (job,) = adapter.fetch_jobs("default", 1, "node")
        adapter.heartbeat(job.id)
        adapter.ack(job.id)
    record = ledger.read()
    statuses = [(move["old_status"], move["new_status"]) for move in record.moves]
    assert statuses == [(None, "pending"), ("pending", "running"), ("running", "completed")]
    claim, end = record.moves[1:]
    assert str(claim["new_token"]) == str(end["old_token"]) == job.lock_token
    assert end["new_token"] is None
    check(record)


def test_what_is_rolled_back_leaves_no_line(watched):
    tables, ledger = watched
    with tables.connection.transaction() as transaction:
        tables.add()
        raise psycopg.Rollback(transaction)
    assert ledger.read().moves == []


def test_a_mark_parts_what_was_from_what_comes(watched):
    tables, ledger = watched
    first = tables.add()
    mark = ledger.mark()
    second = tables.add()
    assert [str(row["id"]) for row in ledger.read(mark).executions] == [second]
    assert {str(row["id"]) for row in ledger.read().executions} == {first, second}


def test_a_step_is_noted_with_the_token_it_was_written_under(watched):
    tables, ledger = watched
    execution = tables.add("running", lock_token=str(uuid.uuid4()), locked_by="m")
    tables.add_step(execution, 1)
    (line,) = ledger.read().of("step_executions")
    assert str(line["new_token"]) == str(tables.row(execution)["lock_token"])


def test_a_fault_in_the_rows_themselves_is_found(watched):
    tables, ledger = watched
    execution = tables.add("completed", idempotency_key="two")
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'failed' WHERE id = %s", [execution]
    )
    found = " ".join(violations(ledger.read()))
    for name in ("I-2", "I-3", "I-4", "I-5"):
        assert name in found
