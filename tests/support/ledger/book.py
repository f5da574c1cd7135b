"""Keeping a ledger beside a schema: made, written and read over connections of its own.

Never through the proxy: what is written here survives the kill or the reset that follows it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.support.ledger.record import Record, Rows
from tests.support.ledger.schema import statements, watching


class Ledger:
    """The ledger of one schema, in a schema of its own beside it.

    Args:
        dsn: The database, directly.
        schema: The product's schema, migrated.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        self.dsn, self.schema, self.name = dsn, schema, f"{schema}_ledger"
        self._connection = psycopg.connect(
            dsn, autocommit=True, row_factory=dict_row, application_name="ledger"
        )
        self._connection.prepare_threshold = None  # tables may be dropped and made again

    def install(self) -> None:
        """Make the tables and the triggers."""
        for statement in statements(self.schema, self.name):
            self._connection.execute(statement.encode())

    def watch(self) -> None:
        """Let the triggers watch tables that have been made anew; harmless where they do."""
        (row,) = self.sql(
            "SELECT count(*) AS n FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE t.tgname = 'ledger_watches' AND c.relnamespace = %s::regnamespace",
            self.schema,
        )
        for statement in watching(self.schema, self.name) if row["n"] == 0 else ():
            self._connection.execute(statement.encode())

    def remove(self) -> None:
        """Drop the ledger; its triggers go with its functions."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SET client_min_messages = error")
            statement = f"DROP SCHEMA IF EXISTS {self.name} CASCADE"
            connection.execute(statement.encode())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def sql(self, statement: str, *parameters: Any) -> Rows:
        """Run SQL written for the schema ``{s}`` and the ledger ``{l}``."""
        text = statement.replace("{s}", self.schema).replace("{l}", self.name)
        cursor = self._connection.execute(text.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    # writing

    def intent(self, key: str, verb: str = "start") -> None:
        """Note what is about to be asked for."""
        self.sql("INSERT INTO {l}.intent (key, verb) VALUES (%s, %s)", key, verb)

    def ack(self, key: str, execution: str | None = None) -> None:
        """Note that it was answered, and with which execution."""
        self.sql("INSERT INTO {l}.ack (key, execution) VALUES (%s, %s)", key, execution)

    def fault(self, kind: str, target: str = "", phase: str = "moment") -> None:
        """Note that something was broken, or began or ceased to be."""
        statement = "INSERT INTO {l}.fault (kind, target, phase) VALUES (%s, %s, %s)"
        self.sql(statement, kind, target, phase)

    # reading

    def mark(self) -> int:
        """Return a number: what is written later has a greater one."""
        (row,) = self.sql("SELECT nextval('{l}.number') AS n")
        return int(row["n"])

    def read(self, since: int = 0) -> Record:
        """Return the record of what came after a mark, and the rows of the executions in it."""
        after = {
            table: self.sql(f"SELECT * FROM {{l}}.{table} WHERE n > %s ORDER BY n", since)
            for table in ("effect", "intent", "ack", "fault", "moves")
        }
        ids = {row["execution"] for row in (*after["moves"], *after["ack"])} - {None}
        return Record(
            effects=after["effect"],
            intents=after["intent"],
            acks=after["ack"],
            faults=after["fault"],
            moves=after["moves"],
            **self._product(ids),
        )

    def _product(self, ids: Iterable[Any]) -> dict[str, Rows]:
        listed = [str(each) for each in ids]
        of = "SELECT * FROM {s}.%s WHERE %s = ANY(%%s::uuid[])"
        tables = {
            "executions": ("workflow_executions", "id"),
            "steps": ("step_executions", "execution_id"),
            "waits": ("waits", "execution_id"),
            "events": ("events", "execution_id"),
            "inputs": ("pending_inputs", "execution_id"),
            "slots": ("schedule_slots", "execution_id"),
            "once": ("once_results", "execution_id"),
            "items_left": ("fan_out_items", "execution_id"),
        }
        return {name: self.sql(of % place, listed) for name, place in tables.items()}

    def sessions(self) -> Rows:
        """Return the sessions of the product's processes that work with this schema, or hold locks.

        The statement shown is each session's last one.
        """
        return self.sql(
            "SELECT a.pid, a.application_name AS app, a.state, a.query, "
            "(SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory') "
            "AS advisory FROM pg_stat_activity a "
            "WHERE a.application_name LIKE 'durable:%%' AND a.query LIKE %s",
            f"%{self.schema}%",
        )


@contextmanager
def kept(dsn: str, schema: str) -> Iterator[Ledger]:
    """Keep a ledger beside a migrated schema, and remove it afterwards."""
    ledger = Ledger(dsn, schema)
    ledger.install()
    try:
        yield ledger
    finally:
        ledger.close()
        ledger.remove()
