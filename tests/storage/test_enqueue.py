"""`enqueue`, a start in plain SQL: it writes and refuses what `Durable.start` does."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from durable_otp import Durable, Workflow
from durable_otp.errors import ConfigError, DurableError, SerializationError, WorkflowNotFound
from tests.support.tables import Tables, heard
from tests.support.waiting import wait_until

order = Workflow("order", version="2", queue="shop", priority=4, timeout=60)
order.step(name="only")(lambda ctx: None)


@pytest.fixture
def durable(tables: Tables) -> Iterator[Durable]:
    """A client that has published `order`."""
    with Durable(tables.dsn, schema=tables.schema) as client:
        client.start(order).cancel()
        tables.sql("DELETE FROM durable.workflow_executions")
        yield client


def enqueue(tables: Tables, workflow: Any = "order", value: Any = None, **more: Any) -> str:
    """Call the function as a program would; `value` is any JSON value, or the text of one."""
    text = value if isinstance(value, str) else json.dumps(value)
    names = "".join(f", {name} => %({name})s" for name in more)
    (row,) = tables.sql(
        f"SELECT durable.enqueue(%(workflow)s, %(input)s::jsonb{names})::text AS id",
        {"workflow": workflow, "input": text} | more,
    )
    return str(row["id"])


def rows(tables: Tables) -> list[dict[str, Any]]:
    return tables.sql("SELECT * FROM durable.workflow_executions ORDER BY inserted_at, id")


COMPARED = ("workflow", "version", "queue", "priority", "input", "status", "idempotency_key")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"queue": "slow", "priority": -7},
        {"priority": 0, "idempotency_key": "k"},
        {"scheduled_at": "2040-01-02 00:00Z"},
    ],
)
def test_it_writes_the_row_that_the_client_writes(
    tables: Tables, durable: Durable, options: dict[str, Any]
) -> None:
    enqueue(tables, "order", {"b": [1.5, None], "a": "ü"}, **options)
    (by_sql,) = rows(tables)
    tables.sql("DELETE FROM durable.workflow_executions")
    at = by_sql["scheduled_at"] if "scheduled_at" in options else None
    durable.start("order", {"b": [1.5, None], "a": "ü"}, **options | {"scheduled_at": at})
    (by_client,) = rows(tables)
    assert by_sql.keys() == by_client.keys()
    for row in (by_sql, by_client):
        row["due_in"] = None if at else row["scheduled_at"] - row["inserted_at"]
        row["ends_in"] = row["deadline_at"] - row["inserted_at"]
    times = {"id", "scheduled_at", "deadline_at", "inserted_at", "updated_at"}
    assert {k: v for k, v in by_sql.items() if k not in times} == {
        k: v for k, v in by_client.items() if k not in times
    }
    assert at is None or by_client["scheduled_at"] == at


def test_no_input_is_no_input_in_all_its_spellings(tables: Tables, durable: Durable) -> None:
    tables.sql("SELECT durable.enqueue('order')")
    tables.sql("SELECT durable.enqueue('order', NULL)")
    tables.sql("SELECT durable.enqueue('order', 'null')")
    tables.sql("SELECT durable.enqueue(workflow => 'order', input => '[]')")
    assert [row["input"] for row in rows(tables)] == [None, None, None, []]


def test_ids_are_of_version_7_and_sort_as_they_were_made(tables: Tables, durable: Durable) -> None:
    before = durable.start(order).id
    made = tables.sql("SELECT durable.enqueue('order')::text AS id FROM generate_series(1, 50)")
    ids = [before, *(row["id"] for row in made), durable.start(order).id]
    assert ids == sorted(ids)
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}


def test_the_queue_and_the_deadlines_are_told(tables: Tables, durable: Durable) -> None:
    with tables.listen("queue") as listener:
        enqueue(tables)
        enqueue(tables, queue="slow")
        assert heard(listener) == ["shop", "slow"]
        enqueue(tables, scheduled_at="2040-01-01 00:00Z")
        assert heard(listener) == []
    with tables.listen("timeout") as listener:
        enqueue(tables)
        assert heard(listener) == [""]


def test_a_key_is_unique_per_workflow(tables: Tables, durable: Durable) -> None:
    by_client = durable.start(order, {"n": 1}, idempotency_key="k")
    assert enqueue(tables, "order", {"n": 2}, idempotency_key="k") == by_client.id
    by_client.cancel()
    assert enqueue(tables, "order", {"n": 3}, idempotency_key="k") == by_client.id
    other = enqueue(tables, idempotency_key="other")
    assert durable.start("order", idempotency_key="other").id == other
    assert len(rows(tables)) == 2


def test_two_transactions_with_one_key_start_one(tables: Tables, durable: Durable) -> None:
    """The second waits for the first: committed, it is the one; rolled back, there is a new one."""
    call = f"SELECT {tables.schema}.enqueue('order', idempotency_key => %s)::text AS id".encode()
    for ends, is_kept in (("COMMIT", True), ("ROLLBACK", False)):
        with (
            psycopg.connect(tables.dsn, row_factory=dict_row) as first,
            psycopg.connect(tables.dsn, row_factory=dict_row) as second,
        ):
            one = first.execute(call, [ends]).fetchone()
            second.pgconn.send_query_params(call.replace(b"%s", b"$1"), [ends.encode()])
            wait_until(
                lambda pid=second.info.backend_pid: tables.sql(
                    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = %s",
                    [pid],
                )
            )
            first.execute(ends.encode())
            while second.pgconn.is_busy():
                second.pgconn.consume_input()
            result = second.pgconn.get_result()
            assert result is not None
            two = (result.get_value(0, 0) or b"").decode()
            second.pgconn.get_result()
            second.commit()
        assert one is not None
        assert (two == one["id"]) is is_kept
        assert [str(row["id"]) for row in rows(tables)] == [two]
        tables.sql("DELETE FROM durable.workflow_executions")


def test_it_is_the_caller_s_transaction(tables: Tables, durable: Durable) -> None:
    with tables.listen("queue") as listener:
        tables.sql("BEGIN")
        enqueue(tables)
        tables.sql("ROLLBACK")
        assert heard(listener) == []
    assert rows(tables) == []


def test_the_version_published_last_is_started(tables: Tables, durable: Durable) -> None:
    newer = Workflow("order", version="1.9", queue="later")
    newer.step(name="only")(lambda ctx: None)
    durable.start(newer).cancel()
    enqueue(tables)
    row = rows(tables)[-1]
    assert (row["version"], row["queue"], row["priority"]) == ("1.9", "later", 0)


DEEP = "[" * 201 + "]" * 201
REFUSED: dict[str, tuple[dict[str, Any], str, str, type[DurableError] | type[ValueError]]] = {
    "unknown": ({"workflow": "nope"}, "42704", "'nope' is published", WorkflowNotFound),
    "no name": ({"workflow": None}, "42704", "NULL is published", TypeError),
    "empty queue": ({"queue": ""}, "22023", "queue must be", ConfigError),
    "long queue": ({"queue": "q" * 101}, "22023", "queue must be", ConfigError),
    "tab": ({"queue": "a\tb"}, "22023", "queue must be", ConfigError),
    "blank": ({"queue": "a\u00a0b"}, "22023", "queue must be", ConfigError),
    "emptiness": ({"queue": "a\u200bb"}, "22023", "queue must be", ConfigError),
    "tag": ({"queue": "a\U000e0041"}, "22023", "queue must be", ConfigError),
    "private": ({"queue": "a\U000f0000"}, "22023", "queue must be", ConfigError),
    "no key": ({"idempotency_key": ""}, "22023", "idempotency_key must", ValueError),
    "long key": ({"idempotency_key": "k" * 401}, "22023", "idempotency_key must", ValueError),
    "control": ({"idempotency_key": "a\x1eb"}, "22023", "idempotency_key must", ValueError),
    "large": ({"value": "x" * 1_048_576}, "54000", "1,048,576 bytes", SerializationError),
    "deep": ({"value": json.loads(DEEP)}, "54000", "200 levels", SerializationError),
    "integer": ({"value": {"a": [2**63]}}, "22003", "64 bits", SerializationError),
    "negative": ({"value": -(2**63) - 1}, "22003", "64 bits", SerializationError),
    "float": ({"value": [1e300]}, "22003", "64 bits", SerializationError),
    "nul": ({"value": "a\0b"}, "22P05", "Unicode", SerializationError),
}


def test_both_refuse_the_same_and_say_so_in_a_sentence(tables: Tables, durable: Durable) -> None:
    for what, (given, state, says, error) in REFUSED.items():
        options = {"workflow": "order", "value": None} | given
        value = options.pop("value")
        with pytest.raises(psycopg.Error, match=says) as refusal:
            enqueue(tables, value=json.dumps(value), **options)
        assert (what, refusal.value.sqlstate) == (what, state)
        assert len(refusal.value.diag.message_primary or "") < 700
        with pytest.raises(error):
            durable.start(options.pop("workflow"), value, **options)
    assert rows(tables) == []


def test_an_instant_that_no_client_can_read_is_refused(tables: Tables, durable: Durable) -> None:
    for at in ("infinity", "-infinity", "0044-03-15 BC", "20000-01-01"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="scheduled_at must be"):
            enqueue(tables, scheduled_at=at)


WIDE = [1_000_000_000] * 95_325
BIGGEST = "x" * 1_048_574
KEPT = [
    [2**63 - 1, -(2**63), 1e15, 5e-324],
    json.loads(DEEP[1:-1]),
    WIDE,  # 1,048,576 bytes without blanks, and more with them
    BIGGEST,
    {"quoted \" \\ , : ' ": '" , \\" : ', "": {}},
]


def test_what_is_just_possible_is_kept(tables: Tables, durable: Durable) -> None:
    for number, value in enumerate(KEPT):
        enqueue(tables, value=json.dumps(value))
        durable.start("order", value)
        first, second = rows(tables)[-2:]
        assert first["input"] == second["input"], number


def test_blanks_count_only_where_they_are_text(tables: Tables, durable: Durable) -> None:
    spaced = ['a , : \\ " b'] * 70_000
    over = json.dumps(spaced, separators=(",", ":"))
    assert len(over) > 1_048_576
    with pytest.raises(psycopg.errors.ProgramLimitExceeded):
        enqueue(tables, value=over)
    with pytest.raises(SerializationError):
        durable.start("order", spaced)
    fits = spaced[: 1_048_574 // len('"a , : \\\\ \\" b",')]
    enqueue(tables, value=json.dumps(fits))
    durable.start("order", fits)


def test_a_value_goes_in_as_a_parameter_too(tables: Tables, durable: Durable) -> None:
    value = {"it's": ['"; DROP TABLE x; --', "%s", "{}"]}
    tables.sql("SELECT durable.enqueue(%s, %s)", ["order", Jsonb(value)])
    assert rows(tables)[0]["input"] == value
