"""Tables filled as years of work would have filled them, in minutes.

Every row is as the engine writes it: UUIDv7 keys in the order of time, one journal row for each
execution, some children, some failures. Indexes are dropped for a large fill and built again.
"""

from typing import Any

import psycopg
from psycopg import sql

from bench.setting import note

CHUNK = 250_000
INDEXED_UP_TO = 100_000
"""More rows than this are inserted without indexes."""
SECONDS_BETWEEN = 1.5
OLDEST = "90 days"
TABLES = ("workflow_executions", "step_executions")

MAKE_ID = """
CREATE OR REPLACE FUNCTION {schema}.bench_id(at timestamptz, n bigint, kind text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
            || lpad(to_hex(n %% 4096), 3, '0') || '8' || substr(md5(kind || n), 1, 15))::uuid
$$
""".replace("%%", "%")

FINISHED = """
WITH made AS MATERIALIZED (
    SELECT n, at, {schema}.bench_id(at, n, 'execution') AS id,
           CASE WHEN n %% 100 < 95 THEN 'completed' WHEN n %% 100 < 98 THEN 'failed'
                WHEN n %% 100 < 99 THEN 'cancelled' ELSE 'compensated' END AS status,
           CASE WHEN n %% 10 = 9 THEN {schema}.bench_id(
               at - %(seconds)s * interval '1 second', n - 1, 'execution') END AS parent_id
    FROM (SELECT n, %(oldest)s::timestamptz
                    + (n - %(first)s) * %(seconds)s * interval '1 second' AS at
          FROM generate_series(%(first)s::bigint, %(last)s::bigint) n) numbered
), executions AS (
    INSERT INTO {schema}.workflow_executions
        (id, workflow, version, status, queue, input, error, idempotency_key, parent_id,
         parent_path, parent_visit, scheduled_at, started_at, completed_at, inserted_at, updated_at)
    SELECT id, 'workflow_' || n %% 20, '1', status, 'queue_' || n %% 10,
           jsonb_build_object('order', n, 'items', '[{{"sku": "a-1", "price": 12}}]'::jsonb),
           CASE WHEN status = 'failed'
                THEN '{{"type": "ValueError", "message": "no such order"}}'::jsonb END,
           CASE WHEN n %% 5 = 0 THEN 'order-' || n END,
           parent_id, CASE WHEN parent_id IS NOT NULL THEN 'call' END,
           CASE WHEN parent_id IS NOT NULL THEN 1 END,
           at, at + interval '5 ms', at + interval '20 ms', at, at + interval '20 ms'
    FROM made
)
INSERT INTO {schema}.step_executions
    (id, execution_id, position, path, name, status, output, error, changes, started_at,
     completed_at, duration_ms, compensation)
SELECT {schema}.bench_id(at, n, 'step'), id, 1, 'charge', 'charge',
       CASE WHEN status = 'failed' THEN 'failed' ELSE 'completed' END,
       '{{"ok": true, "charge_id": 12345}}',
       CASE WHEN status = 'failed'
            THEN '{{"type": "ValueError", "message": "no such order"}}'::jsonb END,
       CASE WHEN status <> 'failed'
            THEN '[["set", "ok", true], ["set", "charge_id", 12345]]'::jsonb END,
       at + interval '6 ms', at + interval '18 ms', 12,
       CASE WHEN status = 'compensated' THEN 'refund' END
FROM made
"""

PENDING = """
INSERT INTO {schema}.workflow_executions
    (id, workflow, version, queue, priority, input, scheduled_at, inserted_at, updated_at)
SELECT {schema}.bench_id(now(), n, 'pending'), %(workflow)s, '1',
       CASE WHEN %(queues)s = 1 THEN %(queue)s ELSE %(queue)s || '_' || n %% %(queues)s END,
       n %% %(priorities)s, '{{"n": 1}}', now() + %(due_in)s * interval '1 second'
                                              + n * interval '1 microsecond', now(), now()
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
"""


def finished(dsn: str, name: str, rows: int) -> None:
    """Have so many finished executions, adding what is missing."""
    with _filler(dsn, name) as connection:
        oldest, there = _one(
            connection,
            _in(
                name,
                "SELECT coalesce(max(inserted_at), now() - %s::interval), count(*) "
                "FROM {schema}.workflow_executions WHERE completed_at IS NOT NULL",
            ),
            [OLDEST],
        )
        if there >= rows:
            return
        indexes = _drop_indexes(connection, name) if rows - there > INDEXED_UP_TO else []
        for first in range(there, rows, CHUNK):
            note(f"filling: {first:,} of {rows:,}")
            last = min(first + CHUNK, rows) - 1
            place = {"first": first, "last": last, "seconds": SECONDS_BETWEEN, "oldest": oldest}
            connection.execute(_in(name, FINISHED), place)
            oldest = _one(
                connection, "SELECT %s + %s * interval '1 s'",
                [oldest, (last - first + 1) * SECONDS_BETWEEN],
            )[0]  # fmt: skip
        _build_indexes(connection, indexes)
    settle(dsn, name)


def pending(  # noqa: PLR0913 - a row has as many sides
    dsn: str,
    name: str,
    rows: int,
    *,
    workflow: str,
    queue: str = "default",
    queues: int = 1,
    priorities: int = 1,
    due_in: float = -3600.0,
    first: int = 0,
    settled: bool = True,
) -> None:
    """Add so many pending executions, spread evenly over queues and priorities."""
    with _filler(dsn, name) as connection:
        indexes = _drop_indexes(connection, name) if rows > INDEXED_UP_TO else []
        for begin in range(first, first + rows, CHUNK):
            last = min(begin + CHUNK, first + rows) - 1
            connection.execute(
                _in(name, PENDING),
                {
                    "first": begin, "last": last, "workflow": workflow,
                    "queue": queue, "queues": queues, "priorities": priorities, "due_in": due_in,
                },
            )  # fmt: skip
        _build_indexes(connection, indexes)
    if settled:
        settle(dsn, name)


def settle(dsn: str, name: str) -> None:
    """Leave nothing to autovacuum and the checkpointer of what filling has caused."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(f'VACUUM ANALYZE "{name}".{table}'.encode())
        connection.execute("CHECKPOINT")


def _filler(dsn: str, name: str) -> psycopg.Connection[Any]:
    """Return a connection that skips triggers and foreign keys: what is filled in is consistent."""
    connection = psycopg.connect(dsn, autocommit=True)
    connection.execute("SET session_replication_role = replica")
    connection.execute("SET synchronous_commit = off")
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute("SET client_min_messages = error")
    connection.execute(_in(name, MAKE_ID))
    return connection


def _drop_indexes(connection: psycopg.Connection[Any], name: str) -> list[str]:
    """Drop every index that is not a key's and return how each is made."""
    found = connection.execute(
        "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i "
        "WHERE i.indrelid = ANY(%s::regclass[]) AND NOT i.indisprimary",
        [[f'"{name}".{table}' for table in TABLES]],
    ).fetchall()
    for index, _ in found:
        connection.execute(f"DROP INDEX {index}".encode())
    return [definition for _, definition in found]


def _build_indexes(connection: psycopg.Connection[Any], definitions: list[str]) -> None:
    for definition in definitions:
        note(f"building: {definition.split(' ON ')[0]}")
        connection.execute(definition.encode())


def _in(name: str, statement: str) -> sql.Composed:
    return sql.SQL(statement).format(schema=sql.Identifier(name))  # type: ignore[arg-type]


def _one(connection: psycopg.Connection[Any], statement: Any, parameters: list[Any]) -> Any:
    return connection.execute(statement, parameters).fetchone()
