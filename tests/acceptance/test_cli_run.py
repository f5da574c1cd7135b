"""`run`, `list`, `inspect`, `cancel`: executions from the command line."""

import json
from datetime import datetime

import pytest

from durable_otp import Durable, Workflow
from durable_otp.workflow.execution import Execution, StepExecution
from tests.support.cli import Project

EXECUTION_FIELDS = set(Execution.__dataclass_fields__)
STEP_FIELDS = set(StepExecution.__dataclass_fields__)
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def project(tmp_path, dsn, schema):
    return Project(tmp_path, dsn, schema)


@pytest.fixture
def client(project, dsn, schema):
    with Durable(dsn, schema=schema) as client:
        client.migrate()
        yield client


def workflow(name):
    made = Workflow(name)

    @made.step
    def step(ctx): ...

    return made


def test_run_wait_list_and_inspect(project):
    with project.started():
        done = project.run("run", "hello", "--input", '{"name": "Ada"}', "--wait")
        execution_id, _, output = done.partition("\n")
        assert json.loads(output) == {"name": "Ada", "greeting": "Hello, Ada!", "signed": True}
        failed = project.ask("run", "bad", "--wait", "-c", project.config, code=1)
    bad_id = failed.stdout.strip()
    assert failed.stderr.count("\n") == 1
    assert "ValueError: no [red]luck[/red]  [31m today" in failed.stderr

    listed = project.json("list")
    assert [(each["id"], each["status"]) for each in listed] == [
        (bad_id, "failed"),
        (execution_id, "completed"),
    ]
    assert set(listed[0]) == EXECUTION_FIELDS
    assert project.json("list", "--status", "failed", "--since", "1h")[0]["id"] == bad_id
    assert project.json("list", "--until", "1h") == []
    assert execution_id in project.run("list", "--workflow", "hello")

    found = project.json("inspect", execution_id)
    assert set(found) == EXECUTION_FIELDS
    assert set(found["steps"][0]) == STEP_FIELDS
    assert [step["name"] for step in found["steps"]] == ["greet", "sign"]
    assert found["completed_at"].endswith("Z")
    assert datetime.fromisoformat(found["completed_at"]).utcoffset().total_seconds() == 0

    shown = project.run("inspect", bad_id)
    assert "ValueError: no [red]luck[/red]" in shown
    assert "about to fail" in shown
    assert "boom, attempt 2:" in shown
    assert "raise ValueError" in shown
    assert "\x1b" not in shown


def test_run_starts_a_workflow_of_a_module_that_no_node_has_published(project, client):
    started = project.run("run", "shop:hello", "--queue", "slow", "--priority", "7").strip()

    execution = client.get_execution(started)
    assert (execution.workflow, execution.queue, execution.priority) == ("hello", "slow", 7)


def test_run_takes_its_input_from_a_file_and_keeps_an_idempotency_key(project, client):
    client.start(workflow("hello"))
    file = project.directory / "input.json"
    file.write_text('{"name": "Bo"}')

    first = project.run("run", "hello", "--json-file", file, "--idempotency-key", "k").strip()
    again = project.run("run", "hello", "--idempotency-key", "k").strip()

    assert first == again
    assert client.get_execution(first).input == {"name": "Bo"}
    assert project.json("run", "hello", "--idempotency-key", "k")["id"] == first


def test_waiting_ends_at_its_timeout_and_the_execution_goes_on(project, client):
    client.start(workflow("hello"))

    failed = project.ask(
        "run", "hello", "--wait", "--timeout", "200ms", "-c", project.config, code=1
    )

    assert "has not ended" in failed.stderr
    assert client.status(failed.stdout.strip()) == "pending"


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("run", "nobody_knows"), 3, "nobody_knows"),
        (("run", "shop:nothing"), 2, "shop:nothing"),
        (("run", "no_such_module:x"), 2, "no_such_module"),
        (("run", "shop:hello", "--input", "{"), 2, "--input is not JSON"),
        (("run", "shop:hello", "--input", "NaN"), 2, "--input is not JSON"),
        (("run", "shop:hello", "--json-file", "away.json"), 2, "away.json cannot be read"),
        (("run", "shop:hello", "--input", "1", "--json-file", "x"), 2, "not both"),
        (("run", "shop:hello", "--timeout", "1s"), 2, "--wait"),
        (("run", "shop:hello", "--wait", "--timeout", "soon"), 2, "--timeout must be a duration"),
        (("run", "shop:hello", "--queue", "a\nb"), 2, "printable"),
        (("run", "shop:hello", "--priority", "99999999999"), 2, "priority"),
        (("list", "--status", "done"), 2, "--status must be among pending, running"),
        (("list", "--since", "yesterday"), 2, "--since must be"),
        (("list", "--after", NOBODY), 3, NOBODY),
        (("inspect", NOBODY), 3, NOBODY),
        (("inspect", "abc"), 2, "4 or more"),
        (("inspect", "%___"), 2, "4 or more"),
        (("cancel", "zzzz"), 2, "4 or more"),
        (("cancel", "ffff"), 3, "ffff"),
    ],
)
def test_wrong_input_is_one_sentence_with_its_exit_code(project, client, words, code, expected):
    assert expected in project.refused(*words, code=code)


def test_an_id_may_be_the_beginning_of_one_execution_only(project, client):
    first, second = (handle.id for handle in client.start_many(workflow("hello"), [1, 2]))
    length = next(n for n in range(36) if first[:n] != second[:n])
    unique, common = first[:length].upper(), first[: length - 1]

    assert project.json("inspect", unique)["id"] == first
    said = project.refused("inspect", common, code=4)

    assert first in said
    assert second in said


def test_cancel_ends_it_once(project, client):
    started = client.start(workflow("hello")).id

    assert project.run("cancel", started, "--reason", "no more").strip() == f"cancelled {started}"

    assert client.get_execution(started).error == {"type": "cancelled", "message": "no more"}
    assert "cannot be cancelled any more" in project.refused("cancel", started, code=1)


def test_list_goes_on_after_the_last_of_a_page(project, client):
    client.start_many(workflow("hello"), [1, 2, 3])
    newest_first = [each.id for each in client.list_executions()]

    page = project.json("list", "--limit", "2")
    rest = project.json("list", "--limit", "2", "--after", page[-1]["id"])

    assert [each["id"] for each in page + rest] == newest_first
    assert [each["id"] for each in project.json("list", "--oldest")] == newest_first[::-1]


def test_inspect_shows_the_children_of_an_execution(project, tables):
    parent = tables.add("waiting")
    failed = tables.add("failed", parent_id=parent, error={"type": "E", "message": "no"})
    for _ in range(21):
        tables.add("completed", parent_id=parent)
    said = project.run("inspect", parent)
    assert failed in said
    assert "E: no" in said
    assert "... and 2 more: durable-otp list --parent ID" in said
    assert "Child" not in project.run("inspect", failed)
