"""What must always hold of executions: I-1 to I-5, I-12, I-20, I-21, I-25 of the reliability notes.

Every invariant is a function that returns one sentence per violation. The others are beside it:
`invariants_steps`, `invariants_claims`, `invariants_waiting`, and `invariants_outside` for what a
ledger cannot know.
"""

from datetime import timedelta
from itertools import groupby

from durable_otp.workflow.state import TRANSITIONS
from tests.support.ledger.record import (
    Record,
    Row,
    Rows,
    grouped,
    is_final,
    is_retry,
)

PAIRS = {(str(before), str(after)) for (before, _), after in TRANSITIONS.items()}


def nothing_is_lost(record: Record) -> list[str]:
    """I-1: what was acknowledged has its row from then on; only what has ended is removed."""
    inserted = {str(move["execution"]) for move in _rows(record) if move["op"] == "I"}
    there = {str(row["id"]) for row in record.executions}
    removed = {str(m["execution"]): m for m in _rows(record) if m["op"] == "D"}
    found = []
    for ack in record.acks:
        execution = str(ack["execution"])
        if ack["execution"] is None or execution in there:
            continue
        if execution not in removed:
            how = "has gone without a trace" if execution in inserted else "was never there"
            found.append(f"I-1 {execution} ({ack['key']}) was acknowledged and {how}")
    found += [
        f"I-1 {execution} was removed while it was {move['old_status']}"
        for execution, move in removed.items()
        if not is_final(move["old_status"])
    ]
    return found


def nothing_is_invented(record: Record) -> list[str]:
    """I-2: each root has an intent, a slot, a step that started it or a failure behind it."""
    known = {str(ack["execution"]) for ack in record.acks}
    known |= {str(slot["execution_id"]) for slot in record.slots}
    known |= {str(row["result"]) for row in record.once}
    intents = {intent["key"] for intent in record.intents}
    return [
        f"I-2 nobody asked for {row['id']} ({row['workflow']})"
        for row in record.executions
        if row["parent_id"] is None
        and str(row["id"]) not in known
        and not intents & _asked_as(row)
        and not _follows_a_failure(row)
    ]


def every_execution_ends_once(record: Record) -> list[str]:
    """I-3: at rest each execution has ended, once and once more for every retry."""
    found = []
    for execution, moves in record.histories().items():
        ends = sum(_ends(move) for move in moves)
        wanted = 1 + sum(is_retry(move) for move in moves)
        is_known_from_its_birth = moves[0]["op"] == "I"
        last = moves[-1]["new_status"]
        if moves[-1]["op"] != "D" and not is_final(last):
            found.append(f"I-3 {execution} is {last} and has not ended")
        elif is_known_from_its_birth and ends != wanted:
            found.append(f"I-3 {execution} has ended {ends} times instead of {wanted}")
    return found


def an_end_is_final(record: Record) -> list[str]:
    """I-4: nothing but an operator's retry changes what has ended."""
    return [
        f"I-4 {move['execution']} was {move['old_status']} and became {move['new_status']} "
        f"by {move['app']}"
        for move in _rows(record)
        if move["op"] == "U"
        and is_final(move["old_status"])
        and move["old_status"] != move["new_status"]
        and not is_retry(move)
    ]


def only_known_moves_are_made(record: Record) -> list[str]:
    """I-5: an execution is born pending, or waiting for its turn, and moves as the table says."""
    in_turn = {str(row["id"]) for row in record.executions if row.get("concurrency_key")}
    found = []
    for move in _rows(record):
        pair = move["old_status"], move["new_status"]
        births = ("pending", "waiting") if str(move["execution"]) in in_turn else ("pending",)
        if move["op"] == "I" and pair[1] not in births:
            found.append(f"I-5 {move['execution']} was born {pair[1]}")
        if move["op"] == "U" and pair[0] != pair[1] and pair not in PAIRS:
            found.append(f"I-5 {move['execution']} moved from {pair[0]} to {pair[1]}")
    return found


def everything_ends_in_time(record: Record, *, within: float) -> list[str]:
    """I-12: so many seconds after the last fault, or its own start, everything has ended."""
    last_fault = max((fault["t"] for fault in record.faults), default=None)
    found = []
    for execution, moves in record.histories().items():
        begun = next((move["t"] for move in moves if move["op"] == "I"), moves[0]["t"])
        calm = max(begun, last_fault) if last_fault else begun
        late = [m["t"] - calm for m in moves if _ends(m)]
        found += [
            f"I-12 {execution} has ended {each} after all was calm"
            for each in late
            if each > timedelta(seconds=within)
        ]
    return found


def poison_stops(record: Record, *, max_crashes: int = 3) -> list[str]:
    """I-20: what kills its worker runs `max_crashes` times in a row and then has failed."""
    found = []
    for execution, moves in record.histories().items():
        streaks = [move["new"]["crash_streak"] or 0 for move in moves if move["op"] != "D"]
        longest = max(streaks, default=0)
        if longest > max_crashes:
            found.append(f"I-20 {execution} has killed {longest} workers in a row")
    for row in record.executions:
        reason = (row["error"] or {}).get("type")
        if reason == "worker_crashed" and row["crash_streak"] != max_crashes:
            count = row["crash_streak"]
            found.append(f"I-20 {row['id']} was given up after {count} deaths in a row")
    return found


def no_claim_is_stolen(record: Record) -> list[str]:
    """I-21: without any fault no claim is taken from its holder, whatever clocks say."""
    if record.faults:
        return []
    return [
        f"I-21 {row['id']} was interrupted {row['interruptions']} times and nothing was broken"
        for row in record.executions
        if row["interruptions"]
    ]


def a_key_starts_one(record: Record) -> list[str]:
    """I-25: an idempotency key gives one execution, and everybody the same."""
    found = []
    by_key = grouped(record.acks, lambda ack: str(ack["key"]))
    for key, acks in by_key.items():
        ids = {str(ack["execution"]) for ack in acks if ack["execution"] is not None}
        if len(ids) > 1:
            found.append(f"I-25 {key} was acknowledged as {sorted(ids)}")
    keyed = sorted(
        (row["workflow"], row["idempotency_key"], str(row["id"]))
        for row in record.executions
        if row["idempotency_key"]
    )
    for (workflow, key), rows in groupby(keyed, key=lambda each: each[:2]):
        ids_of_key = [each[2] for each in rows]
        if len(ids_of_key) > 1:
            found.append(f"I-25 {workflow} has {ids_of_key} under the key {key}")
    return found


def _rows(record: Record) -> Rows:
    return record.of("workflow_executions")


def _ends(move: Row) -> bool:
    return is_final(move["new_status"]) and move["old_status"] != move["new_status"]


def _asked_as(row: Row) -> set[str]:
    """Return what an execution's intent may be called: its idempotency key, or its input says."""
    given = row["input"].get("intent") if isinstance(row["input"], dict) else None
    return {row["idempotency_key"], given} - {None}


def _follows_a_failure(row: Row) -> bool:
    asked = row["input"]
    return isinstance(asked, dict) and {"execution_id", "workflow", "error"} <= asked.keys()
