"""Each invariant is content with a run that went well, and finds what was planted in one."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.ledger import invariants as of_executions
from tests.support.ledger import invariants_claims as of_claims
from tests.support.ledger import invariants_steps as of_steps
from tests.support.ledger import invariants_waiting as of_waiting
from tests.support.ledger.checking import ALWAYS, AT_REST, violations
from tests.support.ledger.record import Record, Row

START = datetime(2030, 1, 1, tzinfo=UTC)
WORKER, OTHER = "durable:worker default/1", "durable:worker default/2"
KEY = "a:pay:1"


def move(number: int, before: str | None, after: str | None, **more: Any) -> Row:
    """Return a line about the row of the execution ``a``."""
    about = {
        "parent_id": None,
        "parent_path": None,
        "parent_visit": None,
        "parent_index": None,
        "retried_at": None,
        "locked_by": None,
        "crash_streak": 0,
    }
    line: Row = {
        "n": number,
        "t": START + timedelta(seconds=number),
        "now": START + timedelta(seconds=number),
        "what": "workflow_executions",
        "op": "I" if before is None else "D" if after is None else "U",
        "execution": "a",
        "row": "a",
        "old_status": before,
        "new_status": after,
        "old_token": None,
        "new_token": None,
        "app": WORKER,
        "statement": "checkpoint",
        "txid": number,
        "old": dict(about),
        "new": dict(about),
    }
    for side in ("old", "new"):
        line[side] |= more.pop(side, {})
    return line | more


def step_line(number: int, **more: Any) -> Row:
    """Return a line about the completed row of the step ``pay``."""
    new = {"path": "pay", "visit": 1, "is_compensation": False, "position": 1}
    line = move(number, None, "completed", what="step_executions", row="s1", new_token="T1")
    line["new"] = new | more.pop("new", {})
    return line | more


def step(**more: Any) -> Row:
    row = {"id": "s1", "execution_id": "a", "path": "pay", "name": "pay", "visit": 1, "attempt": 1}
    row |= {"status": "completed", "type": "step", "is_compensation": False, "position": 1}
    return row | {"compensation": None, "logs": [], "compensation_for": ""} | more


def effect(number: int, phase: str = "begin", **more: Any) -> Row:
    return {"n": number, "key": KEY, "execution": "a", "phase": phase, "pid": 1} | more


def execution(**more: Any) -> Row:
    row = {"id": "a", "workflow": "w", "status": "completed", "parent_id": None, "input": {}}
    row |= {"idempotency_key": "k", "error": None, "crash_streak": 0, "interruptions": 0}
    return row | {"lock_token": None, "locked_by": None, "locked_at": None} | more


def good() -> Record:
    """Return a run without a fault: one step, one claim, one end."""
    return Record(
        intents=[{"n": 1, "key": "k"}],
        acks=[{"n": 3, "key": "k", "execution": "a"}],
        moves=[
            move(2, None, "pending", app="durable:client"),
            move(4, "pending", "running", new_token="T1", new={"locked_by": "m1"}),
            step_line(7),
            move(8, "running", "completed", old_token="T1", old={"locked_by": "m1"}),
        ],
        effects=[effect(5), effect(6, "end")],
        executions=[execution()],
        steps=[step()],
    )


def child(number: int, before: str | None, after: str | None, **more: Any) -> Row:
    family = {"parent_id": "a", "parent_path": "pay", "parent_visit": 1, "parent_index": 0}
    return move(number, before, after, execution="c", new=family, **more)


def lost(record: Record) -> None:
    record.acks.append({"n": 9, "key": "l", "execution": "b"})


def vanished(record: Record) -> None:
    record.executions.clear()


def removed_alive(record: Record) -> None:
    record.moves.append(move(9, "running", None))


def invented(record: Record) -> None:
    record.executions.append(execution(id="b", idempotency_key="nobody's"))


def never_ends(record: Record) -> None:
    del record.moves[-1]


def ends_twice(record: Record) -> None:
    record.moves += [move(9, "completed", "running"), move(10, "running", "completed")]


def end_changes(record: Record) -> None:
    record.moves.append(move(9, "completed", "failed"))


def born_running(record: Record) -> None:
    record.moves[0]["new_status"] = "running"


def unknown_move(record: Record) -> None:
    record.moves.insert(1, move(3, "pending", "completed"))


def runs_after_its_commit(record: Record) -> None:
    record.effects.append(effect(9))


def runs_too_often(record: Record) -> None:
    record.effects.insert(0, effect(4))


def token_repeats(record: Record) -> None:
    record.moves.append(move(9, "pending", "running", new_token="T1"))


def claims_what_is_held(record: Record) -> None:
    taken = move(5, "running", "running", old_token="T1", new_token="T2")
    taken["old"]["locked_by"], taken["new"]["locked_by"] = "m1", "m2"
    record.moves.insert(2, taken)


def bodies_overlap(record: Record) -> None:
    record.effects = [effect(5), effect(5, pid=2), effect(6, "end")]


def two_write(record: Record) -> None:
    record.moves[-1]["app"] = OTHER


def writes_without_the_fence(record: Record) -> None:
    record.moves[-1]["statement"] = "deliver"


def writes_without_a_claim(record: Record) -> None:
    record.moves[2]["new_token"] = None


def left_running(record: Record) -> None:
    record.executions[0]["status"] = "running"


def left_locked(record: Record) -> None:
    record.executions[0]["locked_by"] = "m1"


def wait_left_open(record: Record) -> None:
    wait = {"id": "w", "execution_id": "a", "status": "open", "kind": "event", "names": ["x"]}
    record.waits.append(wait)


def event_consumed_twice(record: Record) -> None:
    line = move(6, None, None, what="events", op="U")
    line["old"], line["new"] = {"consumed_by": "w1"}, {"consumed_by": "w2"}
    record.moves.append(line)


def event_left(record: Record) -> None:
    wait_left_open(record)
    record.events.append({"execution_id": "a", "name": "x", "consumed_at": None})


def wait_line(before: str, after: str, due: datetime | None = None) -> Row:
    line = move(6, before, after, what="waits")
    line["old"] = {"due_at": due.isoformat() if due else None}
    return line


def wait_ends_twice(record: Record) -> None:
    record.moves.append(wait_line("answered", "timed_out"))


def times_out_early(record: Record) -> None:
    record.moves.append(wait_line("open", "timed_out", START + timedelta(hours=1)))


def slot_runs_twice(record: Record) -> None:
    record.moves += [move(n, None, None, what="schedule_slots", op="I") for n in (9, 10)]


def slot_of_nothing(record: Record) -> None:
    record.slots.append({"schedule": "s", "slot": START, "execution_id": "z"})


def block_ends_early(record: Record) -> None:
    record.moves[1:1] = [child(3, None, "pending")]


def child_of_a_cancelled(record: Record) -> None:
    record.moves = [move(2, None, "pending"), move(3, "pending", "cancelled")]
    record.moves.append(child(4, None, "pending"))


def undone_twice(record: Record) -> None:
    undo = step(id="u1", name="refund", is_compensation=True, compensation_for="pay", position=2)
    record.executions[0]["status"] = "compensated"
    record.steps[0]["compensation"] = "refund"
    record.steps += [undo, undo | {"id": "u2"}]


def not_undone(record: Record) -> None:
    record.executions[0]["status"] = "compensated"
    record.steps[0]["compensation"] = "refund"


def undone_all_the_same(record: Record) -> None:
    record.steps.append(step(id="u1", is_compensation=True, compensation_for="pay"))


def too_many_deaths(record: Record) -> None:
    record.moves[-1]["new"]["crash_streak"] = 4


def given_up_early(record: Record) -> None:
    record.executions[0] |= {"error": {"type": "worker_crashed"}, "crash_streak": 2}


def stolen(record: Record) -> None:
    record.executions[0]["interruptions"] = 1


def attempt_missing(record: Record) -> None:
    record.steps[0]["attempt"] = 2


def attempt_repeated(record: Record) -> None:
    record.steps.append(step(id="s2", status="failed"))


def another_id_for_a_key(record: Record) -> None:
    record.acks.append({"n": 9, "key": "k", "execution": "b"})
    record.executions.append(execution(id="b"))


def anothers_log(record: Record) -> None:
    record.steps[0]["logs"] = [{"text": of_steps.mark("b", "pay", 1)}]


PLANTED = [
    ("I-1", lost),
    ("I-1", vanished),
    ("I-1", removed_alive),
    ("I-2", invented),
    ("I-3", never_ends),
    ("I-3", ends_twice),
    ("I-4", end_changes),
    ("I-5", born_running),
    ("I-5", unknown_move),
    ("I-6", runs_after_its_commit),
    ("I-7", runs_too_often),
    ("I-8", token_repeats),
    ("I-8", claims_what_is_held),
    ("I-8", bodies_overlap),
    ("I-9", two_write),
    ("I-9", writes_without_a_claim),
    ("I-9", writes_without_the_fence),
    ("I-11", left_running),
    ("I-11", left_locked),
    ("I-11", wait_left_open),
    ("I-13", event_consumed_twice),
    ("I-13", event_left),
    ("I-13", wait_ends_twice),
    ("I-13", times_out_early),
    ("I-14", slot_runs_twice),
    ("I-14", slot_of_nothing),
    ("I-15", undone_twice),
    ("I-15", not_undone),
    ("I-15", undone_all_the_same),
    ("I-16", block_ends_early),
    ("I-16", child_of_a_cancelled),
    ("I-20", too_many_deaths),
    ("I-20", given_up_early),
    ("I-21", stolen),
    ("I-23", attempt_missing),
    ("I-23", attempt_repeated),
    ("I-25", another_id_for_a_key),
    ("I-26", anothers_log),
]


def test_a_good_run_violates_nothing():
    assert violations(good()) == []


@pytest.mark.parametrize(
    ("name", "plant"), PLANTED, ids=lambda each: getattr(each, "__name__", each)
)
def test_what_is_planted_is_found(name, plant):
    record = deepcopy(good())
    plant(record)
    invariant = (ALWAYS | AT_REST)[name]
    found = invariant(record)
    assert found
    assert all(each.startswith(f"{name} ") for each in found)
    assert set(found) <= set(violations(record))


def test_every_invariant_of_a_record_has_something_planted():
    assert {name for name, _ in PLANTED} == ALWAYS.keys() | AT_REST.keys()


def test_a_retry_allows_a_second_end():
    record = good()
    record.moves[-1]["new_status"] = "failed"
    record.moves += [
        move(9, "failed", "pending", new={"retried_at": START}),
        move(10, "pending", "running", new_token="T2"),
        move(11, "running", "completed", old_token="T2"),
    ]
    assert of_executions.every_execution_ends_once(record) == []
    assert of_executions.an_end_is_final(record) == []


def test_a_body_that_was_interrupted_may_go_on_beside_the_next():
    record = good()
    record.effects = [effect(5), effect(10, pid=2), effect(11, "end")]
    record.moves[2:2] = [move(6, "running", "pending", old_token="T1")]
    assert of_claims.claims_exclude_each_other(record) == []


def test_what_ends_late_is_found():
    assert of_executions.everything_ends_in_time(good(), within=10) == []
    (found,) = of_executions.everything_ends_in_time(good(), within=3)
    assert found.startswith("I-12 ")


def test_another_answer_is_found():
    one = {"status": "completed", "context": {"a": 1}}
    assert of_steps.the_answer_is_the_same(one, dict(one)) == []
    (found,) = of_steps.the_answer_is_the_same(one, one | {"context": {"a": 2}})
    assert found.startswith("I-10 ")


def test_a_session_that_holds_something_is_found():
    session = {"app": WORKER, "pid": 1, "state": "idle", "advisory": 0}
    assert of_claims.nothing_is_left(good(), [session]) == []
    assert of_claims.nothing_is_left(good(), [session | {"state": "idle in transaction"}])
    assert of_claims.nothing_is_left(good(), [session | {"advisory": 1}])


def test_a_late_timeout_and_a_missing_slot_are_found():
    record = good()
    record.moves.append(wait_line("open", "timed_out", START))
    assert of_waiting.events_are_consumed_once(record) == []
    assert of_waiting.events_are_consumed_once(record, late=1)
    assert of_waiting.slots_run_once(record, [("daily", START)])
    record.slots.append({"schedule": "daily", "slot": START, "execution_id": "a"})
    assert of_waiting.slots_run_once(record, [("daily", START)]) == []
    assert of_waiting.slots_run_once(record, [])


def test_a_stop_that_is_not_clean_is_found():
    stop = {"node": "m1", "stopped_at": 3, "exit_code": 0}
    assert of_claims.a_stop_is_clean(good(), **stop | {"stopped_at": 9}) == []
    assert len(of_claims.a_stop_is_clean(good(), **stop)) == 1
    assert of_claims.a_stop_is_clean(good(), **stop | {"stopped_at": 9, "exit_code": 1})
    record = good()
    record.executions[0]["locked_by"] = "m1"
    assert of_claims.a_stop_is_clean(record, **stop | {"stopped_at": 9})


def test_refused_writes_are_counted():
    fenced = {"name": "checkpoint", "tag": "INSERT 0 0", "error": None}
    assert of_claims.refused_writes([fenced, fenced | {"tag": "INSERT 0 1"}]) == 1
    assert of_claims.refused_writes([fenced | {"name": "watch"}]) == 0
    assert of_claims.refused_writes([fenced | {"name": "to_undo"}]) == 0
