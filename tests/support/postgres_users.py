"""Processes that use a private server, to be killed, forked and counted by tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from durable_otp.storage import embedded
from durable_otp.storage.embedded import locks
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
USER = """
import sys
from pathlib import Path
from durable_otp.storage import embedded
from durable_otp.storage.embedded import locks
server = embedded.acquire(Path(sys.argv[1]), mode="test")
"""
STAY = "print(server.dsn, flush=True)\nsys.stdin.read()\n"


class Users:
    """Starts users of one directory; those that still live are killed at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self,
        then: str = STAY,
        *,
        before: str = "",
    ) -> subprocess.Popen[str]:
        """Start a process that acquires the server, says its DSN, and stays."""
        user = subprocess.Popen(
            [sys.executable, "-c", before + USER + then, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=importable(),
        )
        self._started.append(user)
        return user

    def up(self, then: str = STAY, *, before: str = "") -> subprocess.Popen[str]:
        """Start a user and return once it has the server."""
        user = self.start(then, before=before)
        said(user)
        return user

    def end(self) -> None:
        """Kill those that live."""
        for user in self._started:
            user.kill()
            user.wait()
            assert user.stdin is not None
            assert user.stdout is not None
            user.stdin.close()
            user.stdout.close()


def importable() -> dict[str, str]:
    """Return this environment, in which another interpreter can import what this one can."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}


def said(user: subprocess.Popen[str]) -> str:
    """Return the next line that a user prints; it has ended early if there is none."""
    assert user.stdout is not None
    line = user.stdout.readline().strip()
    assert line, f"the user ended with {user.wait()}"
    return line


def kill(user: subprocess.Popen[str]) -> None:
    """SIGKILL a user and return when it is gone."""
    user.kill()
    user.wait()


def wait_until_stopped(directory: Path) -> None:
    """Return when no postmaster of this directory lives and whoever stopped it is done."""
    wait_until(lambda: embedded.status(directory).pid is None, what="the server's stop")
    with locks.control(directory):
        pass


def ask(dsn: str, question: str) -> str:
    """Return the first value of a statement's answer as text, committed."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(question).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return str(row[0])


def change(dsn: str, statement: str) -> None:
    """Execute a statement and commit it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


@contextmanager
def users_of(directory: Path) -> Iterator[Users]:
    """Give a starter of users; afterwards they are killed, and the server and its data are gone."""
    users = Users(directory)
    try:
        yield users
    finally:
        users.end()
        embedded.reset(directory, force=True)
