"""Wakes executions whose sleep is over.

It knows when the next one is due and sleeps until then; a new earlier sleep is notified, and the
interval is the net below both.
"""

from durable_otp.events import emit
from durable_otp.otp import ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime.recurring import pause_of, serve
from durable_otp.runtime.settings import SiblingSettings
from durable_otp.storage.database import Database
from durable_otp.storage.families import (
    children_ended,
    give_up_call,
    left_parents,
    overdue_calls,
)
from durable_otp.storage.queue import next_wake, wake_sleeping_workflows


class SleepWaker:
    """One round: wake a batch of those that are due."""

    def __init__(self, database: Database, settings: SiblingSettings) -> None:
        self._database = database
        self._settings = settings

    def run_once(self) -> float:
        """Wake what is due; return the seconds until the next one may be."""
        self._attend_families()
        woken = self._database.run(wake_sleeping_workflows, self._settings.batch_size)
        if woken:
            emit("executions_woken", count=woken)
        if woken == self._settings.batch_size:
            return 0.0
        due = self._database.run(next_wake)
        return (
            self._settings.interval if due is None else min(self._settings.interval, max(0.0, due))
        )

    def _attend_families(self) -> None:
        """End calls whose time has passed, and look after parents that nobody looked at."""
        for call in self._database.run(overdue_calls, self._settings.batch_size):
            self._database.run(give_up_call, call["id"], call["parent"], call["child"])
        for parent in self._database.run(left_parents, self._settings.batch_size):
            self._database.run(children_ended, [parent])


def sleep_waker(parent: ParentLink, title: str, settings: SiblingSettings) -> None:
    """Be the sleep waker until told to stop."""
    set_title(title)
    database = Database(
        settings.database.dsn, settings.database.schema, role="sleep_waker", pause=pause_of(parent)
    )
    serve(parent, database, SleepWaker(database, settings), listen="listen_sleep")
