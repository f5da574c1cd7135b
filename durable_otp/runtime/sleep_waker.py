"""Wakes executions whose sleep is over.

It knows when the next one is due and sleeps until then; a new earlier sleep is notified, and the
interval is the net below both.
"""

from durable_otp.events import emit
from durable_otp.otp import ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime.recurring import Timed, pause_of, serve
from durable_otp.runtime.settings import SiblingSettings
from durable_otp.storage.database import Database
from durable_otp.storage.queue import next_wake, wake_sleeping_workflows


class SleepWaker:
    """One round: wake a batch of those that are due, or ask when the next one is."""

    def __init__(self, database: Database, settings: SiblingSettings) -> None:
        self._database = database
        self._batch_size = settings.batch_size
        self._waking = Timed(
            self._wake,
            lambda: database.run(next_wake),
            batch_size=settings.batch_size,
            interval=settings.interval,
        )

    def run_once(self) -> float:
        """Wake what is due; return the seconds until the next one may be."""
        return self._waking.run_once()

    def _wake(self) -> int:
        woken = self._database.run(wake_sleeping_workflows, self._batch_size)
        if woken:
            emit("executions_woken", count=woken)
        return woken


def sleep_waker(parent: ParentLink, title: str, settings: SiblingSettings) -> None:
    """Be the sleep waker until told to stop."""
    set_title(title)
    database = Database(
        settings.database.listening_dsn,
        settings.database.schema,
        role="sleep_waker",
        pause=pause_of(parent),
    )
    serve(parent, database, SleepWaker(database, settings), listen="listen_sleep")
