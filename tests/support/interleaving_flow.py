"""Starts that are held back, limits of queues, verbs over many, and transactional steps: as verbs
for an interleaving, and where they meet.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from durable_otp.client.bulk import MEANWHILE
from durable_otp.storage import (
    executions,
    flow,
    journal,
    journal_writing,
    limits,
    reports,
)
from durable_otp.storage.database import Database
from durable_otp.storage.families import children_ended
from durable_otp.storage.identity import new_id
from durable_otp.storage.statements import Statement
from durable_otp.workflow.state import State
from tests.support import interleaving_verbs as verbs
from tests.support.interleaving import BEGIN, COMMIT, OPERATION, ROLLBACK, Verb, performing
from tests.support.interleaving_situations import BEFORE, LONG_AGO, Ids, Situation, on, root, steps
from tests.support.journal_rows import completion
from tests.support.tables import Tables

TURN = "the turn"
CANCELLABLE = ("pending", "running", "waiting")
RETRYABLE = ("failed", "cancelled", "compensation_failed")
HOUR = 3600.0
MINUTE = timedelta(minutes=1)


# starts that are held back


def held_back(given: str, key: str | None, held: flow.HeldBack) -> Verb:
    """Start as `Durable.start` does when something holds it back; it begins at once otherwise."""
    how = executions.Start("w", "1", verbs.QUEUE, 0)
    return performing(flow.start_held_back, how, executions.NewExecution(given, key), held)


def start_in_turn(_id: str) -> Verb:
    return held_back("{}", None, flow.HeldBack(turns_of=TURN))


def start_in_either_turn(_id: str) -> Verb:
    return held_back("{}", None, flow.HeldBack(turns_of=TURN, limit=2))


def put_off(_id: str) -> Verb:
    return held_back('"first"', verbs.KEY, flow.HeldBack(quiet=HOUR))


def put_off_with_another_input(_id: str) -> Verb:
    return held_back('"second"', verbs.KEY, flow.HeldBack(quiet=HOUR))


def start_unique_again(_id: str) -> Verb:
    return held_back('"again"', verbs.KEY, flow.HeldBack(unique_for=HOUR))


def start_unique_still(_id: str) -> Verb:
    return held_back('"still"', verbs.KEY, flow.HeldBack(unique_for=1e9))


def pass_turns(_id: str) -> Verb:
    return performing(flow.pass_all_turns, 10)


# queues with limits


def claim_within(_id: str) -> Verb:
    return performing(limits.fetch_within_limits, verbs.QUEUE, 10, "another", None)


def _limit(number: int, *, by_operator: bool) -> Verb:
    wanted = limits.QueueLimits(concurrency=number)
    return performing(limits.set_limits, verbs.QUEUE, wanted, by_operator=by_operator)


def limit_more(_id: str) -> Verb:
    return _limit(1, by_operator=True)


def limit_by_configuration(_id: str) -> Verb:
    return _limit(5, by_operator=False)


def limit_no_more(_id: str) -> Verb:
    return performing(limits.remove_limits, verbs.QUEUE)


# many at once


def _each(statuses: tuple[str, ...], act: Callable[[str], Verb]) -> Verb:
    """Act on each that is found, as `client.bulk` does; what has changed meanwhile is passed."""
    wanted = reports.Filters(
        "w", tuple(State(each) for each in statuses), verbs.QUEUE, top_level=True
    )
    found = yield from performing(reports.list_executions, wanted, order="oldest")
    count = 0
    for each in found:
        try:
            yield from act(each.id)
        except MEANWHILE:
            continue
        count += 1
    return count


def cancel_all(_id: str) -> Verb:
    return _each(CANCELLABLE, verbs.cancel)


def retry_all(_id: str) -> Verb:
    return _each(RETRYABLE, verbs.retry)


# a step whose body runs in the transaction of its checkpoint


def _in_transaction(id_: str, next_path: str | None) -> Verb:
    done = completion(verbs.STEP, 2, next_path) if next_path else completion(verbs.STEP, 2)
    row = {"step_id": new_id(), **journal.completed_parameters(done), "id": id_, **verbs.CLAIM}
    yield OPERATION
    yield BEGIN
    try:
        yield Statement("keep_transaction_open")
        yield Statement("database_now")  # the body's own
        rows: Sequence[Any] = yield Statement("checkpoint" if next_path else "complete", row)
    except Exception:
        yield ROLLBACK
        raise
    yield COMMIT if rows else ROLLBACK
    parents = journal_writing.parents_of(rows)
    if parents:
        yield from performing(children_ended, parents)
    return bool(rows)


def checkpoint_in_transaction(id_: str) -> Verb:
    return _in_transaction(id_, "step3")


def complete_in_transaction(id_: str) -> Verb:
    return _in_transaction(id_, None)


# where they meet


def turns(tables: Tables, _database: Database) -> Ids:
    """One has the only turn of its key, and another waits for it."""
    given = {"concurrency_key": TURN, "concurrency_limit": 1, "deadline_at": None}
    holder = root(tables, "running", **given)
    tables.add_step(holder, 1, next_path=verbs.STEP)
    later = {"due_in": None, "idempotency_key": None, "inserted_at": LONG_AGO}
    following = root(tables, "waiting", **later, **given)
    tables.add_wait(following, path="", visit=0, ordinal=0, kind="turn")
    return {"holder": holder, "next": following}


def free_turn(tables: Tables, database: Database) -> Ids:
    """The turn is free, and nobody has given it to the one that waits."""
    ids = turns(tables, database)
    tables.sql(
        "UPDATE durable.workflow_executions SET concurrency_key = NULL WHERE id = %s",
        [ids["holder"]],
    )
    return ids


def put_off_start(tables: Tables, _database: Database) -> Ids:
    """It was put off until it is quiet; it is quiet now, and nobody has begun it."""
    return {"it": root(tables, "pending")}


def put_off_for_later(tables: Tables, _database: Database) -> Ids:
    return {"it": root(tables, "pending", due_in=HOUR)}


def not_there(_tables: Tables, _database: Database) -> Ids:
    return {"it": new_id()}


def limited(tables: Tables, _database: Database) -> Ids:
    """A queue that may run two at once and has begun one; another is due."""
    tables.sql(
        "INSERT INTO durable.queue_limits (queue, concurrency, rate_count, rate_seconds, "
        "by_operator, tokens, refilled_at, updated_at) "
        "VALUES (%s, 2, 3, 3600, true, 2, durable.now(), durable.now())",
        [verbs.QUEUE],
    )
    given = {"deadline_at": None, "idempotency_key": None}
    running = root(tables, "running", **given)
    steps(tables, running)
    return {"held": running, "due": root(tables, "pending", **given)}


def several(tables: Tables, _database: Database) -> Ids:
    """One runs, one is due, and one has failed."""
    running = root(tables, "running", deadline_at=None)
    steps(tables, running)
    due = root(tables, "pending", idempotency_key=None, inserted_at=BEFORE + MINUTE)
    ended = {"deadline_at": None, "error": {"type": "E"}, "inserted_at": LONG_AGO}
    failed = root(tables, "failed", idempotency_key=None, **ended)
    return {"held": running, "due": due, "ended": failed}


HOLDERS = (
    "complete", "settle_batch", "fail", "crash", "last_crash", "release", "recover_for_good",
    "checkpoint", "sleep", "retry_later", "cancel", "heartbeat", "retry", "fork",
)  # fmt: skip
TURN_VERBS = {
    f"{name} key": ("holder", make)
    for name, make in {
        "start_in_turn": start_in_turn,
        "start_in_either_turn": start_in_either_turn,
        "pass_turns": pass_turns,
        "cancel_all": cancel_all,
        "claim": verbs.claim,
    }.items()
}
WAITER = ("cancel", "watch", "send_event", "provide_input", "fork", "retry", "end_zombies")
QUIET = on(
    "it", "claim", "start_same", "cancel", "watch", "send_event", "fork", "end_overdue", "retry",
    put_off=put_off, put_off_with_another_input=put_off_with_another_input,
    start_unique_again=start_unique_again, start_unique_still=start_unique_still,
    cancel_all=cancel_all,
)  # fmt: skip

FLOW_SITUATIONS = {
    situation.name: situation
    for situation in (
        Situation("turns", turns, on("holder", *HOLDERS) | on("next", *WAITER) | TURN_VERBS,
                  # who ends the holder passes over the next one while it is locked, and then
                  # cancels it before its turn came: as good, and not the same rows
                  net=pass_turns, apart=frozenset(
                      ("cancel_all key", f"{each} next")
                      for each in ("fork", "provide_input", "retry", "send_event"))),
        Situation("a turn that nobody took", free_turn,
                  on("holder", "complete", "cancel") | on("next", *WAITER) | TURN_VERBS,
                  net=pass_turns),
        Situation("put off", put_off_start, QUIET),
        Situation("put off for later", put_off_for_later, QUIET),
        Situation("not there", not_there, QUIET),
        Situation("a limited queue", limited,
                  on("held", "complete", "release", "crash", "recover_for_good", "retry_later",
                     "cancel", claim_within=claim_within, limit_more=limit_more,
                     limit_by_configuration=limit_by_configuration, limit_no_more=limit_no_more)
                  | on("due", "cancel", "watch", "send_event")),
        Situation("several", several,
                  on("held", "complete", "fail", "crash", "checkpoint", "cancel", "fork",
                     cancel_all=cancel_all, retry_all=retry_all)
                  | on("due", "cancel", "send_event", "claim", "end_overdue")
                  | on("ended", "retry", "cancel", "fork", delete=verbs.delete("failed"))),
        Situation("a step in a transaction", lambda tables, _: {"it": _with_a_step(tables)},
                  on("it", "cancel", "end_overdue", "crash", "last_crash", "time_out",
                     "recover_for_good", "recover_stale", "release", "send_event", "heartbeat",
                     "watch", "fork", "complete", "fail", "retry", "keep_once",
                     checkpoint_in_transaction=checkpoint_in_transaction,
                     complete_in_transaction=complete_in_transaction)),
    )
}  # fmt: skip


def _with_a_step(tables: Tables) -> str:
    id_ = root(tables, "running")
    steps(tables, id_)
    return id_
