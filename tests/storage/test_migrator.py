"""Migrations: up, down, at once from many sides, and what is said when it cannot be."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from durable_otp.errors import ConfigError, DatabaseUnreachable, MigrationError
from durable_otp.storage.migrator import Migrator, migrations_directory, read_migrations

TABLES = """SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
            WHERE nspname = %s AND relkind IN ('r', 'v', 'S')"""


def names(dsn: str, query: str, schema: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {row[0] for row in connection.execute(query, [schema])}


def write(directory: Path, *steps: tuple[str, str]) -> Path:
    directory.mkdir(exist_ok=True)
    for number, (up, down) in enumerate(steps, start=1):
        (directory / f"{number:04}_step.up.sql").write_text(up)
        (directory / f"{number:04}_step.down.sql").write_text(down)
    return directory


THINGS = (
    "CREATE TABLE durable.things (id integer PRIMARY KEY);",
    "DROP TABLE durable.things;",
)
COLOURS = (
    "CREATE TABLE durable.colours (id integer PRIMARY KEY);",
    "DROP TABLE durable.colours;",
)


def test_a_fresh_database_is_brought_to_the_newest_version_and_recorded(dsn, schema):
    migrator = Migrator(dsn, schema)
    assert migrator.current_version() == 0
    assert len(migrator.pending()) == migrator.newest_version
    applied = migrator.migrate()
    assert [each.version for each in applied] == list(range(1, migrator.newest_version + 1))
    assert migrator.current_version() == migrator.newest_version
    assert migrator.pending() == []
    migrator.check()
    assert {"workflow_executions", "schema_version"} <= names(dsn, TABLES, schema)
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            f"SELECT version, name, applied_at <= now() FROM {schema}.schema_version"
        ).fetchall()
    assert rows == [(each.version, each.name, True) for each in applied]


def test_migrating_twice_does_nothing_the_second_time(dsn, schema):
    Migrator(dsn, schema).migrate()
    assert Migrator(dsn, schema).migrate() == []


def test_every_migration_can_be_undone_and_leaves_nothing(dsn, schema):
    migrator = Migrator(dsn, schema)
    migrator.migrate(test_clock=True)
    undone = migrator.migrate(0)
    assert [each.version for each in undone] == list(range(migrator.newest_version, 0, -1))
    assert migrator.current_version() == 0
    query = "SELECT nspname FROM pg_namespace WHERE nspname = %s"
    assert names(dsn, query, schema) == set()
    migrator.migrate()
    migrator.check()


def test_what_others_keep_in_the_schema_stays_and_so_does_the_schema(dsn, schema):
    migrator = Migrator(dsn, schema)
    migrator.migrate()
    with psycopg.connect(dsn) as connection:
        connection.execute(f"CREATE TABLE {schema}.theirs ()")
    migrator.migrate(0)
    assert names(dsn, TABLES, schema) == {"theirs"}


def test_one_step_at_a_time_up_and_down(dsn, schema, tmp_path):
    migrator = Migrator(dsn, schema, directory=write(tmp_path / "m", THINGS, COLOURS))
    assert [str(each) for each in migrator.migrate(1)] == ["0001_step"]
    assert names(dsn, TABLES, schema) == {"schema_version", "things"}
    assert [str(each) for each in migrator.pending()] == ["0002_step"]
    with pytest.raises(MigrationError, match=r"is at version 1 and this code needs 2; run"):
        migrator.check()
    migrator.migrate()
    assert names(dsn, TABLES, schema) == {"schema_version", "things", "colours"}
    assert [str(each) for each in migrator.migrate(1)] == ["0002_step"]
    assert names(dsn, TABLES, schema) == {"schema_version", "things"}


def test_a_failing_migration_keeps_nothing_of_itself_and_all_before_it(dsn, schema, tmp_path):
    broken = ("CREATE TABLE durable.half (); SELECT 1/0;", "")
    migrator = Migrator(dsn, schema, directory=write(tmp_path / "m", THINGS, broken))
    with pytest.raises(MigrationError, match=r"Migration 0002_step failed .* division by zero"):
        migrator.migrate()
    assert migrator.current_version() == 1
    assert names(dsn, TABLES, schema) == {"schema_version", "things"}


@pytest.mark.parametrize("target", [-1, 99, True, "1", 0.5])
def test_a_version_that_does_not_exist_is_refused_before_anything_is_done(dsn, schema, target):
    with pytest.raises(MigrationError, match=r"There is no version"):
        Migrator(dsn, schema).migrate(target)
    assert names(dsn, TABLES, schema) == set()


def test_a_database_newer_than_the_code_is_left_alone(dsn, schema, tmp_path):
    Migrator(dsn, schema, directory=write(tmp_path / "new", THINGS, COLOURS)).migrate()
    old = Migrator(dsn, schema, directory=write(tmp_path / "old", THINGS))
    for attempt in (old.migrate, old.pending, old.check, lambda: old.migrate(0)):
        with pytest.raises(MigrationError, match=r"is at version 2 and this code knows those up"):
            attempt()
    assert names(dsn, TABLES, schema) == {"schema_version", "things", "colours"}


def test_ten_migrators_at_once_on_nothing_make_one_schema(dsn, schema):
    start = threading.Barrier(10)

    def migrate(_number: int) -> int:
        migrator = Migrator(dsn, schema)
        start.wait()
        return len(migrator.migrate())

    with ThreadPoolExecutor(10) as pool:
        done = list(pool.map(migrate, range(10)))
    migrator = Migrator(dsn, schema)
    assert sum(done) == migrator.newest_version
    migrator.check()


def test_migrators_up_and_down_at_once_end_in_one_of_both(dsn, schema):
    start = threading.Barrier(8)

    def migrate(number: int) -> None:
        migrator = Migrator(dsn, schema)
        start.wait()
        migrator.migrate(None if number % 2 else 0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(migrate, range(8)))
    Migrator(dsn, schema).migrate()
    Migrator(dsn, schema).check()


def test_two_schemas_do_not_see_each_other(dsn, schema):
    Migrator(dsn, schema).migrate()
    other = f"{schema}_b"
    migrator = Migrator(dsn, other)
    assert migrator.current_version() == 0
    migrator.migrate()
    migrator.migrate(0)
    Migrator(dsn, schema).check()


def test_a_schema_whose_name_is_a_keyword_or_very_long_works(dsn):
    for name in ("select", "x" * 48, "_", "user"):
        migrator = Migrator(dsn, name)
        try:
            migrator.migrate(test_clock=True)
            migrator.check()
        finally:
            migrator.migrate(0)


@pytest.mark.parametrize("name", ["", "A", "1a", "a-b", "a.b", 'a"', "x" * 49, "a;drop", "ä"])
def test_a_name_that_is_not_safe_to_write_is_refused(dsn, name):
    with pytest.raises(ConfigError, match=r"not a valid schema name"):
        Migrator(dsn, name)


def test_who_may_only_read_finds_a_migrated_schema_well(dsn, schema):
    Migrator(dsn, schema).migrate()
    role = f"reader_{schema}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
    try:
        reader = Migrator(psycopg.conninfo.make_conninfo(dsn, user=role), schema)
        assert reader.migrate() == []
        with pytest.raises(MigrationError, match=r"failed|cannot be migrated"):
            reader.migrate(0)
        reader.check()
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


def test_a_table_that_somebody_holds_is_not_waited_for_for_ever(dsn, schema, tmp_path, monkeypatch):
    monkeypatch.setattr("durable_otp.storage.migrator.LOCK_TIMEOUT_SECONDS", 0.2)
    alter = ("ALTER TABLE durable.things ADD name text;", "")
    Migrator(dsn, schema, directory=write(tmp_path / "m", THINGS)).migrate()
    migrator = Migrator(dsn, schema, directory=write(tmp_path / "m", THINGS, alter))
    with psycopg.connect(dsn) as connection:
        connection.execute(f"LOCK TABLE {schema}.things")
        with pytest.raises(MigrationError, match=r"failed .*lock timeout|was not to be had"):
            migrator.migrate()
    migrator.migrate()


def test_no_server_is_one_sentence_without_the_password(schema):
    migrator = Migrator("postgresql://u:secret@127.0.0.1:1/x", schema)
    with pytest.raises(DatabaseUnreachable, match=r"cannot be reached") as caught:
        migrator.migrate()
    assert "secret" not in str(caught.value)


def test_a_migration_without_a_way_back_is_refused(tmp_path):
    directory = write(tmp_path / "m", THINGS)
    (directory / "0001_step.down.sql").unlink()
    with pytest.raises(MigrationError, match=r"0001_step .* up\.sql and a down\.sql"):
        read_migrations(directory)


def test_a_number_that_is_left_out_is_refused(tmp_path):
    directory = write(tmp_path / "m", THINGS)
    for kind in ("up", "down"):
        (directory / f"0003_late.{kind}.sql").write_text("")
    with pytest.raises(MigrationError, match=r"0003_late .* is not number 0002"):
        read_migrations(directory)


def test_a_checkout_has_its_migrations_beside_the_package():
    directory = migrations_directory()
    assert directory.name == "migrations"
    assert read_migrations(directory)[0].name == "foundation"
