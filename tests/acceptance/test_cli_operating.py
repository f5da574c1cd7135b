"""`retry` and `cleanup` from the command line."""

import pytest

from durable_otp import Durable
from durable_otp.clock import Deadline
from tests.support.cli import Project
from tests.support.tables import Tables

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def project(tmp_path, dsn, schema):
    return Project(tmp_path, dsn, schema)


@pytest.fixture
def tables(project, dsn, schema):
    with Durable(dsn, schema=schema) as client:
        client.migrate()
    tables = Tables(dsn, schema)
    yield tables
    tables.connection.close()


@pytest.fixture
def ended(tables):
    """Add an execution that ended so many days ago."""
    now = tables.sql("SELECT durable.now() AS now")[0]["now"]

    def ended(days, status="completed", **columns):
        id_ = tables.add(status, **columns)
        tables.sql(
            "UPDATE durable.workflow_executions SET completed_at = %s - %s * interval '1 day' "
            "WHERE id = %s",
            [now, days, id_],
        )
        return id_

    return ended


def left(tables):
    return {row["id"] for row in tables.sql("SELECT id::text FROM durable.workflow_executions")}


def test_retry_takes_a_prefix_and_says_what_became_of_it(project, tables):
    failed, half_undone = tables.add("failed"), tables.add("compensation_failed")
    assert project.run("retry", failed[:13]) == f"retried {failed}: pending\n"
    assert project.run("retry", half_undone) == f"retried {half_undone}: compensating\n"
    assert tables.status(failed) == "pending"
    assert "is pending; only a failed" in project.refused("retry", failed, code=1)
    child = tables.add("failed", parent_id=tables.add("cancelled"))
    assert "retry that one" in project.refused("retry", child, code=1)
    assert NOBODY in project.refused("retry", NOBODY, code=3)
    assert "hex digits" in project.refused("retry", "zzzz", code=2)


def test_a_retried_execution_runs(project, tables):
    with project.started():
        project.ask("run", "bad", "--wait", "-c", project.config, code=1)
        (failed,) = project.json("list")
        project.run("retry", failed["id"])
        with Durable(tables.dsn, schema=tables.schema) as client:
            assert client.wait_for_end(failed["id"], Deadline(30)) == "failed"
        found = project.json("inspect", failed["id"])
    assert [step["attempt"] for step in found["steps"]] == [1, 2, 3, 4]


def test_cleanup_by_age_and_status(project, tables, ended):
    old, failed, young = ended(20), ended(20, "failed"), ended(5)
    child = ended(20, "failed", parent_id=old)
    assert (
        project.run("cleanup", "--older-than", "10d", "--dry-run") == "would remove 3 executions\n"
    )
    assert left(tables) == {old, failed, young, child}
    by_status = ("--status", "failed", "--status", "cancelled")
    assert project.run("cleanup", "--older-than", "10d", *by_status) == "removed 1 execution\n"
    assert project.run("cleanup", "--older-than", "2000-01-01T00:00Z") == "removed 0 executions\n"
    assert project.run("cleanup", "--older-than", "10d") == "removed 2 executions\n"
    assert left(tables) == {young}


def test_cleanup_as_the_configuration_says(project, tables, ended):
    kept = {ended(20), ended(400, "cancelled"), tables.add("running")}
    ended(40)
    ended(2, "failed")
    assert "--older-than" in project.refused("cleanup", code=2)
    project.write(tables.dsn, sections='[retention]\ncompleted = "30d"\nfailed = "1d"')
    assert project.run("cleanup", "--dry-run") == "would remove 2 executions\n"
    assert "[retention]" in project.refused("cleanup", "--status", "cancelled", code=2)
    assert project.run("cleanup", "--status", "failed") == "removed 1 execution\n"
    assert project.run("cleanup") == "removed 1 execution\n"
    assert left(tables) == kept


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--older-than", "soon"), "--older-than must be"),
        (("--older-than", "-1d"), "--older-than must be"),
        (("--older-than", "1d", "--status", "running"), "final"),
        (("--older-than", "1d", "--status", "nonsense"), "final"),
    ],
)
def test_a_cleanup_that_makes_no_sense_removes_nothing(project, tables, ended, words, says):
    ended(20)
    assert says in project.refused("cleanup", *words, code=2)
    assert len(left(tables)) == 1
