"""What operators ask about the whole of a schema."""

from dataclasses import dataclass

from durable_otp.storage.nodes import QueueSettings
from durable_otp.storage.operation import Operation
from durable_otp.storage.statements import Statement


@dataclass(frozen=True)
class PendingWorkflow:
    """How many executions of a definition wait for a worker."""

    workflow: str
    version: str
    pending: int


@dataclass(frozen=True)
class JournalTotals:
    """How many attempts of steps are recorded, by how they ended.

    ``repeated`` counts attempts that ended after their step had been recorded as completed.
    """

    completed: int
    failed: int
    crashed: int
    repeated: int


@dataclass(frozen=True)
class Recovery:
    """A death of a worker within a step; ``seconds`` until the step ran again, None: not yet."""

    id: str
    execution_id: str
    step: str
    signal: str | None
    seconds: float | None


def pending_workflows() -> Operation[list[PendingWorkflow]]:
    """Return what waits for a worker, by definition."""
    rows = yield Statement("pending_workflows")
    return [PendingWorkflow(**row) for row in rows]


def oldest_due() -> Operation[dict[str, float]]:
    """Return by queue for how many seconds the longest due execution has waited for a worker."""
    rows = yield Statement("oldest_due")
    return {row["queue"]: row["seconds"] for row in rows}


def journal_totals() -> Operation[JournalTotals]:
    """Return how many attempts are recorded."""
    rows = yield Statement("journal_totals")
    return JournalTotals(**rows[0])


def recoveries() -> Operation[list[Recovery]]:
    """Return the deaths of workers within steps, the oldest first."""
    rows = yield Statement("recoveries")
    return [Recovery(**row) for row in rows]


def statuses_of(ids: list[str]) -> Operation[dict[str, str]]:
    """Return the status of each of these executions, by id; one that is gone is left out."""
    rows = yield Statement("statuses_of", {"ids": ids})
    return {row["id"]: row["status"] for row in rows}


def all_queue_settings() -> Operation[dict[tuple[str, str], QueueSettings]]:
    """Return what operators have set, by queue and node id."""
    rows = yield Statement("all_queue_settings")
    return {
        (row["queue"], row["node_id"]): QueueSettings(row["paused"], row["concurrency"])
        for row in rows
    }
