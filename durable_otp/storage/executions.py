"""How executions begin and how they are called off."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from durable_otp.errors import AlreadyFinished
from durable_otp.storage.aftermath import Ended, ended
from durable_otp.storage.descendants import cancel_families
from durable_otp.storage.identity import is_id, new_id
from durable_otp.storage.operation import Operation, Wish, transaction
from durable_otp.storage.reports import not_found, status_of
from durable_otp.storage.statements import Statement
from durable_otp.workflow.state import State

BATCH_SIZE = 1000
BATCH_CHARACTERS = 16_000_000
"""PostgreSQL takes no text of more than a gigabyte; and this much is as good as any."""
SEPARATOR = "\x1e"
"""In no JSON text and no idempotency key: both hold no control characters."""
CANCELLED_MESSAGE = "The execution was cancelled."


@dataclass(slots=True)
class NewExecution:
    """One execution to be; its id is made here, so that starting it can be repeated.

    Attributes:
        input: JSON text; None for no input.
        idempotency_key: Unique per workflow name, if given: printable and not empty.
        is_sent: Its row may be there already: this is a repetition.
    """

    input: str | None
    idempotency_key: str | None = None
    id: str = field(default_factory=new_id)
    is_sent: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Start:
    """What executions that are started together have in common.

    Attributes:
        scheduled_at: When they become due; None for at once.
        timeout: Seconds from now that each may take altogether; None for no limit.
    """

    workflow: str
    version: str
    queue: str
    priority: int
    scheduled_at: datetime | None = None
    timeout: float | None = None


def start(how: Start, executions: Sequence[NewExecution]) -> Operation[list[str]]:
    """Start executions, a thousand in a statement; return their ids in the order given.

    A key that is taken gives the id of the execution that has it, whatever its status or input.
    """
    ids: dict[str, str] = {}
    for batch in _batches(executions):
        missing: Sequence[NewExecution] = batch
        while missing:
            if (yield from _insert(how, missing)):
                break
            rows = yield _started(how, missing)
            ids |= {row["given_id"]: row["id"] for row in rows if row["id"] is not None}
            missing = [each for each in missing if each.id not in ids]
    return [ids.get(each.id, each.id) for each in executions]


def start_published(
    workflow: str,
    new: NewExecution,
    *,
    queue: str | None,
    priority: int | None,
    scheduled_at: datetime | None,
) -> Operation[bool]:
    """Start an execution without a key of a name's newest published version, in one round trip.

    None leaves the queue or the priority to the workflow. False: nothing is published by that name.
    """
    if new.is_sent and (yield Statement("status_of", {"id": new.id})):
        return True
    new.is_sent = True
    how = {"queue": queue, "priority": priority, "scheduled_at": scheduled_at}
    given = {"id": new.id, "workflow": workflow, "input": new.input}
    return bool((yield Statement("start_published", given | how)))


@transaction
def cancel(execution_id: str, reason: str | None, wish: Wish | None = None) -> Operation[Ended]:
    """Cancel an execution and all its descendants that have not ended.

    Raises:
        AlreadyFinished: It has ended, or is undoing what it did.
        ExecutionNotFound: There is none with this id.
    """
    rows = (yield Statement("lock_execution", {"id": execution_id})) if is_id(execution_id) else ()
    if not rows:
        raise not_found(execution_id)
    status = State(rows[0]["status"])
    if status is State.CANCELLED and wish is not None and wish.is_repeated:
        return ended(())
    if status not in (State.PENDING, State.RUNNING, State.WAITING):
        raise AlreadyFinished(
            f"Execution {execution_id} is {status} and cannot be cancelled any more."
        )
    return ended((yield from cancel_families([execution_id], reason or CANCELLED_MESSAGE)))


def watch(execution_id: str) -> Operation[State]:
    """Have the end of an execution notified; return its status, seen after that.

    Raises:
        ExecutionNotFound: There is none with this id.
    """
    if is_id(execution_id):
        yield Statement("watch", {"id": execution_id})
    return (yield from status_of(execution_id))


def _insert(how: Start, executions: Sequence[NewExecution]) -> Operation[bool]:
    """Insert rows; return whether all of them are new."""
    are_new = not any(each.is_sent or each.idempotency_key for each in executions)
    for each in executions:
        each.is_sent = True
    common = vars(how)
    if len(executions) == 1:
        (one,) = executions
        given = common | {"id": one.id, "input": one.input, "key": one.idempotency_key}
        return bool((yield Statement("start_one" if are_new else "start_unless_there", given)))
    columns = common | {
        "ids": ",".join([each.id for each in executions]),
        "inputs": SEPARATOR.join([each.input or "" for each in executions]),
    }
    if are_new:
        yield Statement("start_new", columns)
        return True
    columns["keys"] = SEPARATOR.join([each.idempotency_key or "" for each in executions])
    rows = yield Statement("start_executions", columns)
    return bool(rows[0]["started"] == len(executions))


def _started(how: Start, executions: Sequence[NewExecution]) -> Statement:
    return Statement(
        "started_executions",
        {
            "ids": [each.id for each in executions],
            "keys": [each.idempotency_key for each in executions],
            "workflow": how.workflow,
        },
    )


def _batches(executions: Sequence[NewExecution]) -> Iterator[Sequence[NewExecution]]:
    """Cut into batches for one statement: not too many, and not too long."""
    first = characters = 0
    for number, each in enumerate(executions):
        length = len(each.input or "")
        characters += length
        if number - first == BATCH_SIZE or (characters > BATCH_CHARACTERS and number > first):
            yield executions[first:number]
            first, characters = number, length
    if executions:
        yield executions[first:]
