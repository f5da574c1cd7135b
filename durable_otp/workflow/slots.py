"""What is to be done with a schedule's slots: which of the due ones run, and when to give up.

A slot is an instant at which a schedule is due. Pure: what is decided here is written by
``storage.schedules``, in one transaction a schedule.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

from durable_otp.workflow.schedule import Schedule
from durable_otp.workflow.state import State

AUTO_DISABLE_AFTER = 5
BATCH_SIZE = 100
PUNCTUAL = timedelta(minutes=1)
"""A slot that is handled within cron's own resolution was not missed."""
AGAIN_AFTER_ERROR = timedelta(minutes=5)
LONGEST_ERROR = 1024
_LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=400))


class Outcome(StrEnum):
    """What became of a slot whose run has ended, or that had none."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """The execution has been deleted."""
    NOT_STARTED = "not_started"
    SKIPPED = "skipped"


OUTCOMES: dict[State, Outcome] = {
    State.COMPLETED: Outcome.COMPLETED,
    State.CANCELLED: Outcome.CANCELLED,
    State.FAILED: Outcome.FAILED,
    State.COMPENSATED: Outcome.FAILED,
    State.COMPENSATION_FAILED: Outcome.FAILED,
}
"""How an ended run is judged; being cancelled says nothing about whether the next one works."""


@dataclass(frozen=True)
class Due:
    """The slots to run now, in order, and the first one to look at after them."""

    slots: tuple[datetime, ...]
    next_run_at: datetime | None


def due(schedule: Schedule, now: datetime, *, limit: int = BATCH_SIZE) -> Due:
    """Return which slots run, of those from ``next_run_at`` up to now.

    ``catch_up``: ``"all"`` runs each, ``limit`` at a time; ``"one"`` the latest for all of them;
    ``"skip"`` the latest if it is punctual. With ``overlap="cancel_previous"``, ``"all"`` is
    ``"one"``: each run would be cancelled by the next at once.

    Raises:
        ScheduleError: The cron or the timezone in the database is wrong.
    """
    first = schedule.next_run_at
    if first is None or first > now:
        return Due((), first)
    if schedule.catch_up == "all" and schedule.overlap != "cancel_previous":
        slots = [first, *islice(schedule.slots(first), limit)]
        passed = tuple(slot for slot in slots[:limit] if slot <= now)
        return Due(passed, slots[len(passed)] if len(passed) < len(slots) else None)
    latest = _latest(schedule, first, now)
    is_missed = schedule.catch_up == "skip" and now - latest > PUNCTUAL
    return Due(() if is_missed else (latest,), next(schedule.slots(max(now, latest)), None))


def _latest(schedule: Schedule, first: datetime, now: datetime) -> datetime:
    """Return the last slot up to now; looks back in growing steps, not over years of minutes."""
    for back in _LOOK_BACK:
        if now - back <= first:
            break
        found = _last_until(schedule, now - back, now)
        if found is not None:
            return found
    return _last_until(schedule, first, now) or first


def _last_until(schedule: Schedule, after: datetime, now: datetime) -> datetime | None:
    last = None
    for slot in schedule.slots(after):
        if slot > now:
            break
        last = slot
    return last


def starts_at(schedule: Schedule, slot: datetime) -> datetime:
    """Return when the run of a slot is due: up to ``jitter`` later, always the same for a slot."""
    if not schedule.jitter:
        return slot
    digest = hashlib.sha256(f"{schedule.name}\n{slot.timestamp():.0f}".encode()).digest()
    fraction = int.from_bytes(digest[:8], "big") / 2**64
    return slot + timedelta(seconds=fraction * schedule.jitter)


def after_failure(schedule: Schedule, error: str, now: datetime) -> Schedule:
    """Return a schedule with one more failure in a row; the fifth disables it."""
    failures = schedule.consecutive_failures + 1
    failed = replace(
        schedule, consecutive_failures=failures, last_error=error[:LONGEST_ERROR].rstrip()
    )
    if failures < AUTO_DISABLE_AFTER or not schedule.enabled:
        return failed
    return replace(failed, enabled=False, auto_disabled_at=now)


def after_runs(schedule: Schedule, ended: Iterable[tuple[Outcome, str]], now: datetime) -> Schedule:
    """Return a schedule after runs that have ended, in this order, each with its error."""
    for outcome, error in ended:
        if outcome is Outcome.FAILED:
            schedule = after_failure(schedule, error, now)
        elif outcome is Outcome.COMPLETED:
            schedule = replace(schedule, consecutive_failures=0, last_error=None)
    return schedule


def enabled(schedule: Schedule, now: datetime) -> Schedule:
    """Return an enabled schedule without failures; one that was disabled begins from now."""
    next_run_at = schedule.next_run_at if schedule.enabled else next(schedule.slots(now), None)
    return replace(
        schedule,
        enabled=True,
        next_run_at=next_run_at,
        last_error=None,
        consecutive_failures=0,
        auto_disabled_at=None,
    )
