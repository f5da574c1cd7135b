"""An execution in memory as the client would show it, steps filled."""

from collections.abc import Sequence
from uuid import UUID, uuid5

from durable_otp.testing.ledger import Ledger
from durable_otp.testing.rows import ExecutionRow, StepRow, Visit, WaitRow, copied
from durable_otp.testing.undoing import compensation_results
from durable_otp.workflow.execution import Execution, StepExecution
from durable_otp.workflow.state import State, StepState

NAME = "inline"
"""What holds an execution while a step of it runs."""


def execution(ledger: Ledger, row: ExecutionRow) -> Execution:
    """Return an execution as it is now; what the caller does to it changes nothing."""
    called = [child for child in ledger.children(row) if child.sibling is None]
    context = row.context()
    return Execution(
        id=row.id,
        workflow=row.definition.name,
        version=row.definition.version,
        status=row.status,
        queue=row.queue,
        priority=row.priority,
        input=copied(row.input),
        context=context,
        output=context if row.status is State.COMPLETED else None,
        current_step=row.begun or row.current_step,
        error=copied(row.error),
        parent_id=None if row.lineage is None else row.lineage.parent_id,
        scheduled_at=row.scheduled_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        inserted_at=row.inserted_at,
        updated_at=row.updated_at,
        locked_by=None if row.lock_token is None else NAME,
        crashes=0,
        interruptions=0,
        compensation_results=copied(compensation_results(row)),
        steps=[*_recorded(row, called), *_waiting(row)],
    )


def _recorded(row: ExecutionRow, called: Sequence[ExecutionRow]) -> list[StepExecution]:
    """Return every attempt in the order in which they ended, and whom each has called last."""
    steps = sorted(row.steps, key=lambda step: step.attempt.position)
    return [_step(each, _called_by(each, called)) for each in steps]


def _called_by(step: StepRow, called: Sequence[ExecutionRow]) -> str | None:
    children = [
        child.id
        for child in called
        if child.lineage is not None
        and (child.lineage.path, child.lineage.visit) == step.visit
        and child.id < step.id
    ]
    return max(children, default=None)


def _step(row: StepRow, child_id: str | None) -> StepExecution:
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
        started_at=row.began_at or row.ended_at,
        completed_at=row.ended_at,
        duration_ms=None if row.seconds is None else round(row.seconds * 1000),
        is_compensation=row.is_compensation,
        compensation_for=row.attempt.path if row.is_compensation else None,
        child_id=child_id,
    )


def _waiting(row: ExecutionRow) -> list[StepExecution]:
    """Return a row for each visit that waits; its id stays the same until the visit has ended."""
    if row.status is not State.WAITING:
        return []
    visits: dict[tuple[str, int], WaitRow] = {}
    for wait in sorted(row.open_waits, key=lambda wait: (wait.created_at, wait.path)):
        visits.setdefault((wait.path, wait.visit), wait)
    return [_open(row, wait) for wait in visits.values()]


def _kind(row: ExecutionRow, visit: Visit) -> str:
    """Return what waits: a block, or a step of whatever kind."""
    block = row.blocks.get(visit)
    return "step" if block is None else block.opening.kind


def _open(row: ExecutionRow, wait: WaitRow) -> StepExecution:
    attempt = 1 + sum(step.visit == wait.place[:2] for step in row.steps)
    return StepExecution(
        id=str(uuid5(UUID(row.id), f"{wait.path} {wait.visit} {attempt}")),
        path=wait.path,
        name=wait.path.rpartition("/")[2],
        type=_kind(row, wait.place[:2]),
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
        child_id=max(
            (each.child_id for each in row.open_waits if each.child_id and _same(each, wait)),
            default=None,
        ),
    )


def _same(wait: WaitRow, other: WaitRow) -> bool:
    return wait.place[:2] == other.place[:2]
