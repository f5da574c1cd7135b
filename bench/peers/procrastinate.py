"""Procrastinate: a job queue, asyncio workers woken by NOTIFY, one job fetched at a time."""

import asyncio
from collections.abc import Sequence
from typing import Any

import procrastinate

from bench.peers import driving
from bench.probe import Probe


class Procrastinate:
    """Options: concurrency."""

    def __init__(self, dsn: str, options: dict[str, Any]) -> None:
        self._dsn = dsn
        self._options = options
        self._app: Any = None
        self._noop: Any = None

    def prepare(self) -> None:
        """Apply the schema."""
        self._app, self._noop = _define(
            procrastinate.SyncPsycopgConnector(conninfo=self._dsn), None
        )
        self._app.open()
        self._app.schema_manager.apply_schema()

    def enqueue(self, kind: str, inputs: Sequence[Any]) -> None:
        """Defer in one batch."""
        del kind
        self._noop.batch_defer(*[{"slot": slot} for slot in inputs])

    def enqueue_one(self, kind: str, given: Any) -> None:
        """Defer one."""
        del kind
        self._noop.defer(slot=given)

    def left(self) -> str:
        """Count what is to do or being done."""
        return "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"

    def send(self, slot: int) -> None:
        """It has no events."""
        raise NotImplementedError(slot)

    def serve(self, probe: Probe, index: int) -> None:
        """Run a worker."""
        del index
        asyncio.run(self._serve(probe))

    async def _serve(self, probe: Probe) -> None:
        app, _ = _define(procrastinate.PsycopgConnector(conninfo=self._dsn), probe)
        async with app.open_async():
            await app.run_worker_async(**self._options)


def _define(connector: Any, probe: Any) -> tuple[Any, Any]:
    app = procrastinate.App(connector=connector)

    @app.task(name="noop")
    async def noop(slot: int) -> None:
        probe.mark(slot)

    return app, noop


if __name__ == "__main__":
    driving.main(Procrastinate)
