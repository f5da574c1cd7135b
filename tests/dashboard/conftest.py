"""Fixtures of the dashboard's tests: a tree that runs, and its dashboard."""

from collections.abc import Iterator

import pytest

from tests.support.dashboard import Site, served, workflows
from tests.support.postgres import fresh_schema
from tests.support.tree import Tree, running


@pytest.fixture(scope="session")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    """A tree that all tests of the folder share, each with executions of its own."""
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, *workflows(), queues={"default": 3, "other": 1}) as tree,
    ):
        yield tree


@pytest.fixture(scope="session")
def session_site(tree: Tree) -> Iterator[Site]:
    """That tree's dashboard."""
    with served(tree.dsn, tree.schema) as site:
        yield site


@pytest.fixture
def site(session_site: Site) -> Site:
    """Somebody who has just come to it."""
    session_site.client.cookies.clear()
    return session_site
