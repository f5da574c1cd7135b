"""An execution in memory as the client would show it, steps filled."""

from uuid import UUID, uuid5

from durable_otp.testing.rows import ExecutionRow, StepRow, WaitRow
from durable_otp.workflow.delta import fold
from durable_otp.workflow.execution import Execution, StepExecution
from durable_otp.workflow.json_form import decode, encode
from durable_otp.workflow.state import State, StepState

NAME = "inline"
"""What holds an execution while a step of it runs."""


def execution(row: ExecutionRow) -> Execution:
    """Return an execution as it is now; what the caller does to it changes nothing."""
    context = _context(row)
    return Execution(
        id=row.id,
        workflow=row.definition.name,
        version=row.definition.version,
        status=row.status,
        queue=row.queue,
        priority=row.priority,
        input=decode(encode(row.input)),
        context=context,
        output=context if row.status is State.COMPLETED else None,
        current_step=row.begun or row.current_step,
        error=row.error,
        parent_id=row.parent_id,
        scheduled_at=row.scheduled_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        inserted_at=row.inserted_at,
        updated_at=row.updated_at,
        locked_by=None if row.lock_token is None else NAME,
        crashes=0,
        interruptions=0,
        steps=[*_recorded(row), *_waiting(row)],
    )


def _context(row: ExecutionRow) -> dict[str, object]:
    context = dict(row.input) if isinstance(row.input, dict) else {}
    for entry in row.entries():
        context = fold(context, entry.changes) if entry.snapshot is None else entry.snapshot
    copied: dict[str, object] = decode(encode(context))
    return copied


def _recorded(row: ExecutionRow) -> list[StepExecution]:
    """Return every attempt in the order in which they ended."""
    return [_step(each) for each in sorted(row.steps, key=lambda step: step.attempt.position)]


def _step(row: StepRow) -> StepExecution:
    return StepExecution(
        id=row.id,
        path=row.attempt.path,
        name=row.attempt.name,
        type=row.attempt.type,
        visit=row.attempt.visit,
        attempt=row.attempt.number,
        status=row.status,
        output=row.output,
        error=row.error,
        logs=[dict(entry) for entry in row.logs],
        started_at=row.ended_at,
        completed_at=row.ended_at,
        duration_ms=round(row.seconds * 1000),
        is_compensation=False,
        compensation_for=None,
        child_id=None,
    )


def _waiting(row: ExecutionRow) -> list[StepExecution]:
    """Return a row for each visit that waits; its id stays the same until the visit has ended."""
    if row.status is not State.WAITING:
        return []
    visits: dict[tuple[str, int], WaitRow] = {}
    for wait in sorted(row.open_waits, key=lambda wait: (wait.created_at, wait.path)):
        visits.setdefault((wait.path, wait.visit), wait)
    return [_open(row, wait) for wait in visits.values()]


def _open(row: ExecutionRow, wait: WaitRow) -> StepExecution:
    place = (wait.path, wait.visit)
    attempt = 1 + sum((s.attempt.path, s.attempt.visit) == place for s in row.steps)
    return StepExecution(
        id=str(uuid5(UUID(row.id), f"{wait.path} {wait.visit} {attempt}")),
        path=wait.path,
        name=wait.path.rpartition("/")[2],
        type="step",
        visit=wait.visit,
        attempt=attempt,
        status=StepState.WAITING,
        output=None,
        error=None,
        logs=[],
        started_at=wait.created_at,
        completed_at=None,
        duration_ms=None,
        is_compensation=False,
        compensation_for=None,
        child_id=None,
    )
