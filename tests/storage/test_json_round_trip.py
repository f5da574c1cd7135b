"""The JSON form is the one that PostgreSQL's jsonb gives back: value, type and order of keys."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from durable_otp.errors import SerializationError
from durable_otp.workflow.json_form import canonical, decode, encode

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(1e14, 1e19)
    | TEXT
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=6),
    max_leaves=15,
)


@pytest.fixture(scope="module")
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_dsn, autocommit=True) as opened:
        yield opened


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(VALUES)
@example([1e15, 1.0, 1e-7, 5e-324, 2.2250738585072014e-308, -0.0, 1e16, 9.2e18, -1e17])
@example([9007199254740993.0, 123456789.125, 1.2345678901234567e16, 1.2345678901234568e18])
@example({"bb": 1, "a": 2, "ü": 3, "": 4, "aa": 5, "\U0001f600": 6, "￿": 7})
@example({'\x01\x7f\u2028\\"': "\\u0000"})
def test_jsonb_gives_back_the_json_form(connection: psycopg.Connection, value: object) -> None:
    try:
        form = canonical(value)
    except SerializationError:
        assume(False)
    row = connection.execute("SELECT %s::jsonb::text", [encode(form).decode()]).fetchone()
    assert row is not None
    assert json.dumps(decode(row[0])) == json.dumps(form)  # numbers by type, keys in order


def test_jsonb_takes_the_deepest_value_inside_a_context(connection: psycopg.Connection) -> None:
    value: object = 1
    for _ in range(200):
        value = [value]
    context = {"deep": canonical(value)}
    row = connection.execute("SELECT %s::jsonb::text", [encode(context).decode()]).fetchone()
    assert row is not None
    assert decode(row[0]) == context
