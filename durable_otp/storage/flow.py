"""Starts that are held back: by the turns of a key, until it is quiet, or as a repetition.

Each runs in one transaction under the locks of its keys, so that many callers at once agree.
"""

from dataclasses import dataclass

from durable_otp.storage.executions import NewExecution, Start
from durable_otp.storage.identity import new_id
from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.statements import Statement


@dataclass(frozen=True)
class HeldBack:
    """What a start waits for; times in seconds.

    Attributes:
        turns_of: The key whose turns it takes; None: no turns.
        limit: How many executions of the key may have a turn at once.
        unique_for: How long the idempotency key is taken; None: while its execution exists.
        quiet: It begins when nobody has started it again for so long; 0: at once.
    """

    turns_of: str | None = None
    limit: int = 1
    unique_for: float | None = None
    quiet: float = 0.0


@transaction
def start_held_back(how: Start, one: NewExecution, held: HeldBack) -> Operation[str]:
    """Start an execution, or find the one that stands for it; return its id.

    What an execution with the same key was put off for is put off anew, with this input, as long as
    nobody has begun it.
    """
    if held.quiet:
        put_off = yield from _put_off(how, one, held.quiet)
        if put_off is not None:
            return put_off
    if held.unique_for is not None:
        yield _free_key(how, one, held.unique_for)
    waits = held.turns_of is not None and (yield from _must_wait(held.turns_of, held.limit))
    while not (yield _insert(how, one, held, waits=waits)):
        found = yield from _stands_for(how, one, held)
        if found is not None:
            return found
    if waits:
        yield Statement("wait_for_turn", {"id": one.id, "wait_id": new_id()})
    return one.id


def pass_all_turns(batch_size: int) -> Operation[int]:
    """Pass on turns that are free and that nobody took, of so many keys; return how many."""
    rows = yield Statement("pass_all_turns", {"batch_size": batch_size})
    return int(rows[0]["passed"])


def _stands_for(how: Start, one: NewExecution, held: HeldBack) -> Operation[str | None]:
    """Return what is there instead; None: whoever had the key has gone meanwhile.

    What somebody else has started since this one looked is put off as if it had been seen.
    """
    named = {"ids": [one.id], "keys": [one.idempotency_key], "workflow": how.workflow}
    (found,) = yield Statement("started_executions", named)
    if held.quiet and found["id"] != one.id:
        return (yield from _put_off(how, one, held.quiet))
    return None if found["id"] is None else str(found["id"])


def _put_off(how: Start, one: NewExecution, quiet: float) -> Operation[str | None]:
    """Put off the execution that has the key; one that has begun gives the key up instead."""
    named = {"workflow": how.workflow, "key": one.idempotency_key}
    holders = yield Statement("key_holder", named)
    if holders and holders[0]["may_be_put_off"]:
        changes = {"input": one.input, "queue": how.queue, "priority": how.priority}
        yield Statement("put_off", changes | {"id": holders[0]["id"], "quiet": quiet})
        return str(holders[0]["id"])
    if holders:
        yield _free_key(how, one, 0.0)
    return None


def _free_key(how: Start, one: NewExecution, unique_for: float) -> Statement:
    named = {"workflow": how.workflow, "key": one.idempotency_key}
    return Statement("free_key", named | {"unique_for": unique_for})


def _must_wait(key: str, limit: int) -> Operation[bool]:
    """Return whether every turn of a key is taken; nobody else takes one before the commit."""
    yield Statement("lock_turns", {"key": key})
    rows = yield Statement("turns_taken", {"key": key})
    return bool(rows[0]["taken"] >= limit)


def _insert(how: Start, one: NewExecution, held: HeldBack, *, waits: bool) -> Statement:
    return Statement(
        "start_held_back",
        vars(how)
        | {
            "id": one.id,
            "input": one.input,
            "key": one.idempotency_key,
            "turns_of": held.turns_of,
            "limit": None if held.turns_of is None else held.limit,
            "quiet": held.quiet,
            "waits": waits,
        },
    )
