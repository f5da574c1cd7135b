"""What comes to executions in memory from outside: events, and answers of people.

Which wait an event answers, and whether an answer fits its question, is decided where PostgreSQL's
journal asks too: in `workflow.mailbox` and `workflow.human_input`.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from durable_otp.errors import AlreadyFinished, NoPendingInput
from durable_otp.storage.identity import new_id
from durable_otp.testing.rows import ExecutionRow, WaitRow
from durable_otp.workflow.human_input import Question, accepted
from durable_otp.workflow.mailbox import KINDS, Event, EventWait, Mail, matches
from durable_otp.workflow.state import FINAL, State


def check_takes_events(row: ExecutionRow) -> None:
    """Raise AlreadyFinished if an execution has ended, or is undoing what it did."""
    if row.status in FINAL or row.status is State.COMPENSATING:
        raise AlreadyFinished(f"Execution {row.id} is {row.status} and takes no events any more.")


def put(row: ExecutionRow, name: str, payload: Any, now: datetime) -> None:
    """Put an event into an execution's mailbox."""
    row.events.append(Event(new_id(), row.id, name, payload, sent_at=now, consumed_at=None))


def deliver(row: ExecutionRow, now: datetime, *, mailbox: ExecutionRow) -> bool:
    """Let open waits consume what is in a mailbox; return whether one is over with that."""
    waits = [
        EventWait(wait.id, wait.request.kind, wait.request.names)
        for wait in row.open_waits
        if wait.request.kind in KINDS
    ]
    unread = [event for event in mailbox.events if event.consumed_at is None]
    found = matches(waits, [Mail(event.id, event.name, event.payload) for event in unread])
    answers = {match.wait_id: match.answer for match in found}
    for wait in row.waits:
        if wait.id in answers:
            wait.status, wait.answer = "answered", answers[wait.id]
    consumed = {event for match in found for event in match.events}
    mailbox.events = [
        replace(event, consumed_at=now) if event.id in consumed else event
        for event in mailbox.events
    ]
    return bool(found)


def open_input(rows: Iterable[ExecutionRow], name: str) -> tuple[ExecutionRow, WaitRow]:
    """Return the first open input of a name.

    Raises:
        NoPendingInput: There is none.
    """
    inputs = [(row, wait) for row in rows for wait in open_inputs(row)]
    for row, wait in inputs:
        if wait.request.names[0] == name:
            return row, wait
    names = sorted({wait.request.names[0] for _, wait in inputs})
    others = f"; open are: {', '.join(map(repr, names))}" if names else ""
    raise NoPendingInput(f"There is no open input {name!r}{others}.")


def open_inputs(row: ExecutionRow) -> list[WaitRow]:
    """Return what an execution asks of people."""
    if row.status in FINAL:
        return []
    return [wait for wait in row.open_waits if wait.request.kind == "input"]


def answer(wait: WaitRow, data: Any) -> None:
    """Answer an input; raise InputRejected, and leave it open, when the answer does not fit."""
    wait.answer = accepted(wait.request.question or Question(), data)
    wait.status = "answered"
