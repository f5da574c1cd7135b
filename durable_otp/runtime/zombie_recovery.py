"""Fails executions that wait for nothing: neither a due time nor an open wait can wake them.

The engine makes no such row; this is the net below rows that something else made.
"""

from durable_otp.events import emit
from durable_otp.otp import ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime.recurring import pause_of, serve
from durable_otp.runtime.settings import SiblingSettings
from durable_otp.storage.aftermath import run_ending
from durable_otp.storage.database import Database
from durable_otp.storage.queue import recover_zombie_workflows


class ZombieRecovery:
    """One round: fail a batch of zombies older than the stale lock timeout."""

    def __init__(self, database: Database, settings: SiblingSettings) -> None:
        self._database = database
        self._settings = settings

    def run_once(self) -> float:
        """Fail what nothing can wake; return the seconds until the next round."""
        failed = run_ending(
            self._database.run,
            recover_zombie_workflows,
            self._settings.stale_lock_timeout,
            batch_size=self._settings.batch_size,
        )
        if failed:
            emit("zombies_recovered", count=failed)
        return 0.0 if failed == self._settings.batch_size else self._settings.interval


def zombie_recovery(parent: ParentLink, title: str, settings: SiblingSettings) -> None:
    """Be the zombie recovery until told to stop."""
    set_title(title)
    database = Database(
        settings.database.dsn,
        settings.database.schema,
        role="zombie_recovery",
        pause=pause_of(parent),
    )
    serve(parent, database, ZombieRecovery(database, settings))
