"""The SQL keeps to what Python says of it: it parses, is used, and moves as the table allows."""

import re
from pathlib import Path

import psycopg
import pytest

from durable_otp.storage.migrator import Migrator
from durable_otp.storage.statements import StatementText, catalogue, in_schema, statements
from durable_otp.workflow.state import TRANSITIONS, Move, State
from tests.support.postgres import fresh_schema

PACKAGE = Path(__file__).parents[2] / "durable_otp"
PARAMETER = re.compile(r"%\((\w+)\)s")
# An UPDATE of an execution's status: what is assigned, up to the next column or clause.
ASSIGNMENT = re.compile(
    r"UPDATE durable\.workflow_executions\b.*?\bSET\b(?P<set>.*?)(?:\n\s*(?:FROM|WHERE)\b)",
    re.DOTALL,
)
STATUS = re.compile(r"(?<![\w.])status = (?P<value>.*?)(?=,\s*\w+ = |\Z)", re.DOTALL)
# What durable.failed_status() has answered: one of these two.
FAILED_STATUS = re.compile(r"\w+\.failed_status\b")
GUARD = r"lock_token (= (%\(lock_token\)s::uuid|\w+\.lock_token)|IN \(%\(lock_token\)s::uuid)"

every_statement = pytest.mark.parametrize("text", catalogue().values(), ids=catalogue())


def positional(sql: str) -> str:
    """Return SQL with PostgreSQL's own parameters, as psycopg sends it."""
    names = list(dict.fromkeys(PARAMETER.findall(sql)))
    return PARAMETER.sub(lambda each: f"${names.index(each[1]) + 1}", sql).replace("%%", "%")


def assigned(text: StatementText) -> str | None:
    """Return the expression that becomes an execution's status, if the statement sets one."""
    for update in ASSIGNMENT.finditer(text.sql):
        status = STATUS.search(update["set"])
        if status is not None:
            return status["value"]
    return None


@pytest.fixture(scope="module")
def migrated(postgres_dsn):
    with fresh_schema(postgres_dsn) as schema:
        Migrator(postgres_dsn, schema).migrate(test_clock=True)
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            yield connection, schema


@pytest.mark.parametrize("name", catalogue())
def test_every_statement_is_understood_by_the_migrated_schema(migrated, name):
    connection, schema = migrated
    result = connection.pgconn.prepare(b"", positional(statements(schema)[name]).encode())
    assert result.status == psycopg.pq.ExecStatus.COMMAND_OK, result.error_message.decode()


@every_statement
def test_every_statement_is_used(text):
    quoted = f'"{text.name}"'
    assert any(quoted in path.read_text() for path in PACKAGE.rglob("*.py"))


@every_statement
def test_who_changes_a_status_says_by_which_moves(text):
    if assigned(text) is None:
        assert text.moves == ()
    else:
        assert text.moves
        assert set(text.moves) <= set(Move)


@every_statement
def test_a_status_becomes_only_what_its_moves_lead_to(text):
    expression = assigned(text)
    if expression is None:
        return
    outcomes = re.sub(r"\bWHEN\b.*?\bTHEN\b", "THEN", expression, flags=re.DOTALL)
    outcomes = FAILED_STATUS.sub("'failed' 'compensating'", outcomes)
    written = set(re.findall(r"'(\w+)'", outcomes))
    targets = {to for (_, move), to in TRANSITIONS.items() if move in text.moves}
    assert written <= set(State)
    # A crash that leaves the worker its claim writes `running` where nothing moves.
    assert written - {State.RUNNING} <= targets
    for move in text.moves:
        leads_to = {to for (_, each), to in TRANSITIONS.items() if each == move}
        assert written & leads_to, f"{text.name} never makes the move {move}"


@every_statement
def test_a_statement_is_marked_fenced_when_and_only_when_it_names_the_token(text):
    assert text.fenced == (re.search(GUARD, text.sql) is not None)


def test_a_schema_is_written_wherever_durable_stood():
    sql = "SELECT durable.now(), 'durable:queue' FROM durable.waits -- x"
    assert in_schema(sql, "shop") == 'SELECT "shop".now(), \'shop:queue\' FROM "shop".waits -- x'
    assert in_schema("DROP SCHEMA durable", "shop") == 'DROP SCHEMA "shop"'


@every_statement
def test_a_statement_carries_its_name_and_no_other_schema(text):
    sql = statements("zz_other")[text.name]
    assert sql.startswith(f"/* {text.name} */")
    assert "durable." not in sql
    assert "durable:" not in sql


# What is JSON and no payload: the package's own words, what is compared, and what the writer of a
# batch has encoded itself. An error is a payload where it is a user's; the engine's own are not.
NO_PAYLOADS = {
    "dashboard_audit": {"detail"},
    "dashboard_executions": {"contains", "context"},
    "publish_node": {"tree", "workflows"},
    "record_lives": {"lives"},
    "write_batch": {"rows"},
    "settle_crash": {"error"},
    "settle_timeout": {"error"},
    "settle_handler_crash": {"error"},
    "settle_handler_timeout": {"error"},
}


@every_statement
def test_every_parameter_that_is_json_is_a_payload_or_known_to_be_none(text):
    cast = set(re.findall(r"%\((\w+)\)s::jsonb?\b", text.sql))
    assert set(text.payloads) <= set(PARAMETER.findall(text.sql))
    assert cast - set(text.payloads) <= NO_PAYLOADS.get(text.name, set())
