"""The recipes of docs/integrations.md for plain SQL and SQLAlchemy, against one tree."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from durable_otp import Durable
from tests.support.postgres import fresh_database
from tests.support.recipes import PAGE, executed, fulfilling, packed, recipes


@pytest.fixture(scope="module")
def durable(postgres_dsn: str) -> Iterator[Durable]:
    with fresh_database(postgres_dsn) as dsn, fulfilling(dsn) as client:
        yield client


def test_the_call_that_the_page_shows_starts_one(durable: Durable) -> None:
    (call,) = re.findall(r"```sql\n(SELECT .*?;)\n```", PAGE.read_text(), re.DOTALL)
    with psycopg.connect(durable.dsn, autocommit=True) as connection:
        ids = [connection.execute(call.encode()).fetchone() for _ in range(2)]
    assert ids[0] == ids[1]
    assert ids[0] is not None
    found = durable.get_execution(str(ids[0][0]))
    assert (found.queue, found.priority, found.input) == ("slow", 5, {"order": 7})


def test_a_trigger_starts_one_for_each_row_that_is_committed(durable: Durable) -> None:
    with psycopg.connect(durable.dsn) as connection:
        connection.execute("CREATE SCHEMA triggers")
        connection.execute("SET search_path = triggers")
        connection.execute(recipes()["shop/orders.sql"].encode())
        connection.commit()
        before = durable.count_executions()
        insert = b"INSERT INTO triggers.orders (customer) SELECT 'Ada' FROM generate_series(1, 2)"
        connection.execute(insert)
        connection.rollback()
        assert durable.count_executions() == before
        connection.execute("SET search_path = triggers")
        connection.execute(insert)
        connection.commit()
    started = durable.list_executions("fulfil", limit=2)
    assert durable.count_executions() == before + 2
    numbers = sorted(each.input["order"] for each in started)
    assert [packed(durable, each.id) for each in started[::-1]] == [f"order {n}" for n in numbers]


@pytest.fixture(scope="module")
def shop(durable: Durable) -> dict[str, Any]:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")
    shop = executed("shop/session.py")
    address = f"postgresql+psycopg:///?{_query(durable.dsn)}"
    engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
    shop["Base"].metadata.create_all(engine)
    with psycopg.connect(durable.dsn) as connection:  # other orders than those of the trigger
        connection.execute("ALTER SEQUENCE orders_id_seq RESTART 100")
    return shop | {"engine": engine}


@pytest.mark.parametrize("by", ["place", "place_by_client"])
def test_a_session_takes_an_execution_along(
    durable: Durable, shop: dict[str, Any], by: str
) -> None:
    more = [durable] if by == "place_by_client" else []
    with shop["Session"](shop["engine"]) as session:
        before = durable.count_executions("fulfil")
        shop[by](session, *more, "Ada")
        session.rollback()
        assert durable.count_executions("fulfil") == before
        started = shop[by](session, *more, "Ada")
        session.commit()
        order = session.query(shop["Order"]).order_by(shop["Order"].id.desc()).first()
    assert packed(durable, started) == f"order {order.id}"


def _query(dsn: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return "&".join(f"{name}={value}" for name, value in parts.items())
