"""What executions wait for, and what answers it: events, people, time.

Every operation that changes something locks the execution's row first. So an event is consumed by
one wait whenever it comes: before the wait, it lies in the mailbox when the suspension looks there;
after it, it looks for the wait itself; and meanwhile one of the two waits for the other's lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from durable_otp.errors import AlreadyFinished, NoPendingInput
from durable_otp.storage.aftermath import Ended, aftermath, ended
from durable_otp.storage.identity import is_id, new_id
from durable_otp.storage.operation import Operation, Row, transaction
from durable_otp.storage.payloads import Unreadable, refuse_unreadable
from durable_otp.storage.reports import not_found, page_limit, status_of
from durable_otp.storage.statements import Statement
from durable_otp.workflow.human_input import PendingInput, Question, accepted
from durable_otp.workflow.json_form import decode, encode
from durable_otp.workflow.mailbox import Event, EventWait, Mail, Match, PendingEvent, matches
from durable_otp.workflow.state import FINAL, State
from durable_otp.workflow.suspension import NO_VALUE, WaitRequest

Parameters = dict[str, Any]
Asked = Sequence[tuple[int, WaitRequest]]


@dataclass(frozen=True)
class Sent:
    """An event or an answer on its way; its id is made here, so that sending can be repeated."""

    name: str
    value: Any
    id: str = field(default_factory=new_id)


def asked(waits: Asked) -> Parameters:
    """Return the parameters by which ``suspend`` knows what is asked for."""
    rows = [_asked(ordinal, request) for ordinal, request in waits]
    return {
        "waits": encode(rows).decode(),
        "wait_ids": [row["wait_id"] for row in rows],
        "ordinals": [ordinal for ordinal, _ in waits],
    }


def suspend(parameters: Parameters) -> Operation[Sequence[Row]]:
    """Write sleeps and give the claim back; return a row if that is so, also by a first try."""
    rows = yield Statement("suspend", parameters)
    if rows:
        return rows
    return [row for row in (yield Statement("wait_is_recorded", parameters)) if row["recorded"]]


@transaction
def suspend_and_look(parameters: Parameters) -> Operation[Sequence[Row]]:
    """Do the same for any waits, and wake the execution at once if an answer is there already.

    An event that came, or an input that was answered, while the step ran is seen here, behind the
    lock that its sender has released.
    """
    rows = yield Statement("suspend", parameters)
    if not rows:
        return [row for row in (yield Statement("wait_is_recorded", parameters)) if row["recorded"]]
    execution_id = parameters["id"]
    calls = parameters.get("calls")
    if calls is not None:
        yield Statement("create_called_children", {**parameters, **calls})
    answered = yield Statement("has_answers", parameters)
    delivered = yield from _deliver(execution_id)
    if answered[0]["found"] and not delivered:
        yield Statement("wake_execution", {"id": execution_id})
    return rows


@transaction
def send_event(execution_id: str, sent: Sent) -> Operation[None]:
    """Put an event into an execution's mailbox, and wake the execution if it waits for it.

    Raises:
        AlreadyFinished: The execution has ended, or is undoing what it did.
        ExecutionNotFound: There is none with this id.
    """
    if not is_id(execution_id):
        raise not_found(execution_id)
    payload = encode(sent.value).decode()
    event = {"id": execution_id, "event_id": sent.id, "name": sent.name, "payload": payload}
    rows = yield Statement("take_event", event)
    if not rows:
        raise not_found(execution_id)
    status = State(rows[0]["status"])
    if status in FINAL or status is State.COMPENSATING:
        recorded = yield Statement("event_is_recorded", event)
        if recorded[0]["recorded"]:
            return
        raise AlreadyFinished(f"Execution {execution_id} is {status} and takes no events any more.")
    if status is State.PENDING:
        yield Statement("remind_queue", {"id": execution_id})
    elif status is State.WAITING:
        yield from _deliver(execution_id)


@transaction
def provide_input(execution_id: str, sent: Sent) -> Operation[None]:
    """Answer an open input, and wake the execution.

    Raises:
        CodecError: What it asks for is not to be read here.
        InputRejected: The answer does not fit; the input stays open.
        NoPendingInput: No input of this name is open.
        ExecutionNotFound: There is none with this id.
    """
    status = yield from _locked(execution_id)
    inputs = yield Statement("inputs_of", {"id": execution_id, "answer_id": sent.id})
    if any(row["is_answered"] for row in inputs):
        return
    row = next((row for row in inputs if row["name"] == sent.name), None)
    if row is None:
        raise _no_input(execution_id, sent.name, inputs)
    for part in ("fields", "choices"):
        refuse_unreadable(row[part], f"What input {sent.name!r} asks for")
    question = Question(row["type"], row["prompt"], row["fields"], row["choices"], row["metadata"])
    answer = encode(accepted(question, sent.value)).decode()
    given = {"input_id": row["id"], "answer_id": sent.id, "answer": answer}
    (stored,) = yield Statement("answer_input", given)
    yield from _answer(execution_id, [Match(row["wait_id"], _as_stored(stored["answer"]), ())])
    if status is State.PENDING:
        yield Statement("remind_queue", {"id": execution_id})


@transaction
def end_overdue_waits(batch_size: int) -> Operation[Ended]:
    """End waits whose time is over, longest overdue first; at most so many executions at once."""
    rows = yield Statement("end_overdue_waits", {"batch_size": batch_size})
    yield from aftermath(rows)
    return ended(rows)


def next_timeout() -> Operation[float | None]:
    """Return the seconds until a wait's time is over, below zero if overdue; None if none is."""
    rows = yield Statement("next_timeout")
    seconds: float | None = rows[0]["seconds"]
    return seconds


def list_pending_inputs(execution_id: str | None, limit: int) -> Operation[list[PendingInput]]:
    """Return open inputs, of one execution or of all, the first to time out first."""
    rows = yield from _page("list_pending_inputs", execution_id, limit)
    return [_shown_input(row) for row in rows]


def _shown_input(row: Row) -> PendingInput:
    """Return an open input; one that cannot be read here says so as its prompt."""
    parts = ("prompt", "fields", "choices", "metadata")
    unreadable = [row[part] for part in parts if isinstance(row[part], Unreadable)]
    if unreadable:
        row = {**row, **dict.fromkeys(parts), "prompt": unreadable[0]}
    return PendingInput(**row)


def list_pending_events(execution_id: str | None, limit: int) -> Operation[list[PendingEvent]]:
    """Return open waits for events, of one execution or of all, the first to time out first."""
    rows = yield from _page("list_pending_events", execution_id, limit)
    return [PendingEvent(**row) for row in rows]


def list_events(execution_id: str) -> Operation[list[Event]]:
    """Return the events that were sent to an execution, consumed or not, as they came.

    Raises:
        ExecutionNotFound: There is none with this id.
    """
    yield from status_of(execution_id)
    rows = yield Statement("list_events", {"id": execution_id})
    return [Event(**row) for row in rows]


def _asked(ordinal: int, request: WaitRequest) -> Row:
    question = request.question or Question()
    has_value = request.timeout_value is not NO_VALUE
    return {
        "wait_id": new_id(),
        "input_id": new_id(),
        "ordinal": ordinal,
        "kind": request.kind,
        "names": list(request.names),
        "seconds": request.seconds,
        "at": None if request.at is None else request.at.isoformat(),
        "has_timeout_value": has_value,
        "timeout_value": request.timeout_value if has_value else None,
        "on_timeout": request.on_timeout,
        "type": question.type,
        "prompt": question.prompt,
        "fields": question.fields,
        "choices": question.choices,
        "metadata": question.metadata,
    }


def _locked(execution_id: str) -> Operation[State]:
    rows = (yield Statement("lock_execution", {"id": execution_id})) if is_id(execution_id) else ()
    if not rows:
        raise not_found(execution_id)
    return State(rows[0]["status"])


def _deliver(execution_id: str) -> Operation[bool]:
    """Let open waits consume what is in the mailbox; wake the execution and say so if one is over.

    A statement of its own, behind the lock: what came while it was waited for is seen.
    """
    rows = yield Statement("waits_and_mail", {"id": execution_id})
    waits = [
        EventWait(row["id"], row["kind"], tuple(row["names"])) for row in rows if not row["is_mail"]
    ]
    mailbox = [
        Mail(row["id"], row["name"], _as_stored(row["payload"])) for row in rows if row["is_mail"]
    ]
    found = matches(waits, mailbox)
    if not found:
        return False
    yield from _answer(execution_id, found)
    return True


def _as_stored(text: str | None) -> Any:
    """Return a payload in the form that it lies in, whoever has encoded it."""
    return None if text is None else decode(text)


def _answer(execution_id: str, found: Sequence[Match]) -> Operation[None]:
    """Let waits be over; their answers are in the form in which they are stored."""
    taken = [(event, match.wait_id) for match in found for event in match.events]
    yield Statement(
        "deliver",
        {
            "id": execution_id,
            "wait_ids": [match.wait_id for match in found],
            "answers": [encode(match.answer).decode() for match in found],
            "event_ids": [event for event, _ in taken],
            "consumers": [wait for _, wait in taken],
        },
    )


def _page(statement: str, execution_id: str | None, limit: int) -> Operation[list[Row]]:
    most = page_limit(limit)
    if execution_id is not None and not is_id(execution_id):
        return []
    return list((yield Statement(statement, {"id": execution_id, "limit": most})))


def _no_input(execution_id: str, name: str, inputs: Sequence[Row]) -> NoPendingInput:
    names = sorted({row["name"] for row in inputs})
    others = f"; open are: {', '.join(map(repr, names))}" if names else ""
    return NoPendingInput(f"Execution {execution_id} has no open input {name!r}{others}.")
