"""Schedules as operators see and change them; the scheduler's own part is in `slots`."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

from durable_otp.errors import ScheduleExists, ScheduleNotFound
from durable_otp.storage.executions import NewExecution, Start, start
from durable_otp.storage.journal import database_now
from durable_otp.storage.operation import Operation, Row, Wish, transaction
from durable_otp.storage.statements import Statement
from durable_otp.workflow import slots
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.schedule import Schedule, ScheduleSettings

SETTINGS = tuple(item.name for item in fields(ScheduleSettings))
CHANGEABLE = tuple(name for name in SETTINGS if name != "name")


@transaction
def create(settings: ScheduleSettings, wish: Wish | None = None) -> Operation[Schedule]:
    """Create a schedule whose first slot is the next one.

    Raises:
        ScheduleExists: There is one of its name.
    """
    now = yield from database_now()
    values = _plain(asdict(settings)) | {"next_run_at": settings.first_slot(now)}
    rows = yield Statement("insert_schedule", values)
    schedule = yield from get(settings.name)
    is_repeated = wish is not None and wish.is_repeated and _has(schedule, settings)
    if not rows and not is_repeated:
        raise ScheduleExists(
            f"There is a schedule {settings.name!r} already; update it, or choose another name."
        )
    return schedule


def _has(schedule: Schedule, settings: ScheduleSettings) -> bool:
    return all(getattr(schedule, name) == getattr(settings, name) for name in SETTINGS)


def declare(declared: Sequence[ScheduleSettings]) -> Operation[int]:
    """Create or update the schedules that workflows declare; return how many changed.

    What operators set (enabled or not) and what has happened is kept.
    """
    if not declared:
        return 0
    now = yield from database_now()
    rows = yield Statement(
        "declare_schedules",
        {
            "names": [each.name for each in declared],
            "workflows": [each.workflow for each in declared],
            "crons": [each.cron for each in declared],
            "timezones": [each.timezone for each in declared],
            "inputs": [_text(each.input) for each in declared],
            "queues": [each.queue for each in declared],
            "enabled": [each.enabled for each in declared],
            "catch_ups": [each.catch_up for each in declared],
            "overlaps": [each.overlap for each in declared],
            "jitters": [each.jitter for each in declared],
            "next_runs": [each.first_slot(now) for each in declared],
        },
    )
    return len(rows)


def get(name: str) -> Operation[Schedule]:
    """Return a schedule; raise ``ScheduleNotFound`` when there is none of this name."""
    rows = (yield Statement("schedules", {"name": name})) if _is_name(name) else ()
    if not rows:
        raise _not_found(name)
    return Schedule(**rows[0])


def every() -> Operation[list[Schedule]]:
    """Return all schedules, in order of name."""
    rows = yield Statement("schedules", {"name": None})
    return [Schedule(**row) for row in rows]


@transaction
def update(name: str, changes: dict[str, Any]) -> Operation[Schedule]:
    """Change some of ``CHANGEABLE``; another ``cron`` or ``timezone`` has another next slot.

    Raises:
        ScheduleError: A change is wrong.
        ScheduleNotFound: There is none of this name.
    """
    schedule, now = yield from locked(name)
    before = {key: getattr(schedule, key) for key in SETTINGS}
    settings = ScheduleSettings(**(before | changes))
    changed = replace(schedule, **{key: getattr(settings, key) for key in CHANGEABLE})
    if (changed.cron, changed.timezone) != (schedule.cron, schedule.timezone):
        changed = replace(changed, next_run_at=settings.first_slot(now))
    if changed.enabled and not schedule.enabled:
        changed = slots.enabled(replace(changed, enabled=False), now)
    yield from write(changed, has_new_input="input" in changes)
    yield Statement("tell_schedulers", {"name": name})
    return changed


@transaction
def enable(name: str) -> Operation[Schedule]:
    """Enable a schedule and forget its failures; if it was disabled, its slots begin from now.

    Raises:
        ScheduleError: Its cron or timezone in the database is wrong.
        ScheduleNotFound: There is none of this name.
    """
    schedule, now = yield from locked(name)
    changed = slots.enabled(schedule, now)
    yield from write(changed)
    yield Statement("tell_schedulers", {"name": name})
    return changed


@transaction
def disable(name: str) -> Operation[Schedule]:
    """Disable a schedule; its runs go on. Raises ``ScheduleNotFound``."""
    schedule, _ = yield from locked(name)
    changed = replace(schedule, enabled=False)
    yield from write(changed)
    return changed


def delete(name: str, wish: Wish | None = None) -> Operation[None]:
    """Delete a schedule with its slots; its runs go on. Raises ``ScheduleNotFound``."""
    rows = (yield Statement("delete_schedule", {"name": name})) if _is_name(name) else ()
    if not rows and (wish is None or not wish.is_repeated):
        raise _not_found(name)


@transaction
def trigger(name: str, how: Start, new: NewExecution) -> Operation[str]:
    """Start a run now, whatever its next slot and whether enabled; return the execution's id.

    The run counts like one of a slot: for ``overlap``, and for failures in a row.

    Raises:
        ScheduleNotFound: There is none of this name.
    """
    schedule, now = yield from locked(name)
    (execution_id,) = yield from start(how, [new])
    yield Statement("record_trigger", {"schedule": name, "execution_id": execution_id})
    yield from write(replace(schedule, last_run_at=now))
    return execution_id


def write(schedule: Schedule, *, has_new_input: bool = False) -> Operation[None]:
    """Write a schedule whose row this transaction has locked; its input only if that is new."""
    values = asdict(schedule) | ({} if has_new_input else {"input": None})
    yield Statement("write_schedule", _plain(values) | {"has_new_input": has_new_input})


def as_locked(row: Row) -> tuple[Schedule, datetime]:
    """Return a locked row as a schedule, and the database's time."""
    return Schedule(**{key: value for key, value in row.items() if key != "now"}), row["now"]


def locked(name: str) -> Operation[tuple[Schedule, datetime]]:
    """Lock a schedule to the end of the transaction; return it and the database's time."""
    rows = (yield Statement("lock_schedule", {"name": name})) if _is_name(name) else ()
    if not rows:
        raise _not_found(name)
    return as_locked(rows[0])


def _not_found(name: object) -> ScheduleNotFound:
    return ScheduleNotFound(f"There is no schedule {name!r}; list_schedules() names those there.")


def _is_name(name: object) -> bool:
    """Return whether the database could have it: a NUL or a lone surrogate cannot be sent."""
    return isinstance(name, str) and name.isprintable()


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"input": _text(values["input"])}


def _text(form: Any) -> str | None:
    return None if form is None else encode(form).decode()
