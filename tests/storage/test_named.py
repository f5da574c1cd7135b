"""Named statements on libpq: psycopg's rows and errors, and no answer or notification lost."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import ExecStatus

from durable_otp.errors import DatabaseUnreachable
from durable_otp.storage import named
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.connecting import CONNECTION_LOST, connection_arguments
from durable_otp.storage.database import Database, open_connection
from durable_otp.storage.journal import database_now
from durable_otp.storage.operation import Operation, Row, transaction
from durable_otp.storage.statements import NumberedStatement, Statement, numbered, statements
from tests.support.tables import Tables

ECHO = (
    b"SELECT $1::text AS text, $2::integer AS whole, $3::float8 AS part, $4::boolean AS yes,"
    b" $5::jsonb AS form, $6::timestamptz AS at, $7::text[] AS names, $8::uuid AS id,"
    b" $9::interval AS span, $10::text AS nothing, $11::integer[] AS numbers"
)
GIVEN: dict[str, Any] = {
    "text": "schön 100%",
    "whole": -7,
    "part": 0.1,
    "yes": True,
    "form": '{"b": [1, null], "a": "\\u00e9"}',
    "at": datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
    "names": ["a,b", 'quo"te', "", None],
    "id": "0190b4a0-0000-7000-8000-000000000001",
    "span": timedelta(days=2, seconds=5),
    "nothing": None,
    "numbers": [1, 2],
}


@pytest.fixture
def write(tables: Tables) -> Iterator[Any]:
    """Add statements of a test's own to those of the schema."""
    catalogue = numbered(tables.schema)
    mine: list[str] = []

    def add(name: str, sql: bytes, *parameters: str) -> None:
        catalogue[name] = NumberedStatement(sql, parameters)
        mine.append(name)

    yield add
    for name in mine:
        catalogue.pop(name, None)


def rows_of(name: str, **parameters: Any) -> Operation[list[Row]]:
    return list((yield Statement(name, parameters)))


def test_one_name_is_one_number(tables: Tables) -> None:
    sql = statements(tables.schema)["checkpoint"]
    found = numbered(tables.schema)["checkpoint"]
    assert len(set(found.parameters)) == len(found.parameters)
    assert sql.count("%(duration)s") > 1
    number = found.parameters.index("duration") + 1
    assert found.sql.count(b"$%d " % number) + found.sql.count(b"$%d)" % number) == sql.count(
        "%(duration)s"
    )
    assert b"%(" not in found.sql


def test_rows_are_what_a_cursor_gives(database: Database, write: Any) -> None:
    write("zz_echo", ECHO, *GIVEN)
    expected = {
        **GIVEN,
        "form": {"a": "é", "b": [1, None]},
        "id": UUID(str(GIVEN["id"])),
    }
    for _ in range(3):  # as it is, then prepared, then by what is known of its columns
        (row,) = database.run(rows_of, "zz_echo", **GIVEN)
        assert row == expected
        assert row["at"].tzinfo is not None
        (empty,) = database.run(rows_of, "zz_echo", **dict.fromkeys(GIVEN))
        assert set(empty.values()) == {None}


@pytest.mark.parametrize(
    ("type_", "items"),
    [
        ("text", ["", " a ", "NULL", "null", None, "a,b", "{x}", "z\ny\t", "é😀"]),
        ("text", ['qu"o"te', "back\\sla\\"]),
        ("text", ["'; DROP TABLE x; --", '\\"', '"', "\\"]),
        ("text", []),
        ("integer", [0, -7, None, 2147483647]),
        ("float8", [0.1, -1e300, float("inf"), None]),
        ("boolean", [True, False, None]),
        ("text", [None]),
        ("timestamptz", [datetime(2026, 3, 1, 12, 30, tzinfo=UTC), None]),  # left to psycopg
    ],
)  # fmt: skip
def test_a_list_arrives_as_it_is(
    database: Database, write: Any, type_: str, items: list[Any]
) -> None:
    write("zz_list", b"SELECT $1::%s[] AS items" % type_.encode(), "items")
    for _ in range(2):
        assert database.run(rows_of, "zz_list", items=items) == [{"items": items}]


def test_a_text_in_a_list_that_postgresql_cannot_hold_is_refused(
    database: Database, write: Any
) -> None:
    write("zz_list", b"SELECT $1::text[] AS items", "items")
    with pytest.raises(psycopg.DataError, match="NUL"):
        database.run(rows_of, "zz_list", items=["a", "b\0c"])


def test_a_statement_is_prepared_once_and_only_when_used_again(database: Database) -> None:
    prepared = "SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE '/* data%'"

    for expected in (0, 1, 1):
        database.run(database_now)
        assert database.connection().execute(prepared).fetchone() == {"n": expected}


def test_an_error_is_psycopgs_and_leaves_the_connection_usable(database: Database) -> None:
    for _ in range(3):
        with pytest.raises(psycopg.errors.InvalidTextRepresentation) as refused:
            database.run(rows_of, "status_of", id="no uuid")
        assert refused.value.sqlstate == "22P02"
    assert database.run(rows_of, "status_of", id=GIVEN["id"]) == []
    assert database.connections_opened == 1


def test_a_text_that_postgresql_cannot_hold_is_refused_before_it_is_cut(
    database: Database, write: Any
) -> None:
    write("zz_text", b"SELECT $1::text AS text", "text")
    with pytest.raises(psycopg.DataError, match="NUL"):
        database.run(rows_of, "zz_text", text="a\0b")
    assert database.run(rows_of, "zz_text", text="a") == [{"text": "a"}]


@pytest.mark.parametrize("lost", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_what_was_prepared_may_be_gone(database: Database, lost: str) -> None:
    for _ in range(3):
        database.run(database_now)
    database.connection().execute(lost)
    for _ in range(3):
        assert database.run(database_now)
    assert database.connections_opened == 1


@pytest.mark.parametrize("together", [False, True])
def test_a_table_that_got_other_columns_is_read_anew(
    database: Database, tables: Tables, write: Any, together: bool
) -> None:
    write("zz_all", b"SELECT * FROM zz_changing")
    tables.sql("CREATE TABLE public.zz_changing AS SELECT 1 AS a")
    operation = transaction(lambda: rows_of("zz_all")) if together else lambda: rows_of("zz_all")
    try:
        for _ in range(3):
            assert database.run(operation) == [{"a": 1}]
        tables.sql("ALTER TABLE public.zz_changing ADD b text DEFAULT 'x'")
        for _ in range(3):
            assert database.run(operation) == [{"a": 1, "b": "x"}]
    finally:
        tables.sql("DROP TABLE public.zz_changing")
    assert database.connections_opened == 1


def test_a_connection_told_not_to_prepare_does_not(tables: Tables) -> None:
    arguments = connection_arguments(tables.dsn, "test")
    with open_connection(arguments, tables.schema) as connection:
        connection.prepare_threshold = None
        connection.named = named.NamedStatements(connection, tables.schema)
        for _ in range(3):
            assert connection.run(Statement("database_now"))
        left = connection.execute("SELECT count(*) AS n FROM pg_prepared_statements").fetchone()
    assert left == {"n": 0}


def test_a_parameter_larger_than_the_sockets_buffers_is_sent_whole(
    database: Database, write: Any
) -> None:
    write("zz_size", b"SELECT length($1::text) AS size", "text")
    assert database.run(rows_of, "zz_size", text="x" * 30_000_000) == [{"size": 30_000_000}]


def test_a_signals_handler_runs_while_a_statement_does(database: Database, write: Any) -> None:
    write("zz_sleep", b"SELECT pg_sleep($1::float8)::text AS slept", "seconds")
    handled = threading.Event()
    with _on_alarm(handled.set):
        assert database.run(rows_of, "zz_sleep", seconds=0.5) == [{"slept": ""}]
    assert handled.is_set()


def test_what_interrupts_a_statement_costs_its_connection_and_no_later_answer(
    database: Database, write: Any
) -> None:
    write("zz_sleep", b"SELECT pg_sleep($1::float8)::text AS slept", "seconds")

    def interrupt() -> None:
        raise KeyboardInterrupt

    database.run(database_now)
    with _on_alarm(interrupt), pytest.raises(KeyboardInterrupt):
        database.run(rows_of, "zz_sleep", seconds=60)
    assert isinstance(database.run(database_now), datetime)
    assert database.connections_opened == 2


def test_a_notification_that_came_with_an_answer_is_heard(
    database: Database, tables: Tables, write: Any
) -> None:
    channel = f"{tables.schema}:sleep"
    write("zz_notify", b"SELECT pg_notify($1::text, '')::text AS told", "channel")
    assert database.listen("listen_sleep")
    assert not database.heard()
    for _ in range(3):
        database.run(rows_of, "zz_notify", channel=channel)
        database.run(database_now)
        assert database.heard()
        assert not database.heard()


def test_a_lost_connection_is_replaced(database: Database, tables: Tables) -> None:
    database.run(database_now)
    tables.sql("SELECT pg_terminate_backend(%s, 5000)", [database.connection().info.backend_pid])
    assert database.run(database_now)
    assert database.connections_opened == 2


def test_an_event_loops_connection_gives_the_same(tables: Tables, write: Any) -> None:
    write("zz_echo", ECHO, *GIVEN)
    write("zz_sleep", b"SELECT pg_sleep($1::float8)::text AS slept", "seconds")
    told = Database(tables.dsn, tables.schema, role="test")

    async def scenario() -> None:
        database = AsyncDatabase(tables.dsn, tables.schema, role="test", deadline=0.5)
        for _ in range(3):
            assert await database.run(rows_of, "zz_echo", **GIVEN) == told.run(
                rows_of, "zz_echo", **GIVEN
            )
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            await database.run(rows_of, "status_of", id="no uuid")
        assert database.connections_opened == 1
        with pytest.raises(DatabaseUnreachable):
            await database.run(rows_of, "zz_sleep", seconds=60)
        assert await database.run(database_now)
        assert database.connections_opened == 2
        await database.close()

    asyncio.run(scenario())
    told.close()


@contextmanager
def _on_alarm(act: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, lambda *_: act())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_connection_that_ends_amid_an_answer_is_lost(dsn: str, schema: str) -> None:
    """PQgetResult meets the end by itself behind the first result, and makes one of its own."""
    connection = open_connection(connection_arguments(dsn, "test"), schema)
    try:
        ended = connection.pgconn.make_empty_result(ExecStatus.FATAL_ERROR)
        assert isinstance(connection.named._refused(ended), CONNECTION_LOST)
    finally:
        connection.close()
