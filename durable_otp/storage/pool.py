"""The connections of a client: a psycopg_pool of one process, opened when first needed.

A pool's threads do not survive a fork, so a forked process makes a pool of its own and leaves its
parent's alone. Before a pool is opened, one connection is tried directly: a caller hears at once
what is wrong with a server that is not there, instead of waiting for the pool's timeout.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import ParamSpec, TypeVar

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from durable_otp.errors import ConfigError, DatabaseUnreachable, MigrationError
from durable_otp.storage.connecting import (
    CONNECTION_LOST,
    NOT_PERMITTED,
    PREPARED_FROM,
    ROLLED_BACK,
    connection_arguments,
    describe_failure,
    not_permitted,
)
from durable_otp.storage.database import (
    REPEATS_AFTER_ROLLBACK,
    Connection,
    configure,
    open_connection,
    perform,
)
from durable_otp.storage.foreign import ForeignConnection, execute
from durable_otp.storage.operation import Operation, Wish
from durable_otp.storage.payloads import WITHOUT, Codecs
from durable_otp.storage.statements import catalogue, statements

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
WAIT_SECONDS = 10.0
_inherited: list["ConnectionPool[Connection]"] = []
"""Pools of a parent process: neither used nor closed here, or the parent would lose them."""


class PooledDatabase:
    """Runs operations on a few shared connections; any thread may, and any fork of the process.

    Args:
        dsn: A libpq connection string.
        schema: The schema that every statement is written for.
        role: Who speaks, shown as ``application_name``.
        size: The most connections; who finds all of them lent waits for one.
        codecs: What payloads are encoded and decoded with.
    """

    def __init__(
        self,
        dsn: str,
        schema: str,
        *,
        role: str = "client",
        size: int = MAX_CONNECTIONS,
        codecs: Codecs = WITHOUT,
    ) -> None:
        self._arguments = connection_arguments(dsn, role)
        self._sql = statements(schema)
        self._schema = schema
        self._codecs = codecs
        self._size = size
        self._pool: ConnectionPool[Connection] | None = None
        self._pid = os.getpid()
        self._opening = Lock()

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
            NotPermitted: The role has not the right.
        """
        try:
            return self._repeated(operation, *args, **kwargs)
        except NOT_PERMITTED as error:
            raise not_permitted(error, self._schema) from None
        except _NOT_MIGRATED as error:
            raise self._not_migrated(error) from None
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
        try:
            statement = next(steps)
            while True:
                sql = self._sql[statement.name]
                payloads = catalogue()[statement.name].payloads
                given = self._codecs.seal(payloads, statement.parameters)
                statement = steps.send(execute(connection, sql, given))
        except StopIteration as end:
            answer: Value = end.value
            return answer
        except NOT_PERMITTED as error:
            raise not_permitted(error, self._schema) from None
        except _NOT_MIGRATED as error:
            raise self._not_migrated(error) from None

    def _not_migrated(self, error: Exception) -> MigrationError:
        """Say what to do when the tables are missing or older than this code."""
        return MigrationError(
            f'Schema "{self._schema}" is not migrated to this version of durable-otp '
            f"({describe_failure(error)}); run `durable-otp migrate` or Durable.migrate()."
        )

    def close(self) -> None:
        """Close the connections; the next operation opens others."""
        with self._opening:
            pool, self._pool = self._here(), None
        if pool is not None:
            pool.close()

    def _repeated(
        self,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        rollbacks = 0
        replaced = False
        while True:
            pool = self._opened()
            connection = self._lent(pool)
            try:
                return perform(connection, operation, *args, **kwargs)
            except ROLLED_BACK:
                rollbacks += 1
                if rollbacks >= REPEATS_AFTER_ROLLBACK:
                    raise
            except psycopg.errors.QueryCanceled:
                raise  # it took longer than its statement_timeout: once more takes as long
            except CONNECTION_LOST:
                if replaced:
                    raise
                replaced = True  # an idle connection is often simply gone, and the others with it
                _repeat(args)
                pool.check()
            finally:
                pool.putconn(connection)  # one that broke is not kept

    def _lent(self, pool: "ConnectionPool[Connection]") -> Connection:
        """Return a connection to use and put back."""
        try:
            return pool.getconn()
        except PoolTimeout:
            open_connection(
                self._arguments, self._schema
            ).close()  # says why, if the server is the reason
            raise DatabaseUnreachable(
                f"All {self._size} connections of this client are in use; use fewer threads."
            ) from None

    def _opened(self) -> "ConnectionPool[Connection]":
        """Return this process's pool, opened."""
        with self._opening:
            pool = self._here()
            if pool is None:
                open_connection(self._arguments, self._schema).close()
                pool = self._pool = ConnectionPool(
                    kwargs={
                        **self._arguments,
                        "autocommit": True,
                        "row_factory": dict_row,
                        "prepare_threshold": PREPARED_FROM,
                    },
                    connection_class=Connection,
                    configure=partial(configure, schema=self._schema, codecs=self._codecs),
                    min_size=0,
                    max_size=self._size,
                    timeout=WAIT_SECONDS,
                    open=True,
                )
            return pool

    def _here(self) -> "ConnectionPool[Connection] | None":
        """Return this process's pool, if there is one: after a fork, none of the parent's."""
        if self._pid != os.getpid():
            if self._pool is not None:
                _inherited.append(self._pool)
            self._pool, self._pid = None, os.getpid()
        return self._pool


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


def _repeat(args: Sequence[object]) -> None:
    """Tell what is asked once more that it is."""
    for each in args:
        if isinstance(each, Wish):
            each.is_repeated = True
