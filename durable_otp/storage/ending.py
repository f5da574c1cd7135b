"""Hearing of the end of executions: a connection that listens, with a poll behind it."""

from typing import Self

import psycopg

from durable_otp.clock import Deadline
from durable_otp.errors import DatabaseUnreachable
from durable_otp.storage.connecting import (
    CONNECTION_LOST,
    connection_arguments,
    describe_failure,
)
from durable_otp.storage.database import Connection, open_connection
from durable_otp.storage.statements import Statement


class EndListener:
    """A connection that hears which watched executions end; a context manager.

    Raises:
        DatabaseUnreachable: On entering or waiting, when the server does not answer.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        self._arguments = connection_arguments(dsn, "client listener")
        self._schema = schema
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        try:
            self._connection = open_connection(self._arguments, self._schema)
            if not self._connection.is_pooled:  # behind a pooler, the poll has to do
                self._connection.run(Statement("listen_done"))
        except CONNECTION_LOST as error:
            self._close()
            raise _unreachable(error) from None
        return self

    def __exit__(self, *_exception: object) -> None:
        self._close()

    def wait(self, execution_id: str, seconds: float) -> bool:
        """Return True when the execution's end is heard, False when the time has passed."""
        if self._connection is None:
            raise RuntimeError("EndListener.wait must be called inside its with block.")
        deadline = Deadline(seconds)
        try:
            for notice in self._connection.notifies(timeout=deadline.remaining):
                if notice.payload == execution_id:
                    return True
        except CONNECTION_LOST as error:
            raise _unreachable(error) from None
        return False

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _unreachable(error: psycopg.Error) -> DatabaseUnreachable:
    return DatabaseUnreachable(f"PostgreSQL cannot be reached: {describe_failure(error)}.")
