"""Connections that the caller opened: their settings and their transactions are the caller's."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import dict_row

from durable_otp.storage.operation import Row


class LoopConnection:
    """A psycopg.AsyncConnection, used from another thread than the one its loop runs in."""

    def __init__(
        self, connection: "psycopg.AsyncConnection[Any]", loop: asyncio.AbstractEventLoop
    ) -> None:
        self._connection = connection
        self._loop = loop

    def execute(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """Run a statement in the connection's loop; blocks until its rows are there."""
        coroutine = self._execute(sql, parameters)
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _execute(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(sql.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []


ForeignConnection: TypeAlias = psycopg.Connection[Any] | LoopConnection
AsyncForeignConnection: TypeAlias = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]


def usable_in_threads(connection: AsyncForeignConnection) -> ForeignConnection:
    """Return a connection as a thread beside the running loop may use it."""
    if isinstance(connection, psycopg.AsyncConnection):
        return LoopConnection(connection, asyncio.get_running_loop())
    return connection


def execute(
    connection: ForeignConnection, sql: str, parameters: Mapping[str, Any]
) -> Sequence[Row]:
    """Run a statement in the connection's transaction.

    Raises:
        TypeError: It is not a psycopg connection.
    """
    if isinstance(connection, LoopConnection):
        return connection.execute(sql, parameters)
    if not isinstance(connection, psycopg.Connection):
        raise TypeError(f"connection must be an open psycopg.Connection, not {connection!r}.")
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(sql.encode(), parameters)
        return cursor.fetchall() if cursor.description else []
