"""The connections of a client: made when first needed, lent to one thread at a time.

psycopg_pool keeps threads of its own, which no fork survives, and lets a caller wait its whole
timeout for a server that is not there. This one has no threads: who finds no idle connection opens
one and hears at once what is wrong with it.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from durable_otp.errors import ConfigError, DatabaseUnreachable, MigrationError
from durable_otp.storage.connecting import (
    CONNECTION_LOST,
    ROLLED_BACK,
    connection_arguments,
    describe_failure,
)
from durable_otp.storage.database import (
    REPEATS_AFTER_ROLLBACK,
    Connection,
    open_connection,
    perform,
)
from durable_otp.storage.foreign import ForeignConnection, execute
from durable_otp.storage.operation import Operation
from durable_otp.storage.statements import statements

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")

DSN_VARIABLE = "DURABLE_DSN"
MAX_CONNECTIONS = 10
_NOT_MIGRATED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
)
_inherited: list["_Idle"] = []
"""Connections of a parent process: neither used nor closed here, or the parent would lose them."""


class _Idle:
    """The idle connections of one process, and how many more may be lent."""

    def __init__(self, size: int) -> None:
        self.pid = os.getpid()
        self.connections: list[Connection] = []
        self.slots = threading.BoundedSemaphore(size)


class PooledDatabase:
    """Runs operations on a few shared connections; any thread may, and any fork of the process.

    Args:
        dsn: A libpq connection string.
        schema: The schema that every statement is written for.
        role: Who speaks, shown as ``application_name``.
        size: The most connections; who finds all of them lent waits for one.
    """

    def __init__(
        self, dsn: str, schema: str, *, role: str = "client", size: int = MAX_CONNECTIONS
    ) -> None:
        self._arguments = connection_arguments(dsn, role)
        self._sql = statements(schema)
        self._schema = schema
        self._size = size
        self._idle = _Idle(size)

    def run(
        self,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        """Run an operation to its committed end; a lost connection is replaced once.

        Raises:
            DatabaseUnreachable: The server does not answer.
            MigrationError: The schema has not the tables that this code is written for.
        """
        try:
            with self._migrated():
                return self._repeated(operation, *args, **kwargs)
        except CONNECTION_LOST as error:
            raise DatabaseUnreachable(
                f"PostgreSQL cannot be reached: {describe_failure(error)}."
            ) from None

    def run_within(
        self,
        connection: ForeignConnection,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        """Run an operation in the transaction of somebody else's connection; commit nothing.

        Raises:
            MigrationError: The schema has not the tables that this code is written for.
            TypeError: It is not a psycopg connection.
        """
        steps = operation(*args, **kwargs)
        with self._migrated():
            try:
                statement = next(steps)
                while True:
                    sql = self._sql[statement.name]
                    statement = steps.send(execute(connection, sql, statement.parameters))
            except StopIteration as end:
                answer: Value = end.value
                return answer

    @contextmanager
    def _migrated(self) -> Iterator[None]:
        """Say what to do when the tables are missing or older than this code."""
        try:
            yield
        except _NOT_MIGRATED as error:
            raise MigrationError(
                f'Schema "{self._schema}" is not migrated to this version of durable-otp '
                f"({describe_failure(error)}); run `durable-otp migrate` or Durable.migrate()."
            ) from None

    def close(self) -> None:
        """Close the idle connections; the next operation opens others."""
        idle = self._here()
        while idle.connections:
            idle.connections.pop().close()

    def _repeated(
        self,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        rollbacks = 0
        replaced = False
        while True:
            try:
                with self._connection(fresh=replaced) as connection:
                    return perform(connection, self._sql, operation, *args, **kwargs)
            except ROLLED_BACK:
                rollbacks += 1
                if rollbacks >= REPEATS_AFTER_ROLLBACK:
                    raise
            except CONNECTION_LOST:
                if replaced:
                    raise
                replaced = True  # an idle connection is often simply gone, and the others with it

    @contextmanager
    def _connection(self, *, fresh: bool) -> Iterator[Connection]:
        """Lend a connection; it comes back unless it broke."""
        idle = self._here()
        with idle.slots:
            connection = None if fresh else _taken(idle.connections)
            if connection is None:
                connection = open_connection(self._arguments)
            try:
                yield connection
            except ROLLED_BACK:
                raise
            except CONNECTION_LOST:
                connection.close()
                raise
            finally:
                _give_back(connection, idle.connections)

    def _here(self) -> _Idle:
        """Return this process's connections: after a fork, none of the parent's."""
        if self._idle.pid != os.getpid():
            _inherited.append(self._idle)
            self._idle = _Idle(self._size)
        return self._idle


def known_dsn(dsn: str | None) -> str:
    """Return a DSN, or that of the environment.

    Raises:
        ConfigError: There is neither.
    """
    found = dsn or os.environ.get(DSN_VARIABLE)
    if not found:
        raise ConfigError(
            f"No database is given; pass dsn or set {DSN_VARIABLE} to a PostgreSQL connection "
            'string such as "postgresql://user@host/database".'
        )
    return found


def _give_back(connection: Connection, connections: list[Connection]) -> None:
    """Keep a connection for the next one, unless it broke or was left in a transaction."""
    if connection.closed or connection.info.transaction_status is not TransactionStatus.IDLE:
        connection.close()
    else:
        connections.append(connection)


def _taken(connections: list[Connection]) -> Connection | None:
    try:
        return connections.pop()
    except IndexError:
        return None
