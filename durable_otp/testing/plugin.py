"""The pytest fixtures: a client on a schema of the test's own, and trees that run there.

pytest loads this module at every start of every project that has the package installed, so it
imports nothing before a test asks for a fixture.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any
from uuid import uuid4

import pytest

import durable_otp

STOP_WITHIN_SECONDS = 10.0
WORKERS = 2


@pytest.fixture(scope="session")
def _durable_otp_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The database of a test session: DURABLE_DSN, else a private server that ends with it."""
    given = os.environ.get("DURABLE_DSN")
    if given:
        yield given
        return
    from durable_otp.storage import embedded  # noqa: PLC0415 - only if it is needed

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the workers of one session share a server, which counts its users
    directory = base / "durable-otp-postgres"
    server = embedded.acquire(directory, mode="test")
    try:
        yield server.dsn
    finally:
        server.release()
        with suppress(durable_otp.EmbeddedServerError):
            embedded.reset(directory)  # refused while another pytest-xdist worker uses it


@pytest.fixture
def durable(_durable_otp_dsn: str) -> Iterator["durable_otp.Durable"]:
    """A client on a migrated schema of this test's own, which is removed afterwards.

    The database is that of DURABLE_DSN, else of a private server for the session.
    """
    schema = f"test_{uuid4().hex[:16]}"
    with durable_otp.Durable(_durable_otp_dsn, schema=schema) as client:
        try:
            client.migrate()
            yield client
        finally:
            client.migrate(to=0)


@pytest.fixture
def durable_runtime(
    durable: "durable_otp.Durable",
) -> Iterator[Callable[..., "durable_otp.Runtime"]]:
    """Start trees on the schema of ``durable``; they are stopped when the test ends.

    ``durable_runtime(workflows, queues=None, **settings)`` takes what ``Runtime`` takes and returns
    it started; without ``queues`` there are two workers for the queue "default".
    """
    with ExitStack() as stack:

        def start(
            workflows: Any, queues: dict[str, Any] | None = None, **settings: Any
        ) -> "durable_otp.Runtime":
            runtime = durable_otp.Runtime(
                dsn=durable.dsn,
                schema=durable.schema,
                workflows=workflows,
                queues={"default": WORKERS} if queues is None else queues,
                **settings,
            )
            stack.callback(runtime.stop, STOP_WITHIN_SECONDS)
            return runtime.start()

        yield start
