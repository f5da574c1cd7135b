"""A sibling process: one small piece of work, done again and again over one connection.

The work says how much it did; a full batch means "again now", anything else sleeps until the next
round is due or a notification comes. The process waits in one place, where a signal ends the wait.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from durable_otp.clock import Deadline
from durable_otp.errors import DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.otp import ParentLink
from durable_otp.otp.link import Message
from durable_otp.storage.database import Database

REST_AFTER_FAILURE = 1.0
REST_WHEN_LOCKED = 0.02
"""What is due and was not done is locked by somebody who is about to do it."""


MISSED = "missed"
"""What is heard in place of notifications when the connection that listens is a new one."""


class Recurring(Protocol):
    """One round of a sibling's work."""

    def run_once(self) -> float:
        """Do what there is to do; return after how many seconds to look again."""


class Timed:
    """Work that a time in the database brings about, and which nobody looks for before that.

    A round after a notification only asks for the time: it may be an earlier one.

    Args:
        perform: Does a batch of what is due; returns how many it did.
        next_due: Says in how many seconds there is more to do, below zero if overdue; None: never.
        batch_size: As many done means that there may be more.
        interval: The most seconds between two looks, whatever is known.
    """

    def __init__(
        self,
        perform: Callable[[], int],
        next_due: Callable[[], float | None],
        *,
        batch_size: int,
        interval: float,
    ) -> None:
        self._perform = perform
        self._next_due = next_due
        self._batch_size = batch_size
        self._interval = interval
        self._due = self._net = Deadline(0)

    def run_once(self) -> float:
        """Do what is due; return the seconds until there may be more."""
        is_due = self._due.passed or self._net.passed
        if is_due:
            if self._perform() == self._batch_size:
                return 0.0
            self._net = Deadline(self._interval)
        seconds = self._next_due()
        is_overdue = seconds is not None and seconds <= 0
        if is_overdue and not is_due:
            self._due = Deadline(0)
            return self.run_once()
        until_due = REST_WHEN_LOCKED if is_overdue else seconds
        self._due = Deadline(until_due)
        until_net = self._interval if is_due else self._net.remaining
        return min(rest for rest in (until_due, until_net) if rest is not None)


def serve(
    parent: ParentLink,
    database: Database,
    work: Recurring,
    *,
    listen: str | None = None,
    on_message: Callable[[Message], None] = lambda _: None,
    on_heard: Callable[[Sequence[str]], None] = lambda _: None,
) -> None:
    """Say ready, then do the work until told to stop; ``listen`` names the statement that listens.

    Messages of the supervisor go to ``on_message`` and end the wait, as notifications do, whose
    payloads ``on_heard`` is told; `MISSED` when some may have been missed.
    """
    parent.ready()
    while not parent.stopping:
        try:
            rest = work.run_once()
            if listen is not None and database.listen(listen):
                on_heard([MISSED])
                rest = 0.0  # what was notified after the look and before now was not heard
        except DatabaseUnreachable as error:
            emit("sibling_failed", work=type(work).__name__, reason=str(error))
            rest = REST_AFTER_FAILURE
        if rest > 0:
            _rest(parent, database, rest, on_message, on_heard)
    database.close()


def pause_of(
    parent: ParentLink, on_message: Callable[[Message], None] = lambda _: None
) -> Callable[[float], bool]:
    """Return how a sibling waits for a database that is away: not at all once it has to stop.

    ``on_message`` hears what the supervisor says meanwhile: it says it once.
    """

    def pause(seconds: float) -> bool:
        deadline = Deadline(seconds)
        while not parent.stopping and not deadline.passed:
            message = parent.receive(deadline.remaining)
            if message is not None:
                on_message(message)
        return False

    return pause


def _rest(
    parent: ParentLink,
    database: Database,
    seconds: float,
    on_message: Callable[[Message], None],
    on_heard: Callable[[Sequence[str]], None],
) -> None:
    """Wait; what was notified while the round's statements ran is no longer in the socket."""
    deadline = Deadline(seconds)
    while not parent.stopping and not deadline.passed:
        try:
            heard = database.heard()
            if heard:
                on_heard(heard)
                return
        except DatabaseUnreachable:
            return  # the next round opens another connection
        descriptor = database.fileno()
        also = () if descriptor is None else (descriptor,)
        message = parent.receive(deadline.remaining, also)
        if message is not None:
            on_message(message)
            return
