"""The migrations: the states they allow are ours, and the wheel carries them."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import psycopg
import pytest

from durable_otp.storage.migrator import Migrator, migrations_directory, read_migrations
from durable_otp.workflow.state import FINAL, State, StepState
from tests.support.postgres import fresh_schema

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def constraints(postgres_dsn):
    """Every CHECK of the migrated schema by name."""
    with fresh_schema(postgres_dsn) as schema:
        Migrator(postgres_dsn, schema).migrate()
        with psycopg.connect(postgres_dsn) as connection:
            yield dict(
                connection.execute(
                    "SELECT conname, pg_get_constraintdef(c.oid) FROM pg_constraint c "
                    "JOIN pg_namespace n ON n.oid = c.connamespace "
                    "WHERE nspname = %s AND contype = 'c'",
                    [schema],
                ).fetchall()
            )


def words(definition: str) -> set[str]:
    return set(re.findall(r"'(\w+)'", definition))


def test_an_execution_s_status_is_one_of_the_states(constraints):
    assert words(constraints["workflow_executions_status"]) == set(State)


def test_a_step_s_status_is_one_of_the_step_states(constraints):
    assert words(constraints["step_executions_status"]) == set(StepState)


def test_what_has_an_end_is_what_is_final(constraints):
    # It names those that have no end; whatever else there is has one.
    assert words(constraints["workflow_executions_state"]) == set(State) - FINAL


def test_every_migration_has_a_way_back():
    for migration in read_migrations(migrations_directory()):
        assert migration.up.strip()
        assert migration.down.strip()


WITHIN = {"family", "PUBLIC;"}  # the name that a WITH gives; who loses a right
WITHIN |= {"clock_timestamp", "jsonb_object_keys", "jsonb_path_query"}  # PostgreSQL's own


def test_migrations_are_written_for_the_schema_durable_alone():
    for path in migrations_directory().glob("*.sql"):
        sql = re.sub(r"--.*", "", path.read_text())
        targets = re.findall(
            r"\b(?:CREATE|DROP|ALTER) (?:TABLE|FUNCTION)\s+(?:IF (?:NOT )?EXISTS )?(\S+?)[\s(;]"
            r"|\bINDEX \w+\s+ON\s+(\w\S*?)[\s(]|\b(?:FROM|JOIN)\s+(\w\S*?)[\s(]",
            sql,
        )
        named = {name for pair in targets for name in pair if name} - WITHIN
        assert all(name.startswith(("durable.", "NEW.", "moved.")) for name in named), named


def test_a_wheel_carries_the_migrations_the_statements_and_the_pages(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    written = {f"durable_otp/migrations/{path.name}" for path in (ROOT / "migrations").iterdir()}
    statements = (ROOT / "durable_otp/storage/sql").iterdir()
    written |= {f"durable_otp/storage/sql/{path.name}" for path in statements}
    pages = ROOT / "durable_otp/dashboard"
    drawn = [*(pages / "templates").iterdir(), *(pages / "static").rglob("*.*")]
    written |= {str(path.relative_to(ROOT)) for path in drawn}
    assert written <= packed
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    program = "from durable_otp.storage.migrator import migrations_directory as m; print(m())"
    found = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout.strip() == str(tmp_path / "installed/durable_otp/migrations")
