"""Hearing of everything that a page may show: executions, processes, queues and schedules."""

from contextlib import suppress
from typing import NamedTuple, Self

import psycopg

from durable_otp.clock import Deadline
from durable_otp.errors import DatabaseUnreachable
from durable_otp.storage.connecting import CONNECTION_LOST, connection_arguments, describe_failure
from durable_otp.storage.database import open_connection
from durable_otp.storage.identity import new_id
from durable_otp.storage.statements import Statement
from durable_otp.workflow.json_form import decode

LISTENS = ("listen_moves", "listen_nodes", "listen_command", "listen_schedule")
TOPICS = {"nodes": "nodes", "command": "queues", "schedule": "schedules"}
ALIVE_SECONDS = 900.0
RENEW_SECONDS = 300.0
"""Longer than a client's: between two renewals, what changes nothing costs the database nothing."""


class Change(NamedTuple):
    """What has changed: a topic, and which execution if it is one."""

    topic: str
    execution_id: str | None = None


class ChangeFeed:
    """One connection that hears of changes from when it is made until it is closed.

    Raises:
        DatabaseUnreachable: On making it or waiting, when the server does not answer.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        self._id = new_id()
        try:
            self._connection = open_connection(connection_arguments(dsn, "dashboard feed"), schema)
            with self._connection.transaction():
                self._connection.run(Statement("lock_subscriptions"))
                self._connection.run(Statement("open_moves"))
                self._renew()
            for name in LISTENS:
                self._connection.run(Statement(name))
        except CONNECTION_LOST as error:
            raise _unreachable(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def wait(self, seconds: float) -> list[Change]:
        """Return what has changed, as soon as something has; nothing when the time has passed.

        Blocks. Asks the database nothing but once in five minutes.
        """
        try:
            if self._renewal.passed:
                self._renew()
            notices = list(self._connection.notifies(timeout=seconds, stop_after=1))
            if notices:
                notices += list(self._connection.notifies(timeout=0))
        except CONNECTION_LOST as error:
            raise _unreachable(error) from None
        return [_change(each) for each in notices]

    def close(self) -> None:
        """Hear no more; moves are no longer told if nobody else listens."""
        with suppress(psycopg.Error), self._connection.transaction():
            self._connection.run(Statement("lock_subscriptions"))
            self._connection.run(Statement("end_subscription", {"id": self._id}))
            (left,) = self._connection.run(Statement("subscriptions_left"))
            if left["count"] == 0:
                self._connection.run(Statement("close_moves"))
        self._connection.close()

    def _renew(self) -> None:
        self._connection.run(
            Statement("keep_subscription", {"id": self._id, "seconds": ALIVE_SECONDS})
        )
        self._renewal = Deadline(RENEW_SECONDS)


def _change(notice: psycopg.Notify) -> Change:
    channel = notice.channel.rpartition(":")[2]
    if channel == "moves":
        return Change("executions", str(decode(notice.payload.encode())["execution_id"]))
    return Change("usage" if notice.payload == "usage" else TOPICS[channel])


def _unreachable(error: psycopg.Error) -> DatabaseUnreachable:
    return DatabaseUnreachable(f"PostgreSQL cannot be reached: {describe_failure(error)}.")
