"""Ends what has waited for too long.

It knows when the next one is due and sleeps until then; an earlier one is notified, and the
interval is the net below both. Each kind of deadline is a duty of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

from durable_otp.events import emit
from durable_otp.otp import ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime.recurring import pause_of, serve
from durable_otp.runtime.settings import SiblingSettings
from durable_otp.storage import deadlines, waits
from durable_otp.storage.aftermath import run_ending
from durable_otp.storage.database import Database
from durable_otp.storage.operation import Operation

SHORTEST_REST = 0.02
"""What is due and was not done is locked by somebody who is about to do it."""


@dataclass(frozen=True)
class Duty:
    """One thing that time brings about.

    Attributes:
        perform: Does a batch of what is due, at most so many; returns how many it did.
        next_due: Says in how many seconds there is more to do; None: nobody knows.
    """

    perform: Callable[[Database, int], int]
    next_due: Callable[[], Operation[float | None]]


def end_overdue_waits(database: Database, batch_size: int) -> int:
    """End waits whose time is over, and tell the parents of executions that failed with it."""
    count = run_ending(database.run, waits.end_overdue_waits, batch_size)
    if count:
        emit("waits_timed_out", count=count)
    return count


def end_overdue_executions(database: Database, batch_size: int) -> int:
    """End executions whose deadline has passed, and tell their parents."""
    count = run_ending(database.run, deadlines.end_overdue, batch_size)
    if count:
        emit("deadlines_passed", count=count)
    return count


DUTIES = (
    Duty(end_overdue_waits, waits.next_timeout),
    Duty(end_overdue_executions, deadlines.next_deadline),
)


class WaitTimeouts:
    """One round: a batch of every duty."""

    def __init__(
        self, database: Database, settings: SiblingSettings, duties: tuple[Duty, ...] = DUTIES
    ) -> None:
        self._database = database
        self._settings = settings
        self._duties = duties

    def run_once(self) -> float:
        """Do what is due; return the seconds until there may be more."""
        return min(self._rest_after(duty) for duty in self._duties)

    def _rest_after(self, duty: Duty) -> float:
        batch_size = self._settings.batch_size
        if duty.perform(self._database, batch_size) == batch_size:
            return 0.0
        due = self._database.run(duty.next_due)
        if due is None:
            return self._settings.interval
        return min(self._settings.interval, max(SHORTEST_REST, due))


def wait_timeouts(parent: ParentLink, title: str, settings: SiblingSettings) -> None:
    """Be the process that ends waits until told to stop."""
    set_title(title)
    database = Database(
        settings.database.dsn,
        settings.database.schema,
        role="wait_timeouts",
        pause=pause_of(parent),
    )
    serve(parent, database, WaitTimeouts(database, settings), listen="listen_timeout")
