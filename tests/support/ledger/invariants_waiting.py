"""What must always hold of waits, events, schedules and children: I-13, I-14, I-16."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from tests.support.ledger.record import Record, Row, grouped, is_claim, is_final, is_retry

_ENDINGS = ("answered", "timed_out", "cancelled")


def events_are_consumed_once(record: Record, *, late: float | None = None) -> list[str]:
    """I-13: an event goes to one wait, a wait has one end, and none times out before its time.

    With `late`, nor so many seconds after it: only where nothing was broken meanwhile.
    """
    return [
        *_events_consumed_again(record),
        *_events_left_lying(record),
        *_waits_ended_twice(record),
        *_timeouts_at_the_wrong_time(record, late),
    ]


def slots_run_once(
    record: Record, expected: Iterable[tuple[str, datetime]] | None = None
) -> list[str]:
    """I-14: a schedule's slot starts one execution; with `expected`, those slots and no others."""
    started = Counter(
        str(move["execution"])
        for move in record.of("schedule_slots")
        if move["op"] == "I" and move["execution"] is not None
    )
    found = [f"I-14 {e} was started by {n} slots" for e, n in started.items() if n > 1]
    there = {str(row["id"]) for row in record.executions}
    gone = {str(m["execution"]) for m in record.of("workflow_executions") if m["op"] == "D"}
    found += [
        f"I-14 the slot {slot['slot']} of {slot['schedule']} names {slot['execution_id']}, "
        "which is not there"
        for slot in record.slots
        if slot["execution_id"] is not None and str(slot["execution_id"]) not in there | gone
    ]
    if expected is not None:
        taken = Counter((slot["schedule"], slot["slot"]) for slot in record.slots)
        wanted = Counter(expected)
        found += [f"I-14 {slot} did not run" for slot in wanted - taken]
        found += [f"I-14 {slot} ran unasked" for slot in taken - wanted]
    return found


def parents_wait_for_their_children(record: Record) -> list[str]:
    """I-16: a block is completed after all of its children, and none begins after a cancel."""
    families = grouped(
        [move for move in record.of("workflow_executions") if _parent(move)],
        lambda move: str(_parent(move)),
    )
    return [
        *_blocks_completed_early(record, families),
        *_children_of_cancelled_parents(record, families),
    ]


def _parent(move: Row) -> str | None:
    parent: str | None = move["new"]["parent_id"] or move["old"]["parent_id"]
    return parent


def _events_consumed_again(record: Record) -> list[str]:
    return [
        f"I-13 event {move['row']} of {move['execution']} was consumed by two waits"
        for move in record.of("events")
        if move["op"] == "U"
        and move["old"]["consumed_by"] is not None
        and move["new"]["consumed_by"] not in (None, move["old"]["consumed_by"])
    ]


def _events_left_lying(record: Record) -> list[str]:
    mail = {(str(e["execution_id"]), e["name"]) for e in record.events if e["consumed_at"] is None}
    return [
        f"I-13 {wait['execution_id']} waits for {name!r}, and it lies in its mailbox"
        for wait in record.waits
        if wait["status"] == "open" and wait["kind"] in ("event", "any", "all")
        for name in wait["names"]
        if (str(wait["execution_id"]), name) in mail
    ]


def _waits_ended_twice(record: Record) -> list[str]:
    """An ended wait is opened again by whoever asks it again, and has no other second end."""
    return [
        f"I-13 wait {move['row']} was {move['old_status']} and became {move['new_status']}"
        for move in record.of("waits")
        if move["op"] == "U"
        and move["old_status"] in _ENDINGS
        and move["new_status"] in _ENDINGS
        and move["old_status"] != move["new_status"]
    ]


def _timeouts_at_the_wrong_time(record: Record, late: float | None) -> list[str]:
    found = []
    for move in record.of("waits"):
        if (move["old_status"], move["new_status"]) != ("open", "timed_out"):
            continue
        due = move["old"]["due_at"]
        if due is None:
            found.append(f"I-13 wait {move['row']} has timed out and had no time")
            continue
        over = move["now"] - datetime.fromisoformat(due)
        if over < timedelta(0):
            found.append(f"I-13 wait {move['row']} has timed out {-over} too early")
        elif late is not None and over > timedelta(seconds=late):
            found.append(f"I-13 wait {move['row']} has timed out {over} late")
    return found


def _blocks_completed_early(record: Record, families: dict[str, list[Row]]) -> list[str]:
    found = []
    for move in record.of("step_executions"):
        is_end = move["op"] == "I" and move["new_status"] == "completed"
        if not is_end or move["new"]["is_compensation"]:
            continue
        place = move["new"]["path"], move["new"]["visit"]
        mine = [c for c in families.get(str(move["execution"]), []) if _block(c) == place]
        for child, moves in grouped(mine, lambda each: str(each["execution"])).items():
            before = [each for each in moves if each["n"] < move["n"]]
            if not before or not is_final(before[-1]["new_status"]):
                path = move["new"]["path"]
                found.append(f"I-16 {path} of {move['execution']} ended before its child {child}")
    return found


def _block(child: Row) -> tuple[str, int] | None:
    """Return the block that a child belongs to; None for a called workflow."""
    new = child["new"] if child["op"] != "D" else child["old"]
    return None if new["parent_index"] is None else (new["parent_path"], new["parent_visit"])


def _children_of_cancelled_parents(record: Record, families: dict[str, list[Row]]) -> list[str]:
    found = []
    for parent, moves in record.histories().items():
        cancelled = [m["n"] for m in moves if m["new_status"] == "cancelled"]
        if not cancelled or any(is_retry(move) for move in moves):
            continue
        found += [
            f"I-16 {child['execution']} began after its parent {parent} was cancelled"
            for child in families.get(parent, [])
            if child["n"] > cancelled[0]
            and (child["op"] == "I" or (is_claim(child) and child["old_status"] == "pending"))
        ]
    return found
