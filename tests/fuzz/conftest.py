"""Fixtures of the fuzz tests: the schemas that storage's tests use."""

from collections.abc import Iterator

import pytest

from tests.storage.conftest import clocked_tables, database, session_tables, tables
from tests.support.entry_points import Bench
from tests.support.tables import Tables

__all__ = ["clocked_tables", "database", "session_tables", "tables"]


@pytest.fixture(scope="module")
def bench(session_tables: Tables) -> Iterator[Bench]:
    """Every way into the shared schema."""
    made = Bench(session_tables)
    yield made
    made.close()
