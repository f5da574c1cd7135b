"""`schedules`: what operators look at, and what they change."""

import json

import psycopg
import pytest

from durable_otp import Durable, Schedule
from tests.support.cli import Project


@pytest.fixture
def project(tmp_path, dsn, schema):
    return Project(tmp_path, dsn, schema)


@pytest.fixture
def client(project, dsn, schema, order):
    with Durable(dsn, schema=schema) as client:
        client.migrate()
        client.start(order)
        yield client


def test_no_schedules(project, client):
    assert project.run("schedules") == "no schedules\n"
    assert project.json("schedules") == []


def test_schedules_are_listed(project, client):
    client.create_schedule("nightly", "order", "0 3 * * *", timezone="Asia/Tokyo", input={"a": 1})
    off = client.create_schedule("off", "order", "0 4 * * *", enabled=False)
    first, second = project.json("schedules")
    assert set(first) == set(Schedule.__dataclass_fields__)
    assert (first["name"], first["input"], first["enabled"]) == ("nightly", {"a": 1}, True)
    assert first["next_run_at"].endswith("Z")
    assert (second["name"], second["jitter"]) == (off.name, 0.0)
    heading, *lines = project.run("schedules").splitlines()
    assert heading.split()[:4] == ["Name", "Workflow", "Cron", "Zone"]
    assert lines[0].startswith("nightly  order     0 3 * * *  Asia/Tokyo")
    assert len(lines) == 2


def test_a_schedule_is_disabled_enabled_and_triggered(project, client):
    client.create_schedule("nightly", "order", "0 3 * * *", input={"a": 1})
    assert project.run("schedules", "disable", "nightly") == "disabled 'nightly'\n"
    assert not client.get_schedule("nightly").enabled
    usual = project.run("schedules", "trigger", "nightly").strip()
    assert client.get_execution(usual).input == {"a": 1}
    other = project.run("schedules", "trigger", "nightly", "--input", '{"a": 2}').strip()
    assert client.get_execution(other).input == {"a": 2}
    shown = project.ask("schedules", "-c", project.config, "enable", "nightly").stdout
    assert shown.startswith("enabled 'nightly', next run 20")
    assert client.get_schedule("nightly").enabled


def test_a_failure_is_shown(project, client, dsn, schema):
    client.create_schedule("nightly", "order", "0 3 * * *")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            f"UPDATE {schema}.scheduled_workflows SET enabled = false, last_error = %s, "
            "consecutive_failures = 5, auto_disabled_at = now()".encode(),
            ["ValueError: no \x1b[31mluck\n"],
        )
    shown = project.run("schedules")
    assert "no, it failed" in shown
    assert "nightly: last failure: ValueError: no  [31mluck" in shown
    assert json.loads(project.run("schedules", "--json"))[0]["consecutive_failures"] == 5


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("enable", "nothing"), 3, "no schedule 'nothing'"),
        (("disable", "nothing"), 3, "no schedule 'nothing'"),
        (("trigger", "nothing"), 3, "no schedule 'nothing'"),
        (("trigger", "nothing", "--input", "{"), 2, "--input is not JSON"),
    ],
)
def test_wrong_orders_are_refused(project, client, words, code, expected):
    assert expected in project.refused("schedules", *words, code=code)
