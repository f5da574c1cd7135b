"""What parents and children need that nobody's end of an execution brings about.

Calls whose time has passed, parents that nobody looked at after a child's end, and children whose
parent has ended. A part of a sibling's round, once an interval however often that is woken.
"""

from durable_otp.clock import Deadline
from durable_otp.runtime.settings import SiblingSettings
from durable_otp.storage.database import Database
from durable_otp.storage.families import (
    cancel_orphans,
    children_ended,
    give_up_call,
    left_parents,
    overdue_calls,
    parents_of_orphans,
)


class FamilyCare:
    """One round: a batch of each."""

    def __init__(self, database: Database, settings: SiblingSettings) -> None:
        self._database = database
        self._settings = settings
        self._next = Deadline(0)

    def run_once(self) -> int:
        """Look after families, unless that was done within the interval; return how many."""
        if not self._next.passed:
            return 0
        most = self._settings.batch_size
        calls = self._database.run(overdue_calls, most)
        for call in calls:
            self._database.run(give_up_call, call["id"], call["parent"], call["child"])
        left = self._database.run(left_parents, most)
        for parent in left:
            self._database.run(children_ended, [parent])
        orphaned = self._database.run(parents_of_orphans, most)
        for parent in orphaned:
            self._database.run(cancel_orphans, parent)
        found = len(calls) + len(left) + len(orphaned)
        self._next = Deadline(0 if found >= most else self._settings.interval)
        return found
