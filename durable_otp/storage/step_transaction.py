"""The transaction of a step's body and its checkpoint, on the worker's own connection.

The row's id is made before the first try. When the connection is lost at the commit, that row tells
whether it was committed; if not, nothing of the body's was either, and it runs again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row, tuple_row

from durable_otp.engine.journal import TransactionRefused
from durable_otp.storage.connecting import CONNECTION_LOST
from durable_otp.storage.database import Connection, Database
from durable_otp.storage.operation import Operation, Row
from durable_otp.storage.statements import Statement

Parameters = dict[str, Any]
Body = Callable[[Connection], tuple[str, Parameters] | None]
"""Runs in the transaction; returns the statement that records it, or None to keep nothing."""


def run_in_transaction(database: Database, body: Body) -> Sequence[Row] | None:
    """Run a body and what records it in one transaction; blocks until it is committed.

    Returns the rows of the statement (none: the claim is lost, and nothing is kept), or None when
    the body had nothing recorded. A body whose connection is lost runs again.

    Raises:
        TransactionRefused: PostgreSQL does not take the row, or does not commit.
        DatabaseUnreachable: The connection is lost and waiting for another was given up.
    """
    while True:
        recorded: Parameters = {}
        try:
            return _once(database.run(_the_connection, database), body, recorded)
        except CONNECTION_LOST:
            database.close()
            rows = database.run(_recorded, recorded) if recorded else ()
            if rows:
                return rows


def _once(connection: Connection, body: Body, recorded: Parameters) -> Sequence[Row] | None:
    rows: Sequence[Row] | None = None
    plain: psycopg.Connection[Any] = connection
    plain.row_factory = tuple_row  # what a psycopg connection is expected to give
    try:
        with connection.transaction() as transaction:
            connection.run(Statement("keep_transaction_open"))
            to_record = body(connection)
            if connection.closed:
                raise psycopg.OperationalError("the connection was lost while the step ran")
            if to_record is not None:
                name, parameters = to_record
                recorded |= parameters
                rows = connection.run(Statement(name, parameters))
            if not rows:
                raise psycopg.Rollback(transaction)
    except CONNECTION_LOST:
        raise
    except psycopg.Error as error:
        raise TransactionRefused from error
    finally:
        plain.row_factory = dict_row
    return rows


def _recorded(parameters: Parameters) -> Operation[Sequence[Row]]:
    return (yield Statement("step_is_recorded", parameters))


def _the_connection(database: Database) -> Operation[Connection]:
    """Return an open connection, waiting for the server as every operation does."""
    yield Statement("database_now")
    return database.connection()
