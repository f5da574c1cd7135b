"""What a step's body writes into the ledger, over a connection that meets no fault."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from durable_otp import Context

_kept: dict[tuple[int, str], "psycopg.Connection[Any]"] = {}
"""One connection per process and database: a body is over before a new one would be open."""


class Effects:
    """Where bodies note that they begin and end; its plain form travels in an execution's input."""

    def __init__(self, dsn: str, ledger: str) -> None:
        self.dsn, self.ledger = dsn, ledger

    def note(self, ctx: Context, phase: str, detail: str | None = None) -> None:
        """Write one line about the body that runs."""
        statement = (
            f"INSERT INTO {self.ledger}.effect (key, execution, step, attempt, pid, phase, detail) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s)"
        )
        about = (ctx.idempotency_key, ctx.execution_id, ctx.step, ctx.attempt, os.getpid())
        self._connection().execute(statement.encode(), (*about, phase, detail))

    @contextmanager
    def noted(self, ctx: Context, detail: str | None = None) -> Iterator[None]:
        """Note a body's begin, and its end if it comes to one; a suspension is none."""
        self.note(ctx, "begin", detail)
        yield
        self.note(ctx, "end", detail)

    def _connection(self) -> "psycopg.Connection[Any]":
        place = os.getpid(), self.dsn
        connection = _kept.get(place)
        if connection is None or connection.closed:
            connection = psycopg.connect(self.dsn, autocommit=True, application_name="ledger")
            _kept[place] = connection
        return connection
