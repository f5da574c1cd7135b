"""Workflow deadlines: what has not ended in time ends as `workflow_timeout`."""

from durable_otp.storage.aftermath import Ended, aftermath, ended
from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.statements import Statement


@transaction
def end_overdue(batch_size: int) -> Operation[Ended]:
    """End a batch of executions whose deadline has passed, whatever they do.

    What has something to undo compensates, the rest has failed; running bodies are told to stop,
    waits are closed and children cancelled. As many as ``batch_size`` means there may be more.
    """
    locked = yield Statement("lock_overdue", {"batch_size": batch_size})
    if not locked:
        return Ended(0)
    rows = yield Statement("fail_overdue", {"ids": [row["id"] for row in locked]})
    yield from aftermath(rows)
    return ended(rows)


def next_deadline() -> Operation[float | None]:
    """Return the seconds until the next deadline, below zero if overdue; None if there is none."""
    rows = yield Statement("next_deadline")
    seconds: float | None = rows[0]["seconds"]
    return seconds
