"""Faults of PostgreSQL and of what it lives on."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from bench.soak.nemesis.field import Blow, Field, Kind
from bench.soak.nodes import ROOT
from durable_otp.clock import Deadline

OURS = "application_name LIKE 'durable:%' AND pid <> pg_backend_pid()"
READ_ONLY = "ALTER DATABASE postgres SET default_transaction_read_only = on"
WRITABLE = "ALTER DATABASE postgres RESET default_transaction_read_only"
PATIENT = "ALTER DATABASE postgres RESET statement_timeout"
UNLIMITED = "-c default_transaction_read_only=off -c statement_timeout=0"
REWRITES = [
    "VACUUM (FULL) {schema}.workflow_executions",
    "VACUUM (FULL) {schema}.step_executions",
    "REINDEX TABLE {schema}.workflow_executions",
    "REINDEX TABLE {schema}.waits",
]
MIGRATION_SECONDS = 45.0


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
    with _setting(field, READ_ONLY, WRITABLE):
        yield "the database"


@contextmanager
def _impatient(field: Field, blow: Blow) -> Iterator[str]:
    """Have the server break off every statement that takes long, or nearly every one."""
    milliseconds = blow.pick([1, 10, 50])
    with _setting(
        field, f"ALTER DATABASE postgres SET statement_timeout = {milliseconds}", PATIENT
    ):
        yield f"after {milliseconds} ms"


@contextmanager
def _setting(field: Field, change: str, back: str) -> Iterator[None]:
    """Have another setting for every session, new ones too."""
    _unlimited(field, change)
    try:
        _end_sessions(field)
        yield
    finally:
        field.server.wait()
        _unlimited(field, back)
        _end_sessions(field)


def _unlimited(field: Field, statement: str) -> None:
    with psycopg.connect(field.server.dsn, autocommit=True, options=UNLIMITED) as connection:
        connection.execute(statement.encode())


def _end_sessions(field: Field) -> None:
    with psycopg.connect(
        field.server.dsn, autocommit=True, connect_timeout=5, options=UNLIMITED
    ) as connection:
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


@contextmanager
def _rewritten(field: Field, blow: Blow) -> Iterator[str]:
    """Have a table or its indexes written anew, which locks out everybody else."""
    statement = (blow.pick(REWRITES) or REWRITES[0]).format(schema=field.schema)
    with psycopg.connect(field.server.dsn, autocommit=True, connect_timeout=5) as connection:
        connection.execute("SET lock_timeout = '5s'")
        connection.execute(statement.encode())
    yield statement


@contextmanager
def _migrated(field: Field, _: Blow) -> Iterator[str]:
    """Have every node's configuration migrated at once, as a deployment does, while all work."""
    words = [sys.executable, "-m", "durable_otp", "migrate", "--config"]
    migrators = [
        subprocess.Popen(
            [*words, str(node.config)], cwd=ROOT, env=node.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for node in field.nodes
    ]  # fmt: skip
    end = Deadline(MIGRATION_SECONDS)
    try:
        with suppress(subprocess.TimeoutExpired):
            for migrator in migrators:
                migrator.wait(end.remaining)
    finally:
        for migrator in migrators:  # one that another fault holds up is killed, which is one more
            migrator.kill()
            migrator.wait()
    done = [migrator.returncode for migrator in migrators].count(0)
    yield f"by {done} of {len(migrators)}" if done else ""


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
    Kind("postgresql: statement timeout", _impatient, 0.5, 2),
    Kind("postgresql: table rewritten", _rewritten),
    Kind("postgresql: migrated meanwhile", _migrated),
]
