"""Fixtures of the acceptance tests: a migrated schema, a client, and somebody who claims."""

from collections.abc import Iterator

import pytest

from durable_otp.client import Durable
from durable_otp.storage.adapter import PostgresAdapter
from durable_otp.workflow.builder import Workflow
from tests.support.tables import Tables, migrated_tables


@pytest.fixture
def tables(dsn: str, schema: str) -> Iterator[Tables]:
    """A migrated schema of this test's own."""
    with migrated_tables(dsn, schema) as tables:
        yield tables


@pytest.fixture
def durable(tables: Tables) -> Iterator[Durable]:
    """A client of that schema."""
    with Durable(tables.dsn, schema=tables.schema) as client:
        yield client


@pytest.fixture
def adapter(tables: Tables) -> Iterator[PostgresAdapter]:
    """Somebody who claims and settles there."""
    with PostgresAdapter(tables.dsn, schema=tables.schema) as adapter:
        yield adapter


@pytest.fixture
def order() -> Workflow:
    """A workflow that nothing runs here."""
    workflow = Workflow("order", version="2", queue="shop", priority=4, timeout=60)

    @workflow.step
    def charge(ctx):
        ctx["charged"] = True

    return workflow
