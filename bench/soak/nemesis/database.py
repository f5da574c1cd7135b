"""Faults of PostgreSQL and of what it lives on."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from bench.soak.nemesis.field import Blow, Field, Kind

OURS = "application_name LIKE 'durable:%' AND pid <> pg_backend_pid()"
READ_ONLY = "ALTER DATABASE postgres SET default_transaction_read_only = on"
WRITABLE = "ALTER DATABASE postgres RESET default_transaction_read_only"


@contextmanager
def _restarted(field: Field, _: Blow) -> Iterator[str]:
    field.server.restart_immediately()
    yield "restart -m immediate"


@contextmanager
def _terminated(field: Field, blow: Blow) -> Iterator[str]:
    """Terminate some backends of ours, or all."""
    share = blow.pick([0.2, 0.5, 1.0], 0)
    with psycopg.connect(field.server.dsn, autocommit=True, connect_timeout=5) as connection:
        found = connection.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE {OURS} AND random() <= {share}".encode()
        ).fetchall()
    yield f"{len(found)} backends" if found else ""


@contextmanager
def _full_disk(field: Field, _: Blow) -> Iterator[str]:
    with field.server.full_disk():
        yield "its file system"


@contextmanager
def _read_only(field: Field, _: Blow) -> Iterator[str]:
    """Have every new session read only, as behind a failover that is not over."""
    field.server.execute(READ_ONLY)
    try:
        _end_sessions(field)
        yield "the database"
    finally:
        field.server.wait()
        with psycopg.connect(
            field.server.dsn, autocommit=True, options="-c default_transaction_read_only=off"
        ) as connection:
            connection.execute(WRITABLE.encode())
        _end_sessions(field)


def _end_sessions(field: Field) -> None:
    with psycopg.connect(field.server.dsn, autocommit=True, connect_timeout=5) as connection:
        connection.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            b"WHERE application_name <> '' AND pid <> pg_backend_pid()"
        )


@contextmanager
def _exhausted(field: Field, _: Blow) -> Iterator[str]:
    """Take every connection that is left, those of superusers too; old ones break off."""
    taken: list[psycopg.Connection] = []
    try:
        _terminate_half(field)
        with suppress(psycopg.OperationalError):
            while len(taken) < 1000:
                taken.append(
                    psycopg.connect(field.server.dsn, connect_timeout=2, application_name="hog")
                )
        yield f"{len(taken)} connections"
    finally:
        for connection in taken:
            connection.close()


def _terminate_half(field: Field) -> None:
    field.server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS} AND random() <= 0.5"
    )


@contextmanager
def _old_snapshot(field: Field, _: Blow) -> Iterator[str]:
    """Hold back the vacuum, and every dead row with it."""
    with psycopg.connect(field.server.dsn, connect_timeout=5) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT txid_current()")
        yield "a snapshot"
        with suppress(psycopg.Error):
            connection.rollback()


@contextmanager
def _locked_table(field: Field, _: Blow) -> Iterator[str]:
    """Have the hot table locked, as a VACUUM FULL does."""
    with psycopg.connect(field.server.dsn, connect_timeout=5) as connection:
        statement = f"LOCK TABLE {field.schema}.workflow_executions IN ACCESS EXCLUSIVE MODE"
        connection.execute("SET lock_timeout = '3s'")
        connection.execute(statement.encode())
        yield "workflow_executions"
        with suppress(psycopg.Error):
            connection.rollback()


def _no_file_system(field: Field) -> str | None:
    return None if field.server.is_mounted else "no file system of its own could be mounted"


KINDS = [
    Kind("postgresql: restart -m immediate", _restarted),
    Kind("postgresql: backends terminated", _terminated),
    Kind("postgresql: disk full", _full_disk, 0.5, 3, _no_file_system),
    Kind("postgresql: read only", _read_only, 0.5, 5),
    Kind("postgresql: connections exhausted", _exhausted, 0.5, 4),
    Kind("postgresql: long transaction", _old_snapshot, 2, 10),
    Kind("postgresql: hot table locked", _locked_table, 0.5, 3),
]
