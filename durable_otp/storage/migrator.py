"""Bringing a schema to a version: plain SQL files, each committed together with its record.

Any number of migrators may run at once, also when not even the schema exists: an advisory lock per
schema lets one step happen at a time, and each step first looks which version there is by now.
"""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from durable_otp.errors import DatabaseUnreachable, MigrationError
from durable_otp.storage import test_clock as clock_for_tests
from durable_otp.storage.connecting import (
    CONNECTION_LOST,
    connection_arguments,
    describe_failure,
)
from durable_otp.storage.database import Connection, open_connection, perform
from durable_otp.storage.grants import grants
from durable_otp.storage.statements import in_schema, statements

LOCK_TIMEOUT_SECONDS = 30.0
_FILE = re.compile(r"(\d{4})_(\w+)\.(up|down)\.sql")


@dataclass(frozen=True)
class Migration:
    """One step of the schema and the way back."""

    version: int
    name: str
    up: str
    down: str

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


def migrations_directory() -> Path:
    """Return where the SQL files are: inside an installed package, beside it in a checkout.

    Raises:
        MigrationError: They are in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for directory in (package / "migrations", package.parent / "migrations"):
        if directory.is_dir():
            return directory
    raise MigrationError(
        f"No migrations beside {package} or in it; the installation is damaged, install it again."
    )


def read_migrations(directory: Path) -> list[Migration]:
    """Return the migrations of a directory, oldest first.

    Raises:
        MigrationError: One of a pair of files is missing, or a number is left out.
    """
    texts: dict[tuple[int, str], dict[str, str]] = {}
    for path in sorted(directory.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match is not None:
            pair = texts.setdefault((int(match[1]), match[2]), {})
            pair[match[3]] = path.read_text(encoding="utf-8")
    for number, ((version, name), pair) in enumerate(texts.items(), start=1):
        if version != number or len(pair) != len(("up", "down")):
            raise MigrationError(
                f"Migration {version:04}_{name} in {directory} is not number {number:04} with an "
                "up.sql and a down.sql; the files are counted from 0001 without a gap."
            )
    return [Migration(version, name, **pair) for (version, name), pair in texts.items()]


class Migrator:
    """What can be done to the version of one schema.

    Args:
        dsn: A libpq connection string; its role needs to own the schema or be able to create it.
        schema: The schema's name, which is written into every statement.
        directory: Where the migrations are, if not where the package keeps its own.
    """

    def __init__(self, dsn: str, schema: str = "durable", *, directory: Path | None = None) -> None:
        self._schema = schema
        self._sql = statements(schema)
        self._arguments = connection_arguments(dsn, "migrator")
        self._directory = directory or migrations_directory()
        self._migrations = read_migrations(self._directory)

    @property
    def newest_version(self) -> int:
        """The version this code is written for."""
        return len(self._migrations)

    def current_version(self) -> int:
        """Return the schema's version; 0 when it has no tables of ours."""
        with self._connection() as connection:
            return self._version(connection)

    def pending(self) -> list[Migration]:
        """Return the migrations that are not applied, in their order.

        Raises:
            MigrationError: The schema is newer than this code.
        """
        return self._migrations[self._known(self.current_version()) :]

    def check(self) -> None:
        """Return if the schema is at this code's version.

        Raises:
            MigrationError: It is older or newer.
        """
        missing = self.pending()
        if missing:
            raise MigrationError(
                f'Schema "{self._schema}" is at version {missing[0].version - 1} and this code '
                f"needs {self.newest_version}; run `durable-otp migrate`."
            )

    def migrate(self, to: int | None = None, *, test_clock: bool = False) -> list[Migration]:
        """Bring the schema to a version, up or down, and return the migrations that were run.

        Each runs in a transaction of its own, so what was reached before a failure is kept.

        Args:
            to: The version; None for the newest, 0 to remove the tables (and the schema itself, if
                nothing else is in it).
            test_clock: Let the schema's time be moved by `test_clock.advance`.

        Raises:
            MigrationError: There is no such version, the schema is newer than this code, a
                migration failed, or a lock was not to be had for 30 seconds.
        """
        target = self._target(to)
        steps: list[Migration] = []
        with self._connection() as connection:
            while (step := self._step(connection, target)) is not None:
                steps.append(step)
            if test_clock and target > 0:
                perform(connection, clock_for_tests.install)
        return steps

    def grant(self, kind: str, role: str) -> None:
        """Give a role the rights of ``"runtime"``, ``"producer"`` or ``"reader"``. Blocks.

        Raises:
            MigrationError: The schema is not at this code's version, there is no such role or
                kind, or whoever asks does not own the tables.
        """
        self.check()
        sql = grants(self._directory, kind, self._schema, role)
        with self._connection() as connection, connection.transaction():
            self._take_the_turn(connection)
            connection.execute(sql.encode())

    def _target(self, to: int | None) -> int:
        if to is None:
            return self.newest_version
        if to not in range(self.newest_version + 1) or isinstance(to, bool):
            raise MigrationError(
                f"There is no version {to!r}; choose one from 0 to {self.newest_version}."
            )
        return to

    def _known(self, version: int) -> int:
        if version > self.newest_version:
            raise MigrationError(
                f'Schema "{self._schema}" is at version {version} and this code knows those up '
                f"to {self.newest_version}; install the durable-otp that migrated it or a later."
            )
        return version

    def _step(self, connection: Connection, target: int) -> Migration | None:
        """Run one migration towards the target; None when nothing is left to do."""
        if self._known(self._version(connection)) == target:
            return None  # without the lock: whoever may only read can still find all well
        with connection.transaction():
            self._take_the_turn(connection)
            current = self._known(self._version(connection))
            if current < target:
                return self._up(connection, self._migrations[current])
            if current > target:
                return self._down(connection, self._migrations[current - 1])
        return None

    def _take_the_turn(self, connection: Connection) -> None:
        self._run(connection, "limit_lock_wait", milliseconds=int(LOCK_TIMEOUT_SECONDS * 1000))
        self._run(connection, "lock_migrations")

    def _up(self, connection: Connection, migration: Migration) -> Migration:
        if not self._run(connection, "schema_exists", schema=self._schema)["found"]:
            self._run(connection, "create_schema")
        if not self._run(connection, "version_is_recorded", schema=self._schema)["found"]:
            self._run(connection, "create_schema_version")
        self._execute(connection, migration, migration.up)
        self._run(connection, "record_version", version=migration.version, name=migration.name)
        return migration

    def _down(self, connection: Connection, migration: Migration) -> Migration:
        self._execute(connection, migration, migration.down)
        self._run(connection, "forget_version", version=migration.version)
        if migration.version == 1:
            self._run(connection, "drop_test_clock")
            self._run(connection, "drop_schema_version")
            if self._run(connection, "schema_may_go", schema=self._schema)["empty"]:
                self._run(connection, "drop_schema")
        return migration

    def _execute(self, connection: Connection, migration: Migration, sql: str) -> None:
        try:
            connection.execute(in_schema(sql, self._schema).encode())
        except CONNECTION_LOST:
            raise
        except psycopg.Error as error:
            raise MigrationError(
                f"Migration {migration} failed and nothing of it was kept: "
                f"{describe_failure(error)}."
            ) from error

    def _version(self, connection: Connection) -> int:
        if not self._run(connection, "version_is_recorded", schema=self._schema)["found"]:
            return 0
        try:
            version: int = self._run(connection, "schema_version")["version"]
        except psycopg.errors.UndefinedTable:
            return 0  # dropped this moment by another migrator; under the lock nobody can
        return version

    def _run(self, connection: Connection, statement: str, /, **parameters: Any) -> dict[str, Any]:
        """Run a statement and return its one row; nothing for a statement without an answer."""
        cursor = connection.execute(self._sql[statement], parameters)
        return (cursor.fetchone() or {}) if cursor.description else {}

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with closing(open_connection(self._arguments, self._schema)) as connection:
                yield connection
        except psycopg.errors.LockNotAvailable:
            raise MigrationError(
                f'A lock in schema "{self._schema}" was not to be had for '
                f"{LOCK_TIMEOUT_SECONDS:.0f} s; another migration or a long transaction holds it, "
                "try again when it has ended."
            ) from None
        except CONNECTION_LOST as error:
            raise DatabaseUnreachable(
                f"PostgreSQL cannot be reached: {describe_failure(error)}."
            ) from None
        except psycopg.Error as error:
            raise MigrationError(
                f'Schema "{self._schema}" cannot be migrated: {describe_failure(error)}.'
            ) from error
