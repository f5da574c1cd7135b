"""Rows for tests: a migrated schema, ways to fill it, to look at it and to empty it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from durable_otp.storage.migrator import Migrator
from durable_otp.storage.statements import in_schema
from tests.support.waiting import wait_until

TABLES = (
    "workflow_executions, fan_outs, step_executions, waits, events, once_results, pending_inputs, "
    "scheduled_workflows, schedule_slots, definitions, nodes, queue_managers, queues, "
    "queue_limits, commands, subscriptions, process_lives"
)
HOLDER = {"locked_by": "somebody", "lock_token": "00000000-0000-4000-8000-000000000001"}


class Tables:
    """A migrated schema, as a test looks at it: plain SQL, written for the schema `durable`."""

    def __init__(self, dsn: str, schema: str) -> None:
        self.dsn = dsn
        self.schema = schema
        self.connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.connection.execute("SET lock_timeout = '10s'")  # a lock that a test left fails soon

    def sql(self, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Run SQL and return its rows."""
        text = in_schema(statement, self.schema)
        cursor = self.connection.execute(text.encode(), parameters)
        return cursor.fetchall() if cursor.description is not None else []

    def vacuum(self, table: str) -> None:
        """Bring a table to where autovacuum would, once no other test has an old snapshot open."""
        name = f"durable.{table}"
        seen = (
            f"SELECT relallvisible >= relpages AS all FROM pg_class WHERE oid = '{name}'::regclass"
        )

        def all_is_visible() -> bool:
            self.sql(f"VACUUM ANALYZE {name}")
            return bool(self.sql(seen)[0]["all"])

        wait_until(all_is_visible, timeout=90, what=f"a vacuum of {table} that leaves nothing")

    def add(self, status: str = "pending", *, due_in: float | None = 0, **columns: Any) -> str:
        """Insert an execution and return its id; what is held gets a holder, what ended an end."""
        given = {"id": str(uuid.uuid4()), "workflow": "w", "version": "1", "status": status}
        held = status == "running" or "lock_token" in columns
        if held:
            given |= HOLDER
        given |= {
            name: Jsonb(value) if isinstance(value, dict | list) else value
            for name, value in columns.items()
        }
        clocks = {"inserted_at": "durable.now()", "updated_at": "durable.now()"}
        if held:
            clocks["locked_at"] = "durable.now()"
        if due_in is not None:
            clocks["scheduled_at"] = f"durable.now() + make_interval(secs => {due_in})"
        if status in ("completed", "failed", "cancelled", "compensated", "compensation_failed"):
            clocks["completed_at"] = "durable.now()"
        clocks = {name: value for name, value in clocks.items() if name not in given}
        names = [*given, *clocks]
        values = [f"%({name})s" for name in given] + list(clocks.values())
        self.sql(
            f"INSERT INTO durable.workflow_executions ({', '.join(names)}) "
            f"VALUES ({', '.join(values)})",
            given,
        )
        return str(given["id"])

    def add_step(self, execution_id: str, position: int, **columns: Any) -> None:
        """Insert a completed step of an execution, or another attempt if columns say so."""
        given = {
            "id": str(uuid.uuid4()),
            "execution_id": execution_id,
            "position": position,
            "path": f"step{position}",
            "name": f"step{position}",
            "status": "completed",
        } | {
            name: Jsonb(value) if isinstance(value, dict | list) else value
            for name, value in columns.items()
        }
        values = ", ".join(f"%({name})s" for name in given)
        self.sql(
            f"INSERT INTO durable.step_executions ({', '.join(given)}, completed_at) "
            f"VALUES ({values}, durable.now())",
            given,
        )

    def add_wait(self, execution_id: str, **columns: Any) -> None:
        """Insert an open wait of an execution."""
        given = {
            "id": str(uuid.uuid4()),
            "execution_id": execution_id,
            "path": "step1",
            "visit": 1,
            "ordinal": 1,
            "kind": "event",
        } | columns
        values = ", ".join(f"%({name})s" for name in given)
        self.sql(
            f"INSERT INTO durable.waits ({', '.join(given)}, created_at) "
            f"VALUES ({values}, durable.now())",
            given,
        )

    def row(self, execution_id: str) -> dict[str, Any]:
        """Return an execution's row."""
        (row,) = self.sql("SELECT * FROM durable.workflow_executions WHERE id = %s", [execution_id])
        return row

    def status(self, execution_id: str) -> str:
        """Return an execution's status."""
        return str(self.row(execution_id)["status"])

    def listen(self, channel: str) -> "psycopg.Connection[Any]":
        """Return a connection that listens on a channel; the caller closes it."""
        connection = psycopg.connect(self.dsn, autocommit=True)
        connection.execute(f'LISTEN "{self.schema}:{channel}"'.encode())
        return connection

    def empty(self) -> None:
        """Remove every row."""
        self.sql(
            "UPDATE durable.workflow_executions SET parent_id = NULL WHERE parent_id IS NOT NULL"
        )
        for table in TABLES.split(", ")[::-1]:
            self.sql(f"DELETE FROM durable.{table}")


def heard(connection: "psycopg.Connection[Any]", *, within: float = 0.3) -> list[str]:
    """Return the payloads that arrive in a short while."""
    return [notice.payload for notice in connection.notifies(timeout=within)]


@contextmanager
def migrated_tables(dsn: str, schema: str, *, test_clock: bool = False) -> Iterator[Tables]:
    """Migrate a schema and give its tables."""
    Migrator(dsn, schema).migrate(test_clock=test_clock)
    tables = Tables(dsn, schema)
    try:
        yield tables
    finally:
        tables.connection.close()
