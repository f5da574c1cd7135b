"""Fixtures of the tests that need a migrated schema."""

from collections.abc import Iterator

import pytest

from durable_otp.storage.adapter import PostgresAdapter
from durable_otp.storage.database import Database
from tests.support.postgres import fresh_schema
from tests.support.tables import Tables, migrated_tables


@pytest.fixture(scope="session")
def session_tables(postgres_dsn: str) -> Iterator[Tables]:
    """A migrated schema that the tests of a session share."""
    with fresh_schema(postgres_dsn) as schema, migrated_tables(postgres_dsn, schema) as tables:
        yield tables


@pytest.fixture
def tables(session_tables: Tables) -> Tables:
    """The shared schema's tables, empty."""
    session_tables.empty()
    return session_tables


@pytest.fixture(scope="session")
def clocked_tables(postgres_dsn: str) -> Iterator[Tables]:
    """A migrated schema whose clock tests set, shared by the tests of a session."""
    with (
        fresh_schema(postgres_dsn) as schema,
        migrated_tables(postgres_dsn, schema, test_clock=True) as tables,
    ):
        yield tables


@pytest.fixture
def adapter(tables: Tables) -> Iterator[PostgresAdapter]:
    """The queue adapter on those tables."""
    with PostgresAdapter(tables.dsn, schema=tables.schema) as adapter:
        yield adapter


@pytest.fixture
def database(tables: Tables) -> Iterator[Database]:
    """One connection that runs operations on those tables."""
    database = Database(tables.dsn, tables.schema, role="test")
    yield database
    database.close()
