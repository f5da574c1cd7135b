"""What the tree's small processes do for executions: wake what is due, end what is late.

`keep_up` is all of them at once: the sleep waker, the wait timeouts, the deadlines, the calls that
are waited for no longer, and the look at parents whose children have ended.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from durable_otp.engine.journal import Attempt
from durable_otp.testing import families
from durable_otp.testing.ledger import LAST_GENERATION, UNFINISHED, Ledger, is_due, is_free
from durable_otp.testing.rows import ExecutionRow, StepRow, WaitRow
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.state import Move, State, StepState


def skip_to(ledger: Ledger, instant: datetime) -> None:
    """Move the clock forward, and do what that brings about."""
    ledger.now = max(ledger.now, instant)
    keep_up(ledger)


def keep_up(ledger: Ledger) -> None:
    """Do what is to be done by now."""
    for row in list(ledger.live.values()):
        if row.status in UNFINISHED and _has_passed(row.deadline_at, ledger.now):
            ledger.fail(row, _overdue(row))
        if row.status is State.WAITING:
            _end_overdue_waits(ledger, row)
        if row.status is State.WAITING and is_due(row, ledger.now):
            ledger.move(row, Move.WAKE)
    families.attend(ledger)


def next_instant(rows: Iterable[ExecutionRow]) -> datetime | None:
    """Return when time next brings something about for executions; None for never."""
    return min((instant for row in rows for instant in _instants(row)), default=None)


def _end_overdue_waits(ledger: Ledger, row: ExecutionRow) -> None:
    over = [wait for wait in row.open_waits if _is_overdue(wait, ledger.now)]
    for wait in over:
        wait.status = "timed_out"
        if wait.child_id is not None:
            families.give_up_call(ledger, wait.child_id)
    unanswered = [wait for wait in over if wait.request.on_timeout == "fail"]
    if unanswered:
        name = encode(unanswered[0].request.names[0]).decode()
        error = {"type": "wait_timeout", "message": f"Nobody has given the input {name} in time."}
        row.steps.append(_failed_attempt(row, unanswered, error, ledger.now))
        ledger.fail(row, error)
    elif over:
        ledger.wake(row)


def _failed_attempt(
    row: ExecutionRow, asked: Sequence[WaitRow], error: dict[str, Any], now: datetime
) -> StepRow:
    """Return the row of the attempt that has asked: it ends with its execution."""
    path, visit, _ = asked[0].place
    completed = (step.attempt.position for step in row.steps if step.entry is not None)
    number = 1 + sum(step.visit == (path, visit) for step in row.steps)
    name = path.rpartition("/")[2]
    return StepRow(
        attempt=Attempt(max(completed, default=0) + 1, path, name, "step", visit, number),
        status=StepState.FAILED,
        output=None,
        error=error,
        logs=[],
        ended_at=now,
        seconds=None,
        began_at=min(wait.created_at for wait in asked),
    )


def _is_overdue(wait: WaitRow, now: datetime) -> bool:
    return wait.request.kind != "sleep" and _has_passed(wait.due_at, now)


def _has_passed(instant: datetime | None, now: datetime) -> bool:
    return instant is not None and instant <= now


def _overdue(row: ExecutionRow) -> dict[str, str | None]:
    quoted = "'" + row.definition.name.replace("'", "''") + "'"
    given = (row.deadline_at or row.inserted_at) - row.inserted_at
    seconds = f"{given.total_seconds():.3f}".rstrip("0").rstrip(".")
    return {
        "type": "workflow_timeout",
        "message": f"Workflow {quoted} did not end within its timeout of {seconds} s.",
        "stacktrace": None,
    }


def _instants(row: ExecutionRow) -> Iterator[datetime]:
    if row.generation > LAST_GENERATION:
        return
    if is_free(row) and row.scheduled_at is not None:
        yield row.scheduled_at
    if row.status is State.WAITING:
        yield from (wait.due_at for wait in row.open_waits if wait.due_at is not None)
    if row.status in UNFINISHED and row.deadline_at is not None:
        yield row.deadline_at
