"""The plans of lists and counts: what is rare costs little, however much has ended beside it."""

from collections.abc import Iterator

import pytest

from durable_otp.storage.reports import Filters
from tests.storage.test_claims_plan import explained
from tests.support.postgres import fresh_schema
from tests.support.tables import Tables, migrated_tables

ENDED = 100_000
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
        tables.sql("VACUUM ANALYZE durable.workflow_executions")
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
