"""PostgreSQL for tests: the one of DURABLE_TEST_DSN, or private servers that vanish afterwards."""

import contextlib
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import conninfo

from durable_otp.errors import EmbeddedServerError
from durable_otp.storage import embedded
from tests.support.waiting import wait_until


@contextmanager
def session_server(directory: Path) -> Iterator[str]:
    """Give the DSN of DURABLE_TEST_DSN, else of a test-mode server in `directory`."""
    given = os.environ.get("DURABLE_TEST_DSN")
    if given:
        yield given
        return
    server = embedded.acquire(directory, mode="test")
    try:
        yield server.dsn
    finally:
        server.release()
        remove_when_unused(directory)


@contextmanager
def fresh_schema(dsn: str) -> Iterator[str]:
    """Give a schema name that nobody uses; whatever was made under it is dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    yield name
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET client_min_messages = error")
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")  # type: ignore[arg-type]


@contextmanager
def fresh_database(dsn: str) -> Iterator[str]:
    """Give the DSN of a database of its own on the same server, dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        try:
            yield conninfo.make_conninfo(dsn, dbname=name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


def remove_when_unused(directory: Path) -> None:
    """Remove a server once its users are gone (a sibling pytest-xdist process may be one)."""
    with contextlib.suppress(EmbeddedServerError):
        embedded.reset(directory)


class PrivateServer:
    """A test's own PostgreSQL, to stop, start and kill; the DSN stays the same throughout."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._server = embedded.acquire(directory, mode="test")
        self.dsn = self._server.dsn

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        pid = embedded.status(self.directory).pid
        assert pid is not None
        return pid

    def stop(self) -> None:
        """Stop it as an operator would (fast): open connections end."""
        embedded.stop(self.directory, force=True)

    def start(self) -> None:
        """Start it again after `stop` or `kill`, with its data."""
        before, self._server = self._server, embedded.acquire(self.directory, mode="test")
        before.release()

    def kill(self) -> None:
        """SIGKILL the postmaster; return when it no longer answers."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not embedded.status(self.directory).running, what="the death")

    def remove(self) -> None:
        """Stop it and delete its files."""
        self._server.release()
        embedded.reset(self.directory, force=True)
