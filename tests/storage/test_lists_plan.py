"""The plans of lists and counts: what is rare costs little, however much has ended beside it."""

from collections.abc import Iterator

import psycopg
import pytest

from durable_otp.storage.reports import Filters
from durable_otp.storage.statements import statements
from tests.storage.test_claims_plan import explained
from tests.support.postgres import fresh_schema
from tests.support.tables import Tables, migrated_tables

ENDED = 100_000
COSTS_NOTHING = ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_index_scan_size")
PAGE = {"after": None, "after_inserted_at": None, "limit": 50}


@pytest.fixture(scope="module")
def crowded(postgres_dsn: str) -> Iterator[Tables]:
    """Many completed executions of one workflow and queue, and a few others."""
    with fresh_schema(postgres_dsn) as schema, migrated_tables(postgres_dsn, schema) as tables:
        tables.sql(
            """INSERT INTO durable.workflow_executions
                   (id, workflow, version, status, queue, inserted_at, updated_at, completed_at)
               SELECT gen_random_uuid(), 'w', '1', CASE number %% 1000 WHEN 0 THEN 'failed'
                      ELSE 'completed' END, 'q', now() + number * interval '1 ms', now(), now()
               FROM generate_series(1, %(count)s) AS number""",
            {"count": ENDED},
        )
        for _ in range(3):
            tables.add(workflow="rare", queue="rare")
        tables.vacuum("workflow_executions")
        yield tables


@pytest.mark.parametrize("name", ["list_newest", "list_oldest", "count_executions"])
@pytest.mark.parametrize(
    "filters",
    [
        Filters(status="pending"),
        Filters(status=["waiting", "running"]),
        Filters(status="compensation_failed"),
        Filters(status="failed"),
        Filters(workflow="rare"),
        Filters(queue="rare", status="pending"),
        Filters(workflow="w", status="cancelled"),
        Filters(queue="nobody's"),
    ],
    ids=str,
)
def test_what_is_rare_is_found_without_reading_the_rest(crowded, name, filters):
    parameters = {**(filters.parameters() or {}), **(PAGE if name != "count_executions" else {})}
    plan, blocks = explained(crowded, name, "force_custom_plan", **parameters)
    assert "Seq Scan" not in plan
    assert blocks < 400  # the table has thousands


@pytest.mark.parametrize("name", ["list_newest", "list_oldest"])
def test_a_page_of_everything_reads_a_page(crowded, name):
    parameters = {**(Filters().parameters() or {}), **PAGE}
    _, blocks = explained(crowded, name, "force_custom_plan", **parameters)
    assert blocks < 400


@pytest.mark.parametrize("queue", [None, "q"])
def test_several_processes_may_count_what_has_ended_in_an_index_alone(crowded, queue):
    with psycopg.connect(crowded.dsn) as connection:
        for setting in COSTS_NOTHING:  # as it is with millions of rows, and wider ones
            connection.execute(f"SET {setting} = 0".encode())
        connection.execute("SET enable_seqscan = off")
        sql = f"EXPLAIN {statements(crowded.schema)['queue_stats']}"
        plan = connection.execute(sql.encode(), {"queue": queue}).fetchall()
    assert any("Parallel Index Only Scan" in line for (line,) in plan)
