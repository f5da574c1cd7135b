"""Starting executions: what is written, what is refused before anything is, and what is told."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from pydantic import BaseModel, ValidationError

from durable_otp.client import Durable, Handle
from durable_otp.errors import (
    ConfigError,
    DatabaseUnreachable,
    DefinitionError,
    InvalidInput,
    MigrationError,
    SerializationError,
    WorkflowNotFound,
)
from durable_otp.workflow.builder import Workflow
from tests.support.tables import heard


def rows(tables):
    return tables.sql("SELECT * FROM durable.workflow_executions ORDER BY inserted_at, id")


def with_step(workflow):
    @workflow.step
    def only(ctx):
        return None

    return workflow


def test_an_execution_takes_what_its_workflow_says(tables, durable, order):
    handle = durable.start(order, {"items": [1]})
    (row,) = rows(tables)
    assert isinstance(handle, Handle)
    assert handle.id == str(row["id"])
    assert (row["workflow"], row["version"]) == ("order", "2")
    assert (row["queue"], row["priority"], row["status"]) == ("shop", 4, "pending")
    assert row["deadline_at"] - row["inserted_at"] == timedelta(seconds=60)
    assert row["scheduled_at"] == row["inserted_at"]
    assert handle.status() == "pending"
    assert handle.execution().context == {"items": [1]}


def test_what_the_caller_says_wins(tables, durable, order):
    at = datetime(2040, 1, 2, tzinfo=UTC)
    durable.start(order, queue="slow", priority=-7, scheduled_at=at)
    durable.start(order, priority=0)
    first, second = rows(tables)
    assert (first["queue"], first["priority"], first["scheduled_at"]) == ("slow", -7, at)
    assert (second["queue"], second["priority"]) == ("shop", 0)


def test_the_queue_is_told(tables, durable, order):
    with tables.listen("queue") as listener:
        durable.start(order)
        assert heard(listener) == ["shop"]


def test_what_is_started_is_what_an_adapter_fetches(durable, adapter, order):
    handle = durable.start(order, {"b": 2, "a": 1})
    (job,) = adapter.fetch_jobs("shop", 9, "me")
    assert (job.id, job.workflow, job.version) == (handle.id, "order", "2")
    assert job.input == job.context == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (None, None),
        ({}, {}),
        ([1, "a"], [1, "a"]),
        ("text", "text"),
        (False, False),
        (0, 0),
        ({"when": datetime(2030, 1, 1, tzinfo=UTC)}, {"when": "2030-01-01T00:00:00Z"}),
        ({"price": Decimal("1.50"), "ids": {2, 1}}, {"price": "1.50", "ids": [1, 2]}),
    ],
)
def test_an_input_is_kept_in_its_json_form(durable, order, given, stored):
    assert durable.start(order, given).execution().input == stored


class Item(BaseModel):
    name: str
    count: int = 1


@dataclass
class Address:
    city: str


def test_a_typed_input_is_checked_and_completed(durable):
    typed = with_step(Workflow("typed", input=Item))
    assert durable.start(typed, {"name": "x", "count": "3"}).execution().input == {
        "name": "x",
        "count": 3,
    }
    assert durable.start(typed, Item(name="y")).execution().input == {"name": "y", "count": 1}
    assert durable.start("typed", {"name": "z"}).execution().input == {"name": "z", "count": 1}
    placed = with_step(Workflow("placed", input=Address))
    assert durable.start(placed, Address("Rome")).execution().input == {"city": "Rome"}


def test_an_input_that_does_not_fit_is_refused_before_any_row(tables, durable):
    typed = with_step(Workflow("typed", input=Item))
    for wrong in (None, {}, {"name": 3}, [Item(name="x")]):
        with pytest.raises(InvalidInput, match="input of workflow 'typed'") as caught:
            durable.start(typed, wrong)
        assert isinstance(caught.value.__cause__, ValidationError)
    with pytest.raises(InvalidInput):
        durable.start_many(typed, [{"name": "good"}, {"name": None}])
    with pytest.raises(InvalidInput):
        durable.start("typed", {})
    assert rows(tables) == []


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"items": [1, {"price": float("nan")}]}, 'input["items"][1]["price"]'),
        ({"x": "a\0b"}, 'input["x"]'),
        ({"x": object()}, 'input["x"]'),
        ({"x": 2**64}, 'input["x"]'),
        ("x" * 1_048_576, "input"),
    ],
)
def test_an_input_without_a_json_form_is_refused_before_any_row(
    tables, durable, order, given, path
):
    with pytest.raises(SerializationError) as caught:
        durable.start(order, given)
    assert caught.value.path == path
    assert rows(tables) == []


def test_a_name_starts_the_version_published_last(tables, durable, order):
    durable.start(order)
    newer = with_step(Workflow("order", version="10", queue="other", priority=1, timeout=5))
    durable.start(newer)
    with Durable(tables.dsn, schema=tables.schema) as stranger:
        execution = stranger.start("order", {"a": 1}).execution()
    assert (execution.version, execution.queue, execution.priority) == ("10", "other", 1)
    assert durable.start(order).execution().version == "2"


def test_a_name_nobody_published_is_not_found(tables, durable):
    for name in ("nothing", "", "a\0b"):
        with pytest.raises(WorkflowNotFound):
            durable.start(name)
    assert rows(tables) == []


@pytest.mark.parametrize("workflow", [None, 3, object(), Workflow])
def test_what_is_no_workflow_is_refused(durable, workflow):
    with pytest.raises(TypeError, match="must be a Workflow or the name of one"):
        durable.start(workflow)


def test_a_workflow_without_steps_and_two_of_one_name_are_refused(durable, order):
    with pytest.raises(DefinitionError, match="has no steps"):
        durable.start(Workflow("empty"))
    durable.start(order)
    with pytest.raises(DefinitionError, match="defined twice"):
        durable.start(with_step(Workflow("order", version="2", queue="elsewhere")))


def test_a_definition_is_published_once_and_replaced_when_it_changed(tables, order):
    query = "SELECT workflow, version, published_at, description FROM durable.definitions"
    for _ in range(2):
        with Durable(tables.dsn, schema=tables.schema) as client:
            client.start(order)
            client.start(order)
        (published,) = tables.sql(query)
        assert (published["workflow"], published["version"]) == ("order", "2")
    first = published["published_at"]
    changed = with_step(Workflow("order", version="2", queue="elsewhere"))
    with Durable(tables.dsn, schema=tables.schema) as client:
        client.start(changed)
    (published,) = tables.sql(query)
    assert published["published_at"] > first
    assert published["description"]["queue"] == "elsewhere"


@pytest.mark.parametrize("queue", ["", "x" * 101, "a\tb", "\0", 5])
def test_a_queue_that_is_none_is_refused(tables, durable, order, queue):
    with pytest.raises(ConfigError, match="1 to 100 printable characters"):
        durable.start(order, queue=queue)
    assert rows(tables) == []


@pytest.mark.parametrize(
    "options",
    [
        {"scheduled_at": datetime(2030, 1, 1)},  # noqa: DTZ001 - the mistake
        {"scheduled_at": "2030-01-01"},
        {"priority": 2**31},
        {"priority": 1.5},
        {"priority": True},
        {"idempotency_key": ""},
        {"idempotency_key": 3},
        {"idempotency_key": "a\0b"},
        {"idempotency_key": "x" * 401},
    ],
)
def test_an_option_that_is_none_is_refused(tables, durable, order, options):
    with pytest.raises(ValueError, match=next(iter(options)).replace("_key", ".key")):
        durable.start(order, **options)
    assert rows(tables) == []


def test_the_longest_key_fits_the_index(durable, order):
    key = "".join(chr(0x20000 + number * 7) for number in range(400))
    assert durable.start(order, idempotency_key=key).id


def test_the_same_key_gives_the_same_execution_whatever_the_input(tables, durable, adapter, order):
    first = durable.start(order, {"a": 1}, idempotency_key="k")
    adapter.fetch_jobs("shop", 1, "me")
    adapter.nack(first.id, "no")
    second = durable.start("order", {"a": 2}, idempotency_key="k")
    assert second == first
    assert second.execution().input == {"a": 1}
    assert len(rows(tables)) == 1


def test_many_are_started_in_their_order(tables, durable, order):
    keys = [f"k{number}" if number % 2 else None for number in range(1500)]
    inputs = ({"number": number} for number in range(1500))
    handles = durable.start_many(order, inputs, idempotency_keys=keys, queue="bulk")
    by_id = {str(row["id"]): row for row in rows(tables)}
    assert [by_id[handle.id]["input"]["number"] for handle in handles] == list(range(1500))
    assert {row["queue"] for row in by_id.values()} == {"bulk"}
    assert durable.start_many(order, []) == []


@pytest.mark.parametrize("keys", [["a"], ["a", "b", "c"], "ab", []])
def test_keys_must_be_one_for_each_input(durable, order, keys):
    with pytest.raises(ValueError, match="one for each of the 2 inputs"):
        durable.start_many(order, [1, 2], idempotency_keys=keys)


def test_within_a_transaction_it_exists_only_if_that_commits(tables, durable, order):
    with psycopg.connect(tables.dsn) as mine:
        mine.execute("CREATE TEMP TABLE bought (id text)")
        handle = durable.start(order, {"a": 1}, connection=mine)
        assert rows(tables) == []
        mine.rollback()
        assert rows(tables) == []
        with tables.listen("queue") as listener:
            handle = durable.start(order, {"a": 2}, connection=mine, idempotency_key="k")
            (again,) = durable.start_many(order, [{}], connection=mine, idempotency_keys=["k"])
            assert again == handle
            assert heard(listener, within=0.1) == []
            mine.commit()
            assert heard(listener) == ["shop"]
    assert handle.execution().input == {"a": 2}


def test_a_connection_of_the_caller_keeps_its_settings(tables, durable, order):
    with psycopg.connect(tables.dsn, autocommit=True) as mine:
        durable.start(order, connection=mine)
        assert mine.execute("SELECT 1").fetchone() == (1,)
        assert mine.autocommit
    assert len(rows(tables)) == 1


@pytest.mark.parametrize("connection", ["postgresql://x", object(), 5])
def test_what_is_no_connection_is_refused(durable, order, connection):
    with pytest.raises(TypeError, match=r"must be an open psycopg.Connection"):
        durable.start(order, connection=connection)


def test_a_schema_that_is_not_migrated_is_one_sentence(dsn, schema, order):
    with Durable(dsn, schema=schema) as client:
        with pytest.raises(MigrationError, match=r"run `durable-otp migrate` or Durable.migrate"):
            client.start(order)
        assert client.schema_version() == 0
        assert client.migrate() >= 1
        client.start(order)
        assert client.migrate(0) == client.schema_version() == 0
        client.migrate()
        assert client.start(order).status() == "pending"


def test_an_absent_server_is_one_sentence_at_once(order):
    with (
        Durable("postgresql://u:secret@127.0.0.1:1/x") as client,
        pytest.raises(DatabaseUnreachable, match="cannot be reached") as caught,
    ):
        client.start(order)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(client)


def test_a_client_takes_its_database_from_the_environment_or_a_file(
    tables, order, monkeypatch, tmp_path
):
    monkeypatch.setenv("DURABLE_DSN", tables.dsn)
    with Durable(schema=tables.schema) as client:
        client.start(order)
    config = tmp_path / "config.toml"
    config.write_text(f'[durable]\nschema = "{tables.schema}"\nmax_payload = "1KB"\n')
    with Durable.from_config(config) as client:
        client.start(order)
        with pytest.raises(SerializationError, match="1,024 bytes"):
            client.start(order, "x" * 2000)
    monkeypatch.delenv("DURABLE_DSN")
    assert len(rows(tables)) == 2
    with pytest.raises(ConfigError, match="DURABLE_DSN"):
        Durable()
    with pytest.raises(ConfigError, match="schema"):
        Durable(tables.dsn, schema="No Schema")
    with pytest.raises(ConfigError, match="not a PostgreSQL connection string") as caught:
        Durable("host=x password='secret")
    assert "secret" not in str(caught.value)
