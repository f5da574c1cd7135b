"""Which process ran what when: attempts by the process that ran them, within bounds."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.statements import Statement
from durable_otp.workflow.state import FINAL, State

MOST_EXECUTIONS = 2000
MOST_ATTEMPTS = 5000
PATIENCE_MILLISECONDS = 4000


@dataclass(frozen=True)
class RanAttempt:
    """An attempt with the process that ran it; None where somebody else had to record it."""

    execution_id: str
    workflow: str
    path: str
    attempt: int
    status: str
    is_compensation: bool
    process: str | None
    started_at: datetime | None
    completed_at: datetime


@dataclass(frozen=True)
class Ran:
    """What processes ran lately, the newest first.

    Attributes:
        complete_since: From when on no attempt is missing; None when there are none at all.
        began: Since when each execution that is held is at its step; None where that is not known.
    """

    attempts: tuple[RanAttempt, ...]
    complete_since: datetime | None
    began: dict[str, datetime | None]


@transaction
def ran_lately(
    seconds: float, processes: Collection[str], *, died_at: Collection[str], held: Collection[str]
) -> Operation[Ran]:
    """Return what these processes ran in the last seconds.

    Args:
        seconds: How far back.
        processes: Their keys (`processes.process_key`).
        died_at: Executions at which a process died, whose attempt has no process.
        held: Executions that are held now, as far as nodes have said.
    """
    yield Statement("dashboard_patience", {"milliseconds": str(PATIENCE_MILLISECONDS)})
    rows = yield Statement(
        "attempts_of_processes",
        {
            "seconds": seconds,
            "processes": sorted(processes),
            "died_at": sorted(died_at),
            "statuses": sorted(FINAL),
            "living": sorted({state.value for state in State} - FINAL),
            "most": MOST_EXECUTIONS,
            "limit": MOST_ATTEMPTS,
        },
    )
    begun = yield Statement("begun_steps", {"ids": sorted(held)})
    since = rows[0]["complete_since"] if rows else None
    if len(rows) == MOST_ATTEMPTS:
        since = max(since, rows[-1]["completed_at"])
    attempts = [
        RanAttempt(**{key: row[key] for key in row if key != "complete_since"}) for row in rows
    ]
    began = {row["id"]: row["started_at"] for row in begun}
    return Ran(tuple(attempts), since, began)
