"""Removes what is old: executions beyond their retention, and what processes leave behind.

A round removes one batch per status. While there is more, the next round follows at once and goes
on where this one stopped, so that families held back by a young descendant are looked at once.
"""

from datetime import timedelta

from durable_otp.events import emit
from durable_otp.otp import ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime.recurring import pause_of, serve
from durable_otp.runtime.settings import SiblingSettings
from durable_otp.storage.database import Database
from durable_otp.storage.deletion import Old, Place, cutoff, delete_batch, tidy
from durable_otp.workflow.state import State


class Pruner:
    """One round: a batch of each status that is not kept for ever."""

    def __init__(self, database: Database, settings: SiblingSettings) -> None:
        self._database = database
        self._settings = settings
        self._places: dict[State, Place] = {}

    def run_once(self) -> float:
        """Remove what is old; return the seconds until the next round."""
        deleted = sum(
            self._batch(State(status), seconds)
            for status, seconds in self._settings.retention.items()
        )
        if deleted:
            emit("executions_pruned", count=deleted)
        if self._places:
            return 0.0
        self._database.run(tidy)
        return self._settings.interval

    def _batch(self, status: State, seconds: float) -> int:
        before = self._database.run(cutoff, timedelta(seconds=seconds))
        place = self._places.pop(status, None)
        batch = self._database.run(delete_batch, Old(status, before), place)
        if batch.next is not None:
            self._places[status] = batch.next
        return batch.deleted


def pruner(parent: ParentLink, title: str, settings: SiblingSettings) -> None:
    """Be the pruner until told to stop."""
    set_title(title)
    database = Database(
        settings.database.dsn, settings.database.schema, role="pruner", pause=pause_of(parent)
    )
    serve(parent, database, Pruner(database, settings))
