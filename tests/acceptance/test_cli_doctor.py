"""`doctor`: everything that nobody sees to is found and named, and --fix loses nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from durable_otp.storage.identity import new_id
from tests.support.cli import Project
from tests.support.tables import Tables

HOUR = 3600


@pytest.fixture
def project(tmp_path: Path, tables: Tables) -> Project:
    return Project(tmp_path, tables.dsn, tables.schema)


@pytest.fixture
def examined(project: Project) -> Any:
    """Return the findings by check, and see that the exit code agrees with them."""

    def examined(*words: str, left: bool = True) -> dict[str, dict[str, Any]]:
        done = project.ask(
            "doctor", *words, "--json", "--config", project.config, code=5 if left else 0
        )
        report = json.loads(done.stdout)
        assert report["healthy"] is not left
        return {each["check"]: each for each in report["findings"]}

    return examined


def age(tables: Tables, execution_id: str, *columns: str) -> None:
    """Move instants of a row an hour back."""
    moved = ", ".join(f"{each} = {each} - interval '1 hour'" for each in columns)
    tables.sql(f"UPDATE durable.workflow_executions SET {moved} WHERE id = %s", [execution_id])


def manager(tables: Tables, seconds_ago: float) -> str:
    """Add a queue manager that was heard of so long ago."""
    id_ = new_id()
    tables.sql(
        "INSERT INTO durable.queue_managers (id, node_id, queue, beat, started_at, seen_at) "
        "VALUES (%s, 'n', 'default', 1, now(), now() - make_interval(secs => %s))",
        [id_, seconds_ago],
    )
    return id_


def test_a_healthy_schema_has_nothing(project: Project, tables: Tables) -> None:
    tables.add("completed")
    tables.add("waiting", due_in=HOUR)
    assert project.run("doctor") == "nothing found\n"
    assert project.json("doctor") == {"healthy": True, "findings": [], "left": []}


def test_claims_that_nobody_keeps_are_found_and_given_back(tables: Tables, examined: Any) -> None:
    dead, living = manager(tables, HOUR), manager(tables, 0)
    lost = tables.add("running", locked_by=dead)
    stale = tables.add("running", locked_by="an adapter")
    kept = tables.add("running", locked_by=living)
    for each in (stale, kept):
        age(tables, each, "locked_at")
    found = examined()
    assert found["silent_managers"]["examples"] == [dead]
    assert set(found["stale_claims"]["examples"]) == {stale, kept}
    assert tables.status(lost) == "running"
    cured = examined("--fix")  # what was given back waits for a node that knows its workflow
    assert (cured["silent_managers"]["cured"], cured["stale_claims"]["cured"]) == (1, 1)
    assert {tables.status(each) for each in (lost, stale)} == {"pending"}
    assert tables.status(kept) == "running"
    assert tables.row(lost)["interruptions"] == 1


def test_what_is_overdue_is_found_and_done(tables: Tables, examined: Any) -> None:
    sleeper = tables.add("waiting", due_in=-HOUR)
    waiter = tables.add("waiting", due_in=None)
    tables.add_wait(waiter, names=["paid"])
    tables.sql("UPDATE durable.waits SET due_at = now() - interval '1 hour'")
    late = tables.add("waiting", due_in=HOUR)
    tables.sql(
        "UPDATE durable.workflow_executions SET deadline_at = now() - interval '1 hour' "
        "WHERE id = %s",
        [late],
    )
    found = examined()
    assert found["overdue_sleepers"]["examples"] == [sleeper]
    assert found["overdue_waits"]["examples"] == [waiter]
    assert found["overdue_deadlines"]["examples"] == [late]
    cured = examined("--fix")
    assert all(
        cured[each]["cured"] == 1
        for each in ("overdue_sleepers", "overdue_waits", "overdue_deadlines")
    )
    assert (tables.status(sleeper), tables.status(late)) == ("pending", "failed")
    assert tables.status(waiter) == "pending"  # its step hears of the timeout


def test_a_zombie_is_named_and_failed(tables: Tables, project: Project, examined: Any) -> None:
    zombie, fresh = tables.add("waiting", due_in=None), tables.add("waiting", due_in=None)
    age(tables, zombie, "updated_at")
    shown = project.ask("doctor", "--config", project.config, code=5)
    assert zombie in shown.stdout
    assert fresh not in shown.stdout
    assert shown.stderr == "1 thing needs attention.\n"
    examined("--fix", left=False)
    assert tables.row(zombie)["error"]["type"] == "zombie_detected"
    assert tables.status(fresh) == "waiting"


def test_work_that_nobody_can_do_is_named_and_left(tables: Tables, examined: Any) -> None:
    waiting = tables.add("pending", due_in=-HOUR, queue="nowhere")
    for found in (examined(), examined("--fix")):
        assert found["unserved_queues"]["examples"] == ["nowhere"]
        assert found["unknown_workflows"]["examples"] == ["w version 1"]
        assert found["unserved_queues"]["cured"] is None
    assert tables.status(waiting) == "pending"


def test_schedules_that_do_not_run_are_named(tables: Tables, examined: Any) -> None:
    for name, columns in {
        "off": {"enabled": False, "auto_disabled_at": "2026-01-01Z", "consecutive_failures": 9},
        "bad": {"consecutive_failures": 2},
        "late": {"next_run_at": "2026-01-01Z"},
    }.items():
        given = {"name": name, "workflow": "w", "cron": "@daily"} | columns
        tables.sql(
            f"INSERT INTO durable.scheduled_workflows ({', '.join(given)}, inserted_at, updated_at)"
            f" VALUES ({', '.join(f'%({each})s' for each in given)}, now(), now())",
            given,
        )
    found = examined()
    named = {check: each["examples"] for check, each in found.items()}
    assert named == {
        "disabled_schedules": ["off"], "failing_schedules": ["bad"], "late_schedules": ["late"]
    }  # fmt: skip


def test_an_old_schema_is_all_that_is_said(project: Project, tables: Tables, examined: Any) -> None:
    project.run("migrate", "--to", 3)
    assert set(examined()) == {"schema"}
    assert set(examined("--fix")) == {"schema"}


@pytest.fixture
def old_transaction(dsn: str) -> Iterator[int]:
    with psycopg.connect(dsn) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT 1")
        yield connection.info.backend_pid


def test_a_long_transaction_is_found(dsn: str, tables: Tables, old_transaction: int) -> None:
    from durable_otp.storage.database import Database
    from durable_otp.storage.diagnosis import Bounds, ailing

    database = Database(dsn, tables.schema, role="test")
    found = database.run(ailing, "long_transactions", Bounds(long=0.0))
    database.close()
    assert found is not None
    assert any(each.startswith(f"pid {old_transaction} ") for each in found.examples)


def test_a_database_that_does_not_answer_is_one_sentence(project: Project) -> None:
    project.write("postgresql://nobody@127.0.0.1:1/none")
    assert "cannot be reached" in project.refused("doctor", code=1)
