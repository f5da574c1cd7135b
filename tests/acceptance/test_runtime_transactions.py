"""A step with a transaction writes in its own database exactly once, however it is disturbed."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from durable_otp import Context, Retry, Workflow, once, sleep
from durable_otp.errors import DefinitionError
from durable_otp.testing import run_inline
from tests.support.tree import Tree, running
from tests.support.waiting import wait_until

books = Workflow("books")


def book(connection: Any, ctx: Context, amount: int) -> None:
    schema = ctx.input["schema"]
    connection.execute(
        f"INSERT INTO {schema}.bookings (execution_id, amount) VALUES (%s, %s)".encode(),
        [ctx.execution_id, amount],
    )


def disturb(ctx: Context, connection: Any) -> None:
    """Do once what the input says, the first time that this execution comes here."""
    schema, how = ctx.input["schema"], ctx.input["how"]
    with psycopg.connect(ctx.input["dsn"], autocommit=True) as other:
        seen = other.execute(
            f"INSERT INTO {schema}.disturbed VALUES (%s) "
            "ON CONFLICT DO NOTHING RETURNING 1".encode(),
            [ctx.execution_id],
        ).fetchone()
        if seen is None:
            return
        if how == "terminate":
            other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise":
        raise ValueError("not today")
    if how == "hang":
        signal.pause()


@books.step(transaction=True, retry=Retry(max_attempts=2, base=0.01), timeout=3)
def debit(ctx: Context, connection: Any) -> dict[str, Any]:
    book(connection, ctx, -5)
    disturb(ctx, connection)
    (row,) = connection.execute("SELECT 1, 2").fetchall()
    return {"seen": list(row)}


@books.step
def between() -> None: ...


@books.step(transaction=True)
def credit(ctx: Context, connection: Any) -> None:
    book(connection, ctx, 5)


wrong = Workflow("wrong")


@wrong.step(transaction=True, retry=Retry(max_attempts=3, base=0.01))
def go_wrong(ctx: Context, connection: Any) -> None:
    book(connection, ctx, 1)
    match ctx.input["how"]:
        case "swallow":
            with suppress(psycopg.Error):
                connection.execute("SELECT 1 / 0")
        case "commit":
            connection.execute(
                f"INSERT INTO {ctx.input['schema']}.checked_late VALUES (1), (1)".encode()
            )
        case "wait":
            sleep(1)
        case "once":
            once("key", int)
        case "end":
            connection.commit()


@pytest.fixture(scope="module", params=["each", "batched"])
def tree(request: pytest.FixtureRequest, postgres_dsn: str, module_schema: str) -> Iterator[Tree]:
    queues = {"default": {"concurrency": 2, "commit": request.param}}
    with running(postgres_dsn, module_schema, books, wrong, queues=queues) as tree:
        tree.sql("CREATE TABLE IF NOT EXISTS {s}.bookings (execution_id text, amount int)")
        tree.sql("CREATE TABLE IF NOT EXISTS {s}.disturbed (execution_id text PRIMARY KEY)")
        tree.sql(
            "CREATE TABLE IF NOT EXISTS {s}.checked_late "
            "(n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
        )
        yield tree


@pytest.fixture(scope="module")
def module_schema(postgres_dsn: str) -> Iterator[str]:
    from tests.support.postgres import fresh_schema

    with fresh_schema(postgres_dsn) as schema:
        yield schema


def start(tree: Tree, workflow: Workflow, how: str) -> Any:
    return tree.durable.start(workflow, {"how": how, "schema": tree.schema, "dsn": tree.dsn})


def amounts(tree: Tree, handle: Any) -> list[int]:
    rows = tree.sql(
        "SELECT amount FROM {s}.bookings WHERE execution_id = %s ORDER BY amount", handle.id
    )
    return [row["amount"] for row in rows]


@pytest.mark.parametrize(
    ("how", "attempts"),
    [
        ("nothing", ["completed"]),
        ("raise", ["failed", "completed"]),
        ("kill", ["failed", "completed"]),
        ("hang", ["failed", "completed"]),
        ("terminate", ["completed"]),
    ],
)
def test_what_a_body_writes_is_there_once(tree: Tree, how: str, attempts: list[str]) -> None:
    handle = start(tree, books, how)
    assert handle.result(timeout=60)["seen"] == [1, 2]
    assert amounts(tree, handle) == [-5, 5]
    steps = handle.execution().steps
    assert [step.status for step in steps if step.name == "debit"] == attempts


def test_a_lost_claim_writes_nothing(tree: Tree) -> None:
    handle = start(tree, books, "hang")
    wait_until(
        lambda: tree.sql("SELECT 1 FROM {s}.disturbed WHERE execution_id = %s", handle.id),
        what="the body",
    )
    handle.cancel()
    assert tree.until(handle, "cancelled").status == "cancelled"
    assert amounts(tree, handle) == []


@pytest.mark.parametrize(
    ("how", "error", "attempts"),
    [
        ("swallow", "InFailedSqlTransaction", 3),
        ("commit", "UniqueViolation", 3),
        ("wait", "Fatal", 1),
        ("once", "Fatal", 1),
        ("end", "ProgrammingError", 3),
    ],
)
def test_what_cannot_be_committed_fails_the_step_and_keeps_nothing(
    tree: Tree, how: str, error: str, attempts: int
) -> None:
    handle = start(tree, wrong, how)
    execution = tree.until(handle, "failed")
    assert execution.error["type"] == error
    assert len(execution.steps) == attempts
    assert amounts(tree, handle) == []


# without a tree


def test_inline_it_uses_the_connection_of_the_test(dsn: str, schema: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
        connection.execute(
            f"CREATE TABLE {schema}.bookings (execution_id text, amount int)".encode()
        )
        connection.execute(
            f"CREATE TABLE {schema}.disturbed (execution_id text PRIMARY KEY)".encode()
        )
        given = {"how": "raise", "schema": schema, "dsn": dsn}
        execution = run_inline(books, given, connection=connection)
        assert execution.status == "completed"
        booked = connection.execute(f"SELECT amount FROM {schema}.bookings".encode()).fetchall()
        assert sorted(booked) == [(-5,), (5,)]


def test_inline_without_a_connection_says_so() -> None:
    execution = run_inline(wrong, {"how": "end", "schema": "none"})
    assert execution.error["type"] == "Fatal"
    assert "connection=..." in execution.error["message"]


@pytest.mark.parametrize("parameters", ["", "ctx", "ctx, connection, more", "*, connection"])
def test_a_body_takes_the_context_and_the_connection(parameters: str) -> None:
    workflow = Workflow("w")
    names: dict[str, Any] = {}
    exec(f"def body({parameters}): ...", names)
    with pytest.raises(DefinitionError, match="connection"):
        workflow.step(transaction=True)(names["body"])


def test_a_body_with_a_transaction_is_not_async() -> None:
    workflow = Workflow("w")
    with pytest.raises(DefinitionError, match="async"):

        @workflow.step(transaction=True)
        async def body(ctx: Context, connection: Any) -> None: ...
