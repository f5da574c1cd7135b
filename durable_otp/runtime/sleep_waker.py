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
from durable_otp.storage.queue import next_wake, wake_sleeping_workflows

REST_WHEN_LOCKED = 0.05  # what is due and still there, somebody else is writing to


class SleepWaker:
    """One round: wake a batch of those that are due."""

    def __init__(self, database: Database, settings: SiblingSettings) -> None:
        self._database = database
        self._settings = settings

    def run_once(self) -> float:
        """Wake what is due; return the seconds until the next one may be."""
        woken = self._database.run(wake_sleeping_workflows, self._settings.batch_size)
        if woken:
            emit("executions_woken", count=woken)
        if woken == self._settings.batch_size:
            return 0.0
        due = self._database.run(next_wake)
        if due is None:
            return self._settings.interval
        return min(self._settings.interval, due if due > 0 else REST_WHEN_LOCKED)


def sleep_waker(parent: ParentLink, title: str, settings: SiblingSettings) -> None:
    """Be the sleep waker until told to stop."""
    set_title(title)
    database = Database(
        settings.database.dsn, settings.database.schema, role="sleep_waker", pause=pause_of(parent)
    )
    serve(parent, database, SleepWaker(database, settings), listen="listen_sleep")
