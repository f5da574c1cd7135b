"""The waits of an execution in memory: how they are asked for, asked for again, and closed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from durable_otp.engine.journal import Answer
from durable_otp.testing import calls, families, mail
from durable_otp.testing.known import KnownWorkflows
from durable_otp.testing.ledger import Ledger
from durable_otp.testing.rows import ExecutionRow, Visit, WaitRow
from durable_otp.workflow.suspension import NO_VALUE, WaitRequest


def answers(ledger: Ledger, row: ExecutionRow, visit: Visit, attempt: int) -> Mapping[int, Answer]:
    """Return what a visit's waits mean to the attempt that runs now, by ordinal."""
    found: dict[int, Answer] = {}
    for wait in row.waits:
        if wait.place[:2] == visit:
            answer = _answer(ledger, wait, attempt)
            if answer is not None:
                found[wait.ordinal] = answer
    return found


def asked(
    row: ExecutionRow,
    visit: Visit,
    waits: Sequence[tuple[int, WaitRequest]],
    attempt: int,
    now: datetime,
) -> list[WaitRow]:
    """Open what is asked for, close what is asked for no longer; return what is open by that."""
    opened = [_asked(row, (*visit, ordinal), request, now) for ordinal, request in waits]
    for wait in opened:
        wait.attempt = attempt
    close(row, now, [wait for wait in row.waits if wait not in opened])
    return opened


def close(row: ExecutionRow, now: datetime, waits: Iterable[WaitRow]) -> None:
    """Close what an execution waits for no longer."""
    for wait in waits:
        if wait in row.open_waits:
            wait.status = "answered" if wait.is_over(now) else "cancelled"


def look(
    ledger: Ledger, known: KnownWorkflows, row: ExecutionRow, waits: Sequence[WaitRow]
) -> None:
    """Create the children that are called, and wake an execution whose answers are there."""
    calls.link_children(ledger, known, row, waits)
    delivered = mail.deliver(row, ledger.now, mailbox=row)
    if delivered or any(wait.status == "answered" for wait in waits):
        ledger.wake(row)
    families.look_at(ledger, row)


def _asked(
    row: ExecutionRow, place: tuple[str, int, int], request: WaitRequest, now: datetime
) -> WaitRow:
    """Return a wait as it is open now; one that an earlier run asked for keeps its time.

    It keeps its question too, unless it timed out or was given up meanwhile.
    """
    due_at = request.at
    if due_at is None and request.seconds is not None:
        due_at = now + timedelta(seconds=request.seconds)
    wait = next((wait for wait in row.waits if wait.place == place), None)
    if wait is None:
        wait = row.add_wait(WaitRow(*place, request, due_at, attempt=1, created_at=now))
    elif wait.status in ("timed_out", "cancelled"):
        wait.due_at = wait.due_at if request.kind == "sleep" else due_at
        wait.request, wait.created_at, wait.status = request, now, "open"
    elif wait.status == "open":
        wait.request = replace(request, question=wait.request.question)
    return wait


def _answer(ledger: Ledger, wait: WaitRow, attempt: int) -> Answer | None:
    if wait.child_id is not None:
        return calls.answer_of(ledger, wait, attempt)
    kind, names, value = wait.request.kind, wait.request.names, wait.request.timeout_value
    if wait.status != "timed_out" or wait.attempt != attempt:
        return Answer(kind, wait.is_over(ledger.now), wait.answer, names)
    has_value = value is not NO_VALUE
    return Answer(kind, has_value, value if has_value else None, names, timed_out=True)
