"""Fixtures of the fuzz tests: the schemas that storage's tests use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.conftest import clocked_tables, database, session_tables, tables
from tests.support.entry_points import Bench
from tests.support.examples import IS_FULL
from tests.support.tables import Tables

SECONDS_FOR_MANY = 7200
__all__ = ["clocked_tables", "database", "session_tables", "tables"]


@pytest.fixture(scope="module")
def bench(session_tables: Tables) -> Iterator[Bench]:
    """Every way into the shared schema."""
    made = Bench(session_tables)
    yield made
    made.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the fuzz tests the time that many examples take."""
    for item in items:
        if IS_FULL and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS_FOR_MANY))
