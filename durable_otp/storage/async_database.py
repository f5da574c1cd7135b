"""Running operations on an event loop: one statement in flight, none for longer than a deadline.

A queue manager must notice deaths while PostgreSQL is silent, so it never waits in SQL: a statement
whose answer does not come in time costs its connection, not the loop.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar

from psycopg.rows import dict_row

from durable_otp.errors import DatabaseUnreachable
from durable_otp.storage.connecting import (
    CONNECTION_LOST,
    KEYED_SETTINGS,
    ROLLED_BACK,
    AsyncConnection,
    connection_arguments,
    describe_failure,
    read_json,
    session,
)
from durable_otp.storage.named import NamedStatements, answered
from durable_otp.storage.operation import TRANSACTION, Operation, Row
from durable_otp.storage.payloads import WITHOUT, Codecs
from durable_otp.storage.statements import Statement

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")


class AsyncDatabase:
    """One connection of one event loop; operations queue for it and are run one after another.

    Args:
        dsn: A libpq connection string.
        schema: The schema that every statement is written for.
        role: Who speaks, shown as ``application_name``.
        deadline: Seconds an operation may take; after that its connection is dropped.
        codecs: What payloads are encoded and decoded with.
    """

    def __init__(
        self, dsn: str, schema: str, *, role: str, deadline: float, codecs: Codecs = WITHOUT
    ) -> None:
        self._arguments = connection_arguments(dsn, role)
        self._schema = schema
        self._codecs = codecs
        self._deadline = deadline
        self._connection: _Connection | None = None
        self._turn = asyncio.Lock()
        self.connections_opened = 0

    async def run(
        self,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        """Run an operation once, to its committed end or to an error.

        Raises:
            DatabaseUnreachable: The connection is lost, refused or silent; whether the operation
                took effect is unknown. The next call opens another connection.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(self._deadline):
                    return await self._perform(operation, *args, **kwargs)
            except (TimeoutError, *CONNECTION_LOST) as error:
                await self._drop()
                raise DatabaseUnreachable(
                    f"PostgreSQL does not answer: {describe_failure(error)}."
                ) from None
            except asyncio.CancelledError:
                await self._drop()  # the statement may still be running in it
                raise

    async def notifications(self, listen: Sequence[str]) -> AsyncGenerator[tuple[str, str], None]:
        """Yield (channel, payload) of notifications until the connection is lost.

        Yields ``("", "")`` first, once the LISTENs are in force: the caller looks at everything
        then, because what happened before was not heard. Ends at once behind a pooler, where
        nothing is to be heard.

        Raises:
            DatabaseUnreachable: The connection is lost.
        """
        try:
            connection = await self._connected()
            if connection.is_pooled:
                return
            for name in listen:
                await connection.run(Statement(name))
            yield "", ""
            async for notice in connection.notifies():
                yield notice.channel, notice.payload
        except CONNECTION_LOST as error:
            raise DatabaseUnreachable(describe_failure(error)) from None
        finally:
            await self._drop()

    def fileno(self) -> int | None:
        """Return the connection's descriptor; None while there is none."""
        if self._connection is None or self._connection.closed:
            return None
        return self._connection.fileno()

    async def close(self) -> None:
        """Close the connection."""
        await self._drop()

    async def _perform(
        self,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        for attempt in range(10):
            connection = await self._connected()
            try:
                async with _transaction_of(connection, operation):
                    return await _drive(connection, operation(*args, **kwargs))
            except ROLLED_BACK:
                await asyncio.sleep(random.uniform(0, 0.01 * attempt))  # noqa: S311 - jitter
        raise DatabaseUnreachable("PostgreSQL rolled the same transaction back ten times.")

    async def _connected(self) -> "_Connection":
        if self._connection is None or self._connection.closed:
            connection = await _Connection.connect(
                **self._arguments, autocommit=True, row_factory=dict_row, prepare_threshold=0
            )
            read_json(connection)
            self._connection = connection
            await connection.become_ours()
            connection.named = NamedStatements(connection, self._schema, self._codecs)
            self.connections_opened += 1
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.closed:
            connection.pgconn.finish()  # at once: AsyncConnection.close may wait for a statement


class _Connection(AsyncConnection):
    """A connection of an event loop that also runs the named statements of a schema."""

    named: NamedStatements
    is_pooled = False
    """Whether a pooler is in between, so that the session is lent for a transaction at a time."""

    async def become_ours(self) -> None:
        """Apply a manager's settings; behind a pooler, leave nothing in its sessions."""
        cursor = await self.execute(session(KEYED_SETTINGS, self).encode(), prepare=False)
        row: Any = await cursor.fetchone()
        self.is_pooled = not row["is_own"]
        if self.is_pooled:
            self.prepare_threshold = None

    async def run(self, statement: Statement) -> Sequence[Row]:
        exchange = self.named.exchange(statement)
        try:
            while True:
                next(exchange)
                await self.wait(answered(self.pgconn))
        except StopIteration as end:
            rows: Sequence[Row] = end.value
            return rows


async def _drive(connection: _Connection, steps: Operation[Value]) -> Value:
    try:
        statement = next(steps)
        while True:
            statement = steps.send(await connection.run(statement))
    except StopIteration as end:
        answer: Value = end.value
        return answer


def _transaction_of(
    connection: _Connection, operation: Callable[..., Any]
) -> AbstractAsyncContextManager[Any]:
    if getattr(operation, TRANSACTION, False):
        return connection.transaction()
    return nullcontext()
