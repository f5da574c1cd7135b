"""Workflows that a step has called, in memory: which child a call means, and what it came to."""

from collections.abc import Iterable

from durable_otp.engine.journal import Answer
from durable_otp.testing.known import KnownWorkflows
from durable_otp.testing.ledger import Beginning, Ledger
from durable_otp.testing.rows import ExecutionRow, Lineage, WaitRow
from durable_otp.workflow.child_call import COMPLETED, TIMED_OUT, ChildCall, ChildEnd
from durable_otp.workflow.json_form import decode
from durable_otp.workflow.state import FINAL, State

CHILD = "child"


def link_children(
    ledger: Ledger, known: KnownWorkflows, row: ExecutionRow, waits: Iterable[WaitRow]
) -> None:
    """Give each call its child: the one its name stands for, or a new one.

    A child that failed under an earlier attempt of this visit is called afresh.
    """
    for wait in waits:
        call = wait.request.child
        if call is None or not _wants_a_child(ledger, wait):
            continue
        child = _named(ledger, row, wait) or start_child(
            ledger, known, call, row, Lineage(row.id, wait.path, wait.visit)
        )
        wait.child_id, wait.status = child.id, "open"
        wait.due_at = ledger.after(call.options.patience)


def start_child(
    ledger: Ledger,
    known: KnownWorkflows,
    call: ChildCall,
    caller: ExecutionRow,
    lineage: Lineage | None = None,
) -> ExecutionRow:
    """Start a workflow that a step asks for; without a lineage it is nobody's child."""
    deadlines = [ledger.after(call.timeout), None if lineage is None else caller.deadline_at]
    how = Beginning(
        queue=call.queue,
        priority=call.priority,
        deadline_at=min((at for at in deadlines if at is not None), default=None),
        lineage=lineage,
        generation=caller.generation + (lineage is None),
    )
    form = None if call.input is None else decode(call.input)
    return ledger.start(known.called(call), form, how)


def answer_of(ledger: Ledger, wait: WaitRow, attempt: int) -> Answer | None:
    """Return what a call has come to; None: it is to be asked afresh.

    A completed child is kept over the attempts; a failure or a timeout belongs to the attempt that
    had asked. One that has not ended is waited for by whichever attempt comes.
    """
    child = ledger.rows[wait.child_id or ""]
    workflow = child.definition.name
    names = wait.request.names
    if child.status is State.COMPLETED and wait.status != TIMED_OUT:
        end = ChildEnd(child.id, workflow, COMPLETED, child.context())
        return Answer(CHILD, is_answered=True, value=end, names=names)
    if wait.status != TIMED_OUT and child.status not in FINAL:
        return Answer(CHILD, is_answered=False, names=names)
    if wait.attempt != attempt or wait.request.child is None:
        return None
    options = wait.request.child.options
    end = ChildEnd(
        execution_id=child.id,
        workflow=workflow,
        status=TIMED_OUT if wait.status == TIMED_OUT else child.status,
        error=child.error,
        has_timeout_value=options.has_timeout_value,
        timeout_value=options.timeout_value,
    )
    return Answer(CHILD, is_answered=True, value=end, names=names)


def _wants_a_child(ledger: Ledger, wait: WaitRow) -> bool:
    return (
        wait.child_id is None or wait.status != "open" or ledger.rows[wait.child_id].status in FINAL
    )


def _named(ledger: Ledger, row: ExecutionRow, wait: WaitRow) -> ExecutionRow | None:
    """Return the child that a call's name stands for within its execution, if there is one."""
    call = wait.request.child
    if call is None or call.options.ref is None:
        return None
    for other in sorted(row.waits, key=lambda each: each.child_id or "", reverse=True):
        named = other.request.child
        if named is None or named.options.ref != call.options.ref or other.child_id is None:
            continue
        child = ledger.rows[other.child_id]
        is_elsewhere = child.lineage is None or (child.lineage.path, child.lineage.visit) != (
            wait.path,
            wait.visit,
        )
        if child.status not in FINAL or child.status is State.COMPLETED or is_elsewhere:
            return child
    return None
