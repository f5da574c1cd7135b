"""The claim's plan: what is not due yet costs nothing, however much of it there is."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from durable_otp.storage.statements import statements
from tests.support.postgres import fresh_schema
from tests.support.tables import Tables, migrated_tables

FUTURE_ROWS = 100_000  # at each of three priorities
INDEX = "workflow_executions_claim"
NOBODY = "00000000-0000-0000-0000-000000000000"
WHOLE = {"priorities": None, "instants": None, "ids": None}
STEP: dict[str, object] = {
    "step_id": NOBODY,
    "position": 1,
    "path": "a",
    "name": "a",
    "type": "step",
    "visit": 1,
    "attempt": 1,
    "output": "1",
    "changes": "{}",
    "snapshot": None,
    "results": None,
    "next_path": "b",
    "jumps": 0,
    "compensation": None,
    "logs": "[]",
    "duration": 0.1,
    "cpu_seconds": 0.05,
    "peak_rss": 30_000_000,
    "process": "0000000a:1",
    "result": None,
    "new_token": NOBODY,
}


@pytest.fixture(scope="module")
def crowded(postgres_dsn: str) -> Iterator[Tables]:
    """Many rows that are not due at each of three priorities, and a few that are."""
    with fresh_schema(postgres_dsn) as schema, migrated_tables(postgres_dsn, schema) as tables:
        tables.sql(
            """INSERT INTO durable.workflow_executions
                   (id, workflow, version, priority, scheduled_at, inserted_at, updated_at)
               SELECT gen_random_uuid(), 'w', '1', number %% 3, now() + interval '1 hour',
                      now(), now()
               FROM generate_series(1, %(count)s) AS number""",
            {"count": 3 * FUTURE_ROWS},
        )
        tables.sql(
            """INSERT INTO durable.step_executions
                   (id, execution_id, position, path, name, status, completed_at)
               SELECT gen_random_uuid(), id, 1, 'a', 'a', 'completed', now()
               FROM durable.workflow_executions LIMIT 50000"""
        )
        tables.sql(
            """INSERT INTO durable.waits
                   (id, execution_id, path, visit, ordinal, kind, status, created_at)
               SELECT gen_random_uuid(), id, 'a', 1, 1, 'event', 'answered', now()
               FROM durable.workflow_executions LIMIT 20000"""
        )
        for number in range(30):
            tables.add(priority=number % 3, due_in=-number)
        for table in ("workflow_executions", "step_executions", "waits"):
            tables.vacuum(table)
        yield tables


def explained(tables: Tables, name: str, mode: str, /, **parameters: object) -> tuple[str, int]:
    """Return a statement's plan and the buffers it touched, with the parameters bound as asked."""
    sql = statements(tables.schema)[name]
    with psycopg.connect(tables.dsn) as connection:
        connection.execute(f"SET plan_cache_mode = {mode}")
        connection.prepare_threshold = 0
        connection.execute("SET jit = off")
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"
        (row,) = connection.execute(explain.encode(), parameters).fetchone() or ([],)
        connection.rollback()
    plan = row[0]["Plan"]
    return json.dumps(plan), plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("workflows", [None, ["w", "x"]])
@pytest.mark.parametrize("limit", [10, 100], ids=["fewer than are due", "more than are due"])
def test_the_claim_reads_what_is_due_and_little_else(crowded, mode, workflows, limit):
    versions = None if workflows is None else ["1" for _ in workflows]
    plan, blocks = explained(
        crowded,
        "fetch_jobs",
        mode,
        queue="default",
        limit=limit,
        node_id="n",
        workflows=workflows,
        versions=versions,
        **WHOLE,
    )
    assert INDEX in plan
    assert "Seq Scan" not in plan
    assert blocks < 1000  # most of them for the rows it writes


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_looking_for_the_next_due_row_reads_one_row_a_priority(crowded, mode):
    plan, blocks = explained(
        crowded, "next_due", mode, queue="default", workflows=None, versions=None
    )
    assert INDEX in plan
    assert "Seq Scan" not in plan
    assert blocks < 100


def test_claims_onwards_do_not_pass_what_an_old_snapshot_keeps(postgres_dsn):
    with fresh_schema(postgres_dsn) as schema, migrated_tables(postgres_dsn, schema) as tables:
        tables.sql(
            """INSERT INTO durable.workflow_executions
                   (id, workflow, version, scheduled_at, inserted_at, updated_at)
               SELECT gen_random_uuid(), 'w', '1', now() - random() * interval '1 h', now(), now()
               FROM generate_series(1, 6000) AS number"""
        )
        named = {"queue": "default", "node_id": "n", "workflows": None, "versions": None}
        with psycopg.connect(postgres_dsn) as old:
            old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            old.execute("SELECT txid_current()")
            gone = tables.sql(statements(schema)["fetch_jobs"], {**named, "limit": 5000, **WHOLE})
            last = max((row["scheduled_at"], row["id"]) for row in gone)
            place = {"priorities": [0], "instants": [last[0]], "ids": [last[1]]}
            few = {**named, "limit": 10}
            _, whole = explained(tables, "fetch_jobs", "force_generic_plan", **few, **WHOLE)
            plan, onwards = explained(tables, "fetch_jobs", "force_generic_plan", **few, **place)
        assert INDEX in plan
        assert whole > 4000
        assert onwards < 600


def test_an_empty_queue_costs_next_to_nothing(crowded):
    parameters = {"limit": 10, "node_id": "n", "workflows": None, "versions": None, **WHOLE}
    _, blocks = explained(crowded, "fetch_jobs", "auto", queue="empty", **parameters)
    assert blocks < 20


@pytest.mark.parametrize(
    ("name", "index", "parameters"),
    [
        (
            "recover_stale_locks",
            "workflow_executions_held",
            {"timeout": 300, "live": [], "batch_size": 100, "max_interruptions": 20},
        ),
        (
            "recover_claims",
            "workflow_executions_held",
            {
                "holders": ["n1"],
                "kept": [],
                "counted": 1,
                "batch_size": 100,
                "max_interruptions": 20,
            },
        ),
        ("wake_sleeping_workflows", "workflow_executions_waiting", {"batch_size": 100}),
        ("next_wake", "workflow_executions_waiting", {}),
        (
            "recover_zombie_workflows",
            "workflow_executions_waiting",
            {"timeout": 300, "batch_size": 100},
        ),
        ("status_of", "workflow_executions_pkey", {"id": NOBODY}),
        ("lock_overdue", "workflow_executions_deadline", {"batch_size": 100}),
    ],
)
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_what_runs_every_second_has_its_index(crowded, name, index, parameters, mode):
    plan, blocks = explained(crowded, name, mode, **parameters)
    assert index in plan
    assert "Seq Scan" not in plan
    assert blocks < 100


@pytest.mark.parametrize("name", ["checkpoint", "complete", "condemn", "ack"])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_claim_is_found_by_its_id_though_statistics_say_that_there_are_no_claims(
    crowded, name, mode
):
    plan, _ = explained(crowded, name, mode, id=NOBODY, lock_token=NOBODY, **STEP)
    assert "workflow_executions_pkey" in plan
    assert "workflow_executions_held" not in plan
