"""Starts what is scheduled, and disables what fails again and again.

It knows when the next slot comes and sleeps until then; a changed schedule is notified, and the
interval is the net below both. Every node has one: which of them starts a slot's run does not
matter, for the slot's key lets one of them do it.
"""

import logging

from durable_otp.errors import DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.otp import ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime.recurring import pause_of, serve
from durable_otp.runtime.settings import SiblingSettings
from durable_otp.storage import slots
from durable_otp.storage.database import Database
from durable_otp.storage.payloads import Untouched
from durable_otp.storage.slots import Round
from durable_otp.workflow.schedule import Schedule

AT_ONCE = 100
REST_WHILE_STUCK = 0.2


class Scheduler:
    """One round: judge the runs that have ended, then start a batch of those that are due.

    A schedule that cannot be dealt with is a failure of that schedule, never of the others.
    """

    def __init__(self, database: Database, settings: SiblingSettings) -> None:
        self._database = database
        self._settings = settings

    def run_once(self) -> float:
        """Start what is due; return the seconds until the next slot may be."""
        for name in self._database.run(slots.schedules_to_judge):
            self._judge(name)
        names = self._database.run(slots.due_schedules, AT_ONCE)
        moved = [self._start(name) for name in names]
        if any(moved):
            return 0.0  # there may be more, of the same schedules too
        if names:  # another scheduler is at them, or the database refuses to record why not
            return min(self._settings.interval, REST_WHILE_STUCK)
        due = self._database.run(slots.next_slot)
        return (
            self._settings.interval if due is None else min(self._settings.interval, max(0.0, due))
        )

    def _judge(self, name: str) -> None:
        try:
            judged = self._database.run(slots.judge, name)
        except DatabaseUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - one broken schedule must not stop the others
            emit("schedule_not_judged", level=logging.ERROR, schedule=name, reason=_reason(error))
            return
        if judged is not None and judged[0].enabled:
            _tell_if_disabled(judged[1])

    def _start(self, name: str) -> bool:
        """Start a schedule's due slots; return whether it has moved on."""
        try:
            done = self._database.run(slots.run_due, name)
        except DatabaseUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - one broken schedule must not stop the others
            done = self._fail(name, _reason(error))
        if done is None:
            return False
        emit(
            "schedule_due",
            schedule=name,
            started=done.started,
            skipped=done.skipped,
            failed=done.failed,
        )
        _tell_if_disabled(done.schedule)
        return True

    def _fail(self, name: str, reason: str) -> Round | None:
        emit("schedule_failed", level=logging.ERROR, schedule=name, reason=reason)
        try:
            return self._database.run(slots.fail_due, name, reason)
        except DatabaseUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            emit("schedule_stuck", level=logging.ERROR, schedule=name, reason=_reason(error))
            return None


def _tell_if_disabled(schedule: Schedule) -> None:
    if not schedule.enabled:
        emit(
            "schedule_disabled",
            level=logging.ERROR,
            schedule=schedule.name,
            failures=schedule.consecutive_failures,
            reason=schedule.last_error,
        )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def scheduler(parent: ParentLink, title: str, settings: SiblingSettings) -> None:
    """Be the scheduler until told to stop."""
    set_title(title)
    database = Database(
        settings.database.listening_dsn,
        settings.database.schema,
        role="scheduler",
        pause=pause_of(parent),
        codecs=Untouched(),
    )
    serve(parent, database, Scheduler(database, settings), listen="listen_schedule")
