"""Fixtures every test may ask for: a PostgreSQL to share, one of its own, and a fresh schema."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.postgres import PrivateServer, fresh_schema, session_server

settings.register_profile("on a machine that others use too", deadline=None)
settings.load_profile("on a machine that others use too")


LONG = (
    "test_soak",
    "test_model",
    "test_sweep",
    "test_testing_plugin",
    "test_pg_command",
    "test_failure_guide",
    "test_embedded_postgres",
    "test_manager_stalls",
    "test_runtime_threads",
    "test_codec",
    "test_browser",
    "test_demo",
)
"""Files that take a process of pytest-xdist for half a minute and more."""


def pytest_configure(config: pytest.Config) -> None:
    """Let files be handed out in the order below; pytest-xdist would take few tests for little."""
    config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, lest all wait for one at the end; else as it falls."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of a PostgreSQL that all tests share: DURABLE_TEST_DSN, else an embedded server."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the workers of one run share a server, by its locks
    with session_server(base / "postgres") as dsn:
        yield dsn


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    """The shared PostgreSQL's DSN."""
    return postgres_dsn


@pytest.fixture
def schema(postgres_dsn: str) -> Iterator[str]:
    """A schema name of this test's own, dropped with its contents afterwards."""
    with fresh_schema(postgres_dsn) as name:
        yield name


@pytest.fixture
def private_postgres(tmp_path: Path) -> Iterator[Callable[[], PrivateServer]]:
    """Make a PostgreSQL of the test's own, to stop, kill and start (`fsync` off, same engine)."""
    made: list[PrivateServer] = []

    def make() -> PrivateServer:
        server = PrivateServer(tmp_path / f"postgres{len(made)}")
        made.append(server)
        return server

    yield make
    for server in made:
        server.remove()
