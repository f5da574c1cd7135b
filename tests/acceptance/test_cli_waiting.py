"""`pending`, `input`, `event`: answering executions from the command line."""

import json

import pytest

from durable_otp import Durable
from durable_otp.storage.database import Database
from durable_otp.workflow.human_input import PendingInput
from durable_otp.workflow.mailbox import PendingEvent
from tests.support.cli import Project
from tests.support.tables import migrated_tables
from tests.support.waits import asking, event, visit, waiting

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def tables(dsn, schema):
    with migrated_tables(dsn, schema) as tables:
        yield tables


@pytest.fixture
def project(tmp_path, dsn, schema):
    return Project(tmp_path, dsn, schema)


@pytest.fixture
def database(tables):
    database = Database(tables.dsn, tables.schema, role="test")
    yield database
    database.close()


def test_what_is_waited_for_is_listed(project, tables, database):
    assert project.run("pending").strip() == "nothing is waited for"
    id_ = waiting(database, tables, asking("boss", prompt="Ship [red]it[/red]?"), event("a"))
    other = waiting(database, tables, event("a", "b", kind="any", seconds=3600))

    listed = project.json("pending")

    assert [each["execution_id"] for each in listed["inputs"]] == [id_]
    assert [each["execution_id"] for each in listed["events"]] == [other, id_]
    assert set(listed["inputs"][0]) == set(PendingInput.__dataclass_fields__)
    assert set(listed["events"][0]) == set(PendingEvent.__dataclass_fields__)
    assert listed["events"][0]["timeout_at"].endswith("Z")
    assert project.json("pending", other)["inputs"] == []
    shown = project.run("pending")
    assert "Ship [red]it[/red]?" in shown
    assert "any of a, b" in shown
    inspected = project.run("inspect", id_)
    assert "input 'boss' (approval)" in inspected
    assert "event a" in inspected
    assert "any of a, b until 2" in project.run("inspect", other)


def test_events_and_inputs_are_json_where_they_parse_and_text_elsewhere(
    project, tables, database, dsn, schema
):
    waits = (asking("note", "text"), asking("boss"), *(event(name) for name in "abcd"))
    id_ = waiting(database, tables, *waits)
    file = project.directory / "data.json"
    file.write_text('{"from": "a file"}')

    project.run("input", id_, "note", "plain words")
    project.run("input", id_, "boss", "true")
    project.run("event", id_, "a")
    project.run("event", id_, "b", '{"n": 1}')
    project.run("event", id_, "c", "{n: 1")
    project.run("event", id_, "d", "--json-file", file)

    sent = {"a": None, "b": {"n": 1}, "c": "{n: 1", "d": {"from": "a file"}}
    with Durable(dsn, schema=schema) as client:
        assert {each.name: each.payload for each in client.list_events(id_)} == sent
    found = [each.value for _, each in sorted(visit(database, id_).answers.items())]
    assert found[:2] == ["plain words", "approved"]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("input", "ID", "boss", "maybe"), 2, '"approved", "rejected"'),
        (("input", "ID", "boss"), 2, "DATA"),
        (("input", "ID", "boss", "1", "--json-file", "x"), 2, "not both"),
        (("input", "ID", "boss", "--json-file", "away.json"), 2, "away.json cannot be read"),
        (("input", "ID", "nobody", "true"), 3, "no open input 'nobody'; open are: 'boss'"),
        (("input", NOBODY, "boss", "true"), 3, NOBODY),
        (("event", NOBODY, "a"), 3, NOBODY),
        (("event", "zz", "a"), 2, "4 or more"),
        (("event", "ID", ""), 2, "printable"),
        (("event", "ID", "a", "1", "--json-file", "x"), 2, "not both"),
        (("event", "ENDED", "a"), 1, "takes no events"),
        (("pending", NOBODY), 3, NOBODY),
    ],
)
def test_wrong_input_is_one_sentence_with_its_exit_code(
    project, tables, database, words, code, expected
):
    ids = {"ID": waiting(database, tables, asking("boss")), "ENDED": tables.add("completed")}
    assert expected in project.refused(*(ids.get(word, word) for word in words), code=code)
    assert json.loads(project.run("pending", "--json"))["inputs"] != []
