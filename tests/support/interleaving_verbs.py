"""The verbs as an interleaving takes them: every operation of storage that changes an execution.

The ids, tokens and rows that a verb makes are made when it begins, as callers make them.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from durable_otp.storage import (
    batch,
    compensations,
    deadlines,
    deletion,
    executions,
    families,
    family_journal,
    forking,
    journal,
    journal_writing,
    once,
    queue,
    retrying,
    settlement,
    waits,
)
from durable_otp.storage.calls import called_parameters
from durable_otp.storage.identity import new_id
from durable_otp.storage.operation import Operation
from durable_otp.workflow.child_call import ChildCall, ChildOptions
from durable_otp.workflow.suspension import WaitRequest
from tests.support.families import opening
from tests.support.interleaving import Verb, performing
from tests.support.journal_rows import ERROR, attempt, completion, failure
from tests.support.tables import HOLDER

TOKEN = HOLDER["lock_token"]
MANAGER = HOLDER["locked_by"]
QUEUE = "q"
KEY = "the key"
FAR = datetime(2200, 1, 1, tzinfo=UTC)
STEP = "step2"
CLAIM = {"lock_token": TOKEN}


def ending(operation: Callable[..., Operation[Any]], *args: Any, **options: Any) -> Verb:
    """Perform what may end executions, and tell their parents, as `run_ending` does."""
    done = yield from performing(operation, *args, **options)
    parents = done.parents if hasattr(done, "parents") else ()
    if parents:
        yield from performing(families.children_ended, parents)
    return done


def writing(operation: Callable[..., Operation[Any]], parameters: Any, *args: Any) -> Verb:
    """Write a journal as `JournalWriter.run` does; answer whether the claim was held."""
    rows = yield from performing(operation, parameters, *args)
    parents = journal_writing.parents_of(rows)
    if parents:
        yield from performing(families.children_ended, parents)
    return bool(rows)


def journaled(name: str, parameters: dict[str, Any], id_: str) -> Verb:
    row = {"step_id": new_id(), **parameters, "id": id_, **CLAIM}
    return writing(journal_writing.record_step, row, name)


# the queue


def claim(_id: str) -> Verb:
    return performing(queue.fetch_jobs, QUEUE, 10, "another", None)


def heartbeat(id_: str) -> Verb:
    return performing(queue.heartbeat_many, [(id_, TOKEN)])


def ack(id_: str) -> Verb:
    return ending(queue.ack, id_, TOKEN)


def nack(id_: str) -> Verb:
    return ending(queue.nack, id_, '{"type": "error", "message": "no"}', TOKEN)


def reschedule(id_: str) -> Verb:
    return performing(queue.reschedule, id_, FAR, TOKEN)


def release(id_: str) -> Verb:
    return performing(settlement.release, [(id_, TOKEN)])


def recover_stale(_id: str) -> Verb:
    return ending(queue.recover_stale_locks, 60.0)


def recover_for_good(_id: str) -> Verb:
    return ending(queue.recover_claims, [MANAGER], max_interruptions=1)


def end_zombies(_id: str) -> Verb:
    return ending(queue.recover_zombie_workflows, 60.0)


def wake_sleepers(_id: str) -> Verb:
    return performing(queue.wake_sleeping_workflows, 10)


def end_waits(_id: str) -> Verb:
    return ending(waits.end_overdue_waits, 10)


def end_overdue(_id: str) -> Verb:
    return ending(deadlines.end_overdue, 10)


# the worker


def checkpoint(id_: str) -> Verb:
    done = journal.completed_parameters(completion(STEP, 2, "step3"))
    return journaled("checkpoint", done, id_)


def checkpoint_and_close(id_: str) -> Verb:
    done = {"step_id": new_id(), **journal.completed_parameters(completion(STEP, 2, "step3"))}
    operation = journal.record_step_and_close_waits
    return writing(operation, {**done, "id": id_, **CLAIM}, "checkpoint")


def complete(id_: str) -> Verb:
    return journaled("complete", journal.completed_parameters(completion(STEP, 2)), id_)


def settle_batch(id_: str) -> Verb:
    step = {"step_id": new_id(), **journal.completed_parameters(completion(STEP, 2))}
    text = batch.row_text({**step, "execution_id": id_})
    row = batch.StepRow(id_, TOKEN, step["step_id"], text, is_last=True)
    return ending(batch.settle_batch, [row])


def record_failure(id_: str) -> Verb:
    failed = journal.failure_parameters(failure(STEP, 2))
    return journaled("record_failed_attempt", failed, id_)


def fail(id_: str) -> Verb:
    failed = {"step_id": new_id(), **journal.failure_parameters(failure(STEP, 2))}
    return writing(journal_writing.record_fail, {**failed, "path": STEP, "id": id_, **CLAIM})


def retry_later(id_: str) -> Verb:
    failed = {**journal.failure_parameters(failure(STEP, 2)), "delay": 3600.0}
    return journaled("retry_later", failed, id_)


def move(id_: str) -> Verb:
    return writing(journal.move, {"queue": "other", "path": STEP, "id": id_, **CLAIM})


def suspending(id_: str, requests: Sequence[WaitRequest]) -> Verb:
    asked = list(enumerate(requests))
    calls = called_parameters(asked)
    place = {"path": STEP, "visit": 1, "attempt": 1, "calls": calls, "id": id_, **CLAIM}
    only_sleeps = all(request.kind == "sleep" for request in requests)
    operation = waits.suspend if only_sleeps else waits.suspend_and_look
    is_held = yield from writing(operation, {**place, **waits.asked(asked)})
    if calls is not None and is_held:
        yield from performing(families.children_ended, [id_])
    return is_held


def sleep(id_: str) -> Verb:
    return suspending(id_, [WaitRequest("sleep", seconds=0.0)])


def wait(id_: str) -> Verb:
    asked = [WaitRequest("event", ("go",), seconds=0.0), WaitRequest("sleep", seconds=3600.0)]
    return suspending(id_, asked)


def call(id_: str) -> Verb:
    child = ChildCall("child", "1", QUEUE, 0, None, None, ChildOptions(patience=0.0))
    return suspending(id_, [WaitRequest("child", child=child)])


def start_once(id_: str) -> Verb:
    parameters = {
        "id": id_, **CLAIM, "key": "once", "child_id": new_id(), "workflow": "w", "version": "1",
        "queue": QUEUE, "priority": 0, "input": None, "timeout": None,
    }  # fmt: skip
    return performing(family_journal.start_once, parameters)


def keep_once(id_: str) -> Verb:
    place = {"path": STEP, "visit": 1, "key": "k", "result": "1"}
    return performing(once.keep_result, {**place, "id": id_, **CLAIM})


def open_block(id_: str) -> Verb:
    block = opening(3, max_concurrency=2, starts=[("pack", QUEUE)])
    parameters = {**family_journal._opening(block), "id": id_, **CLAIM, "wait_id": new_id()}
    is_open = yield from performing(family_journal.open_batch, parameters, 3)
    yield from performing(families.children_ended, [id_])
    return is_open


# the manager


def lost_attempt(kind: str = "step") -> settlement.LostAttempt:
    error = {"type": "worker_crashed", "message": "died"}
    return settlement.LostAttempt(STEP, STEP, kind, 1, 1, 0.1, error, [])


def crash(id_: str, *, most: int = 3, kind: str = "step") -> Verb:
    condemned, again = new_id(), new_id()
    if not (yield from performing(settlement.condemn, id_, TOKEN, condemned)):
        return None
    lost = lost_attempt(kind)
    tokens = (condemned, again)
    return (yield from ending(settlement.settle_crash, id_, tokens, lost, most, 1.0))


def last_crash(id_: str) -> Verb:
    return crash(id_, most=1)


def handler_crash(id_: str) -> Verb:
    return crash(id_, kind=settlement.COMPENSATION)


def time_out(id_: str) -> Verb:
    condemned = new_id()
    if not (yield from performing(settlement.condemn, id_, TOKEN, condemned)):
        return None
    lost = lost_attempt()
    return (yield from ending(settlement.settle_timeout, id_, condemned, lost, None))


# clients


def start_same(_id: str) -> Verb:
    how = executions.Start("w", "1", QUEUE, 0)
    return performing(executions.start, how, [executions.NewExecution("{}", KEY)])


def send_event(id_: str) -> Verb:
    return performing(waits.send_event, id_, waits.Sent("go", {"sent": True}))


def provide_input(id_: str) -> Verb:
    return performing(waits.provide_input, id_, waits.Sent("ask", value=True))


def cancel(id_: str) -> Verb:
    return ending(executions.cancel, id_, "enough")


def retry(id_: str) -> Verb:
    return performing(retrying.retry, id_)


def fork(id_: str) -> Verb:
    return performing(forking.fork, id_, STEP, new_id())


def watch(id_: str) -> Verb:
    return performing(executions.watch, id_)


def delete(status: str) -> Callable[[str], Verb]:
    def deleting(_id: str) -> Verb:
        (wanted,) = deletion.final_statuses(status)
        return performing(deletion.delete_batch, deletion.Old(wanted, FAR), None)

    return deleting


# families


def attend(id_: str) -> Verb:
    return performing(families.children_ended, [id_])


def attend_left(_id: str) -> Verb:
    found = yield from performing(families.left_parents, 10)
    for parent in found:
        yield from performing(families.children_ended, [parent])
    return len(found)


def give_up_calls(_id: str) -> Verb:
    found = yield from performing(families.overdue_calls, 10)
    answers = []
    for each in found:
        given_up = performing(families.give_up_call, each["id"], each["parent"], each["child"])
        answers.append((yield from given_up))
    return sum(answers)


def cancel_orphans(_id: str) -> Verb:
    found = yield from performing(families.parents_of_orphans, 10)
    count = 0
    for parent in found:
        count += yield from performing(families.cancel_orphans, parent)
    return count


# undoing


def undoing(id_: str, **fields: Any) -> Verb:
    run = attempt("undo", 2)._replace(path="step1")
    row = {
        **journal_writing.attempt_parameters(run, [], 0.1, None),
        "step_id": new_id(), "output": None, "error": None, "gave_up": False, "id": id_, **CLAIM,
    }  # fmt: skip
    return writing(journal_writing.record_step, {**row, **fields}, "record_undone")


def undo(id_: str) -> Verb:
    return undoing(id_)


def give_up_undoing(id_: str) -> Verb:
    return undoing(id_, error=journal_writing.json_text(ERROR), gave_up=True)


def end_compensation(id_: str) -> Verb:
    return writing(compensations.end_compensation, {"id": id_, **CLAIM})
