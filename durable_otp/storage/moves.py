"""Hearing of every move of every execution: a subscription over LISTEN."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

import psycopg

from durable_otp.clock import Deadline
from durable_otp.errors import ConfigError, DatabaseUnreachable
from durable_otp.storage.connecting import (
    CONNECTION_LOST,
    NOT_PERMITTED,
    connection_arguments,
    describe_failure,
    not_permitted,
)
from durable_otp.storage.database import Connection, open_connection
from durable_otp.storage.identity import new_id
from durable_otp.storage.statements import Statement
from durable_otp.workflow.execution import StateMove
from durable_otp.workflow.json_form import decode
from durable_otp.workflow.state import State

ALIVE_SECONDS = 60.0
RENEW_SECONDS = 20.0
LOOK_SECONDS = 0.5


class MoveSubscription:
    """An endless iterator of moves, from when it is made until it is closed; a context manager.

    Moves are heard in the order in which they were committed, on one connection of its own. What
    happens while that is lost cannot be heard, so its loss is raised and not mended.

    Raises:
        ConfigError: On making it, when a pooler is in between.
        DatabaseUnreachable: On making it or iterating, when the server does not answer.
        NotPermitted: The role may not subscribe.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        self._id = new_id()
        self._closed = threading.Event()
        self._heard: list[StateMove] = []
        try:
            self._connection: Connection = open_connection(
                connection_arguments(dsn, "client subscription"), schema
            )
            self._refuse_pooler()
            self._connection.run(Statement("listen_moves"))
            self._begin()
        except CONNECTION_LOST as error:
            raise _unreachable(error) from None
        except NOT_PERMITTED as error:
            self._connection.close()
            raise not_permitted(error, schema) from None

    def __iter__(self) -> Iterator[StateMove]:
        return self

    def __next__(self) -> StateMove:
        while not self._closed.is_set():
            move = self.wait(LOOK_SECONDS)
            if move is not None:
                return move
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def wait(self, seconds: float) -> StateMove | None:
        """Return the next move, or None when the time has passed without one. Blocks."""
        deadline = Deadline(seconds)
        try:
            while not self._heard and not self._closed.is_set():
                if self._renewal.passed:
                    self._renew()
                self._listen(min(deadline.remaining or 0.0, RENEW_SECONDS))
                if deadline.passed:
                    break
        except CONNECTION_LOST as error:
            if self._closed.is_set():
                return None
            raise _unreachable(error) from None
        return self._heard.pop(0) if self._heard else None

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is heard."""
        return self._closed.is_set()

    def close(self) -> None:
        """Hear no more; an iteration in another thread ends."""
        if self._closed.is_set():
            return
        self._closed.set()
        with suppress(psycopg.Error):  # the row runs out by itself, and somebody else cleans up
            self._end()
        self._connection.close()

    def _refuse_pooler(self) -> None:
        if self._connection.is_pooled:
            self._connection.close()
            raise ConfigError(
                "subscribe() hears nothing through a connection pooler; give its Durable a dsn "
                "that leads to PostgreSQL itself."
            )

    def _listen(self, seconds: float) -> None:
        for notice in self._connection.notifies(timeout=seconds, stop_after=1):
            self._heard.append(_move(decode(notice.payload.encode())))

    def _begin(self) -> None:
        with self._connection.transaction():
            self._connection.run(Statement("lock_subscriptions"))
            self._connection.run(Statement("open_moves"))
            self._renew()

    def _end(self) -> None:
        with self._connection.transaction():
            self._connection.run(Statement("lock_subscriptions"))
            self._connection.run(Statement("end_subscription", {"id": self._id}))
            (left,) = self._connection.run(Statement("subscriptions_left"))
            if left["count"] == 0:
                self._connection.run(Statement("close_moves"))

    def _renew(self) -> None:
        self._connection.run(
            Statement("keep_subscription", {"id": self._id, "seconds": ALIVE_SECONDS})
        )
        self._renewal = Deadline(RENEW_SECONDS)


class AsyncMoveSubscription:
    """The same for asyncio: each wait is a thread's; an asynchronous context manager."""

    def __init__(self, moves: MoveSubscription) -> None:
        self._moves = moves

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StateMove:
        while not self._moves.is_closed:
            move = await asyncio.to_thread(self._moves.wait, LOOK_SECONDS)
            if move is not None:
                return move
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Hear no more."""
        await asyncio.to_thread(self._moves.close)


def _move(fields: dict[str, Any]) -> StateMove:
    return StateMove(
        execution_id=fields["execution_id"],
        workflow=fields["workflow"],
        queue=fields["queue"],
        status=State(fields["status"]),
        step=fields["step"],
        at=datetime.fromtimestamp(fields["at"], UTC),
    )


def _unreachable(error: psycopg.Error) -> DatabaseUnreachable:
    return DatabaseUnreachable(f"PostgreSQL cannot be reached: {describe_failure(error)}.")
