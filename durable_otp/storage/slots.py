"""What the scheduler does: start the runs of due slots, and judge the runs that have ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any

from durable_otp.errors import (
    AlreadyFinished,
    ExecutionNotFound,
    ScheduleError,
    WorkflowNotFound,
)
from durable_otp.storage import executions
from durable_otp.storage.definitions import published
from durable_otp.storage.executions import NewExecution, Start
from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.payloads import refuse_unreadable
from durable_otp.storage.schedules import as_locked, locked, write
from durable_otp.storage.statements import Statement
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.schedule import Schedule
from durable_otp.workflow.slots import (
    AGAIN_AFTER_ERROR,
    OUTCOMES,
    Outcome,
    after_failure,
    after_runs,
    due,
    starts_at,
)
from durable_otp.workflow.state import State

KEPT_DAYS = 30
JUDGED_AT_ONCE = 1000
MOST_BACKFILLED = 10_000


@dataclass(frozen=True)
class Round:
    """What was done with a schedule's due slots, and how it stands then."""

    schedule: Schedule
    started: int = 0
    skipped: int = 0
    failed: int = 0


def due_schedules(limit: int) -> Operation[list[str]]:
    """Return the names of schedules with a slot that has come, the longest due first."""
    rows = yield Statement("due_schedules", {"limit": limit})
    return [row["name"] for row in rows]


def next_slot() -> Operation[float | None]:
    """Return the seconds until the next slot, below zero if overdue; None if none will come."""
    rows = yield Statement("next_slot")
    seconds: float | None = rows[0]["seconds"]
    return seconds


@transaction
def run_due(name: str) -> Operation[Round | None]:
    """Start the runs of a schedule's due slots and move it on, all in one transaction.

    None: somebody else is at it, or it is not due any more.

    Raises:
        ScheduleError: Its cron or timezone in the database is wrong.
    """
    rows = yield Statement("lock_due_schedule", {"name": name})
    if not rows:
        return None
    schedule, now = as_locked(rows[0])
    coming = due(schedule, now)
    done = Round(replace(schedule, next_run_at=coming.next_run_at))
    if coming.slots:
        how = yield from _how_to_start(schedule)
        if how is None:
            done = yield from _all_fail(done, coming.slots, now)
        else:
            done = yield from _start_all(done, coming.slots, how, now)
    yield from write(done.schedule)
    yield Statement("forget_slots", {"schedule": name, "days": KEPT_DAYS})
    return done


@transaction
def fail_due(name: str, error: str) -> Operation[Round | None]:
    """Record that a due slot could not be started for an error, and move the schedule on."""
    rows = yield Statement("lock_due_schedule", {"name": name})
    if not rows:
        return None
    schedule, now = as_locked(rows[0])
    slot = schedule.next_run_at or now
    done = yield from _all_fail(Round(schedule), [slot], now, error)
    try:
        following = next(schedule.slots(now), None)
    except ScheduleError:
        following = now + AGAIN_AFTER_ERROR
    done = replace(done, schedule=replace(done.schedule, next_run_at=following))
    yield from write(done.schedule)
    return done


@transaction
def backfill(name: str, since: datetime, until: datetime) -> Operation[list[str]]:
    """Start the runs of a schedule's slots from one instant to before another; return their ids.

    A slot that has had a run has none again. Past slots are due at once, whatever ``overlap`` says.

    Raises:
        ScheduleNotFound: There is none of this name.
        ValueError: There are too many slots for one call, or ``until`` has not come yet.
        WorkflowNotFound: No workflow of its name is published.
    """
    schedule, now = yield from locked(name)
    slots = slots_between(schedule, since, until, now)
    how = yield from _how_to_start(schedule)
    if how is None:
        raise WorkflowNotFound(f"No workflow {schedule.workflow!r} is published in this schema.")
    started = []
    for slot in slots:
        execution_id = yield from _start_one(replace(schedule, overlap="allow"), slot, how, ())
        if execution_id is not None:
            started.append(execution_id)
    return started


def slots_between(
    schedule: Schedule, since: datetime, until: datetime, now: datetime
) -> list[datetime]:
    """Return a schedule's slots from one instant to before another; pure.

    Raises:
        ValueError: There are more than ``MOST_BACKFILLED``, or ``until`` is after ``now``.
    """
    if until > now:
        raise ValueError(f"until must not be in the future, and {until.isoformat()} is.")
    following = schedule.slots(since - timedelta(microseconds=1))
    slots = list(islice(takewhile(lambda slot: slot < until, following), MOST_BACKFILLED + 1))
    if len(slots) > MOST_BACKFILLED:
        raise ValueError(
            f"There are more than {MOST_BACKFILLED} slots between {since.isoformat()} and "
            f"{until.isoformat()}; ask for a shorter time."
        )
    return slots


def schedules_to_judge() -> Operation[list[str]]:
    """Return the names of schedules with runs that have ended and were not judged yet."""
    rows = yield Statement("schedules_to_judge")
    return [row["schedule"] for row in rows]


@transaction
def judge(name: str) -> Operation[tuple[Schedule, Schedule] | None]:
    """Count the runs that have ended, in that order; return the schedule before and after.

    None: somebody else is at it, or it has been deleted. The row is locked, so two schedulers
    count no run twice.
    """
    rows = yield Statement("lock_free_schedule", {"name": name})
    if not rows:
        return None
    schedule, now = as_locked(rows[0])
    ended = yield Statement("ended_runs", {"schedule": name, "limit": JUDGED_AT_ONCE})
    outcomes = [_outcome(row["status"]) for row in ended]
    yield Statement(
        "judge_slots",
        {
            "schedule": name,
            "slots": [row["slot"] for row in ended],
            "outcomes": [str(outcome) for outcome in outcomes],
        },
    )
    errors = [_sentence(row["error"]) for row in ended]
    judged = after_runs(schedule, zip(outcomes, errors, strict=True), now)
    if judged != schedule:
        yield from write(judged)
    return schedule, judged


def _how_to_start(schedule: Schedule) -> Operation[Start | None]:
    description = yield from published(schedule.workflow)
    if description is None:
        return None
    return Start(
        workflow=description["name"],
        version=description["version"],
        queue=schedule.queue or description["queue"],
        priority=description["priority"],
        timeout=description["timeout"],
    )


def _start_all(
    done: Round, slots: Sequence[datetime], how: Start, now: datetime
) -> Operation[Round]:
    name, overlap = done.schedule.name, done.schedule.overlap
    running: list[str] = []
    if overlap != "allow":
        rows = yield Statement("open_runs", {"schedule": name})
        running = [row["id"] for row in rows]
    for slot in slots:
        if overlap == "skip" and running:
            taken = yield from _take(name, slot, None, Outcome.SKIPPED)
            done = replace(done, skipped=done.skipped + taken)
            continue
        execution_id = yield from _start_one(done.schedule, slot, how, running)
        if execution_id is not None:
            running = [execution_id]
            moved = replace(done.schedule, last_run_at=now)
            done = replace(done, schedule=moved, started=done.started + 1)
    return done


def _start_one(
    schedule: Schedule, slot: datetime, how: Start, running: Sequence[str]
) -> Operation[str | None]:
    """Start a slot's run; None when the slot is taken."""
    refuse_unreadable(schedule.input, f"The input of schedule {schedule.name!r}")
    new = NewExecution(None if schedule.input is None else encode(schedule.input).decode())
    if not (yield from _take(schedule.name, slot, new.id, None)):
        return None
    if schedule.overlap == "cancel_previous":
        reason = f"Schedule {schedule.name!r} came to its next slot."
        for execution_id in running:
            yield from _cancel(execution_id, reason)
    yield from executions.start(replace(how, scheduled_at=starts_at(schedule, slot)), [new])
    return new.id


def _cancel(execution_id: str, reason: str) -> Operation[None]:
    try:
        yield from executions.cancel(execution_id, reason)
    except (AlreadyFinished, ExecutionNotFound):
        return  # it has ended meanwhile, or undoes what it did: nothing to call off


def _all_fail(
    done: Round, slots: Sequence[datetime], now: datetime, error: str | None = None
) -> Operation[Round]:
    reason = error or (
        f"No workflow {done.schedule.workflow!r} is published; start a node that knows it."
    )
    for slot in slots:
        if (yield from _take(done.schedule.name, slot, None, Outcome.NOT_STARTED)):
            failed = after_failure(done.schedule, reason, now)
            done = replace(done, schedule=failed, failed=done.failed + 1)
    return done


def _take(
    name: str, slot: datetime, execution_id: str | None, outcome: Outcome | None
) -> Operation[bool]:
    """Take a slot; False when it is taken."""
    rows = yield Statement(
        "take_slot",
        {
            "schedule": name,
            "slot": slot,
            "execution_id": execution_id,
            "outcome": None if outcome is None else str(outcome),
        },
    )
    return bool(rows)


def _outcome(status: str | None) -> Outcome:
    return Outcome.UNKNOWN if status is None else OUTCOMES[State(status)]


def _sentence(error: dict[str, Any] | None) -> str:
    found = error or {}
    return ": ".join(str(found[key]) for key in ("type", "message") if _is_told(found.get(key)))


def _is_told(part: Any) -> bool:
    """Return whether a part of an error is there, and not encoded."""
    return isinstance(part, str) and part != ""
