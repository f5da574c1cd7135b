"""PgQueuer: a job queue, asyncio workers, jobs dequeued and completed in batches."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

from bench.peers import driving
from bench.probe import Probe


class Pgqueuer:
    """Options: batch_size."""

    def __init__(self, dsn: str, options: dict[str, Any]) -> None:
        self._dsn = dsn
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._queries: Any = None

    def prepare(self) -> None:
        """Install its tables."""
        connection = self._do(asyncpg.connect(self._dsn))
        self._queries = Queries(AsyncpgDriver(connection))
        self._do(self._queries.install())

    def enqueue(self, kind: str, inputs: Sequence[Any]) -> None:
        """Enqueue in one statement."""
        count = len(inputs)
        payloads = [str(slot).encode() for slot in inputs]
        self._do(self._queries.enqueue([kind] * count, payloads, [0] * count))

    def enqueue_one(self, kind: str, given: Any) -> None:
        """Enqueue one."""
        self._do(self._queries.enqueue(kind, str(given).encode()))

    def left(self) -> str:
        """Count what is in the queue; what is done leaves it."""
        return "SELECT count(*) FROM pgqueuer"

    def send(self, slot: int) -> None:
        """It has no events."""
        raise NotImplementedError(slot)

    def serve(self, probe: Probe, index: int) -> None:
        """Run a worker."""
        del index
        asyncio.run(self._serve(probe))

    async def _serve(self, probe: Probe) -> None:
        connection = await asyncpg.connect(self._dsn)
        manager = QueueManager(Queries(AsyncpgDriver(connection)))

        @manager.entrypoint("noop")
        async def noop(job: Any) -> None:
            probe.mark(int(job.payload))

        await manager.run(**self._options)

    def _do(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(coroutine)


if __name__ == "__main__":
    driving.main(Pgqueuer)
