"""Executions that an earlier version left behind go on to the ends that it would have given them.

Each journal is put into a schema of the version that it was written at, which is then migrated with
these rows in it. ``python -m tests.golden --write`` writes that of a version to be released.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from durable_otp import Durable
from durable_otp.storage.migrator import Migrator
from tests.golden.journal import fill, journals, put, take
from tests.golden.story import BARRIER, HELD, resume
from tests.golden.workflows import WORKFLOWS

EVERY = pytest.mark.parametrize("path", journals(), ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


@EVERY
def test_every_execution_ends_as_its_own_version_would_have_ended_it(
    path: Path, dsn: str, schema: str
) -> None:
    assert not BARRIER.exists()
    journal = read(path)
    put(dsn, schema, journal["schema_version"], journal["rows"])
    assert Migrator(dsn, schema).pending() == []
    assert resume(dsn, schema, journal["executions"]) == journal["becomes"]


@EVERY
def test_what_ended_before_is_read_as_it_was(path: Path, dsn: str, schema: str) -> None:
    journal = read(path)
    put(dsn, schema, journal["schema_version"], journal["rows"])
    with Durable(dsn, schema=schema) as durable:
        finished = durable.get_execution(journal["executions"]["finished"], steps=True)
        assert finished.status == "completed"
        assert finished.output == finished.context
        assert finished.output["last"] == journal["becomes"]["finished"]["context"]["last"]
        listed = {each.id for each in durable.list_executions(limit=100)}
        assert set(journal["executions"].values()) <= listed


@EVERY
def test_a_journal_holds_executions_at_every_point(path: Path) -> None:
    journal = read(path)
    rows = journal["rows"]
    statuses = {row["status"] for row in rows["workflow_executions"]}
    assert statuses == {"pending", "running", "waiting", "completed", "compensating"}
    assert {row["kind"] for row in rows["waits"]} == {"sleep", "event", "any", "input", "child"}
    held = [row for row in rows["workflow_executions"] if row["lock_token"] is not None]
    assert len(held) == len(HELD)
    assert set(journal["executions"]) == {*(each.name for each in WORKFLOWS), "finished"}


def test_the_version_that_this_code_migrates_to_is_reached_from_every_journal(
    dsn: str, schema: str
) -> None:
    """A journal of a schema that this code cannot make would say nothing."""
    newest = Migrator(dsn, schema).newest_version
    versions = [read(path)["schema_version"] for path in journals()]
    assert versions
    assert all(1 <= version <= newest for version in versions)


@EVERY
def test_rows_are_put_back_as_they_were_taken(path: Path, dsn: str, schema: str) -> None:
    journal = read(path)
    fill(dsn, schema, journal["schema_version"], journal["rows"])
    taken = take(dsn, schema)
    assert {name: in_any_order(rows) for name, rows in taken.items()} == {
        name: in_any_order(rows) for name, rows in journal["rows"].items()
    }


def in_any_order(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)
