"""DBOS Transact: workflows in threads of a process, dequeued by polling."""

import threading
from collections.abc import Sequence
from typing import Any

from dbos import DBOS, DBOSClient

from bench.peers import driving
from bench.probe import Probe


class Dbos:
    """Options: worker_concurrency, polling_interval_sec."""

    def __init__(self, dsn: str, options: dict[str, Any]) -> None:
        self._dsn = dsn
        self._options = options
        self._client: Any = None

    def prepare(self) -> None:
        """Launch once, which makes the tables and registers the queue."""
        self._launch("setup", None)
        DBOS.destroy()
        self._client = DBOSClient(system_database_url=self._dsn)

    def enqueue(self, kind: str, inputs: Sequence[Any]) -> None:
        """Enqueue in one transaction."""
        with self._client._sys_db.engine.begin() as connection:  # noqa: SLF001 - many in one transaction
            for given in inputs:
                self._client.enqueue_in_transaction(connection, _options(kind, given), given)

    def enqueue_one(self, kind: str, given: Any) -> None:
        """Enqueue by the client."""
        self._client.enqueue(_options(kind, given), given)

    def left(self) -> str:
        """Count what has not succeeded."""
        return "SELECT count(*) FROM dbos.workflow_status WHERE status <> 'SUCCESS'"

    def send(self, slot: int) -> None:
        """Send to the workflow by its id."""
        self._client.send(f"receiver-{slot}", "x", "go")

    def serve(self, probe: Probe, index: int) -> None:
        """Dequeue for ever."""
        self._launch(f"executor{index}", probe)
        threading.Event().wait()

    def _launch(self, executor: str, probe: Probe | None) -> None:
        DBOS(
            config={
                "name": "bench",
                "system_database_url": self._dsn,
                "run_admin_server": False,
                "log_level": "ERROR",
                "executor_id": executor,
                "application_version": "1",
            }
        )
        _define(probe)
        DBOS.launch()
        DBOS.register_queue("bench", **self._options)


def _options(kind: str, given: Any) -> Any:
    slot = given[0] if isinstance(given, list) else given
    return {
        "queue_name": "bench",
        "workflow_name": kind,
        "app_version": "1",
        "workflow_id": f"{kind}-{slot}",
    }


def _define(probe: Any) -> None:
    @DBOS.step(name="mark")
    def mark(slot: int) -> dict[str, Any]:
        probe.mark(slot)
        return {"charge_id": 12345, "ok": True}

    @DBOS.workflow(name="noop")
    def noop(slot: int) -> None:
        probe.mark(slot)

    @DBOS.workflow(name="five")
    def five(slot: int) -> None:
        for number in range(driving.STEPS):
            mark(slot * driving.STEPS + number)

    @DBOS.workflow(name="sleeper")
    def sleeper(given: list[Any]) -> None:
        slot, seconds = given
        mark(2 * slot)
        DBOS.sleep(seconds)
        mark(2 * slot + 1)

    @DBOS.workflow(name="receiver")
    def receiver(slot: int) -> None:
        mark(2 * slot)
        DBOS.recv("go", timeout_seconds=60)
        mark(2 * slot + 1)


if __name__ == "__main__":
    driving.main(Dbos)
