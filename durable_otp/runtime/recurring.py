"""A sibling process: one small piece of work, done again and again over one connection.

The work says how much it did; a full batch means "again now", anything else sleeps until the next
round is due or a notification comes. The process waits in one place, where a signal ends the wait.
"""

from collections.abc import Callable
from typing import Protocol

from durable_otp.clock import Deadline
from durable_otp.errors import DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.otp import ParentLink
from durable_otp.otp.link import Message
from durable_otp.storage.database import Database

REST_AFTER_FAILURE = 1.0


class Recurring(Protocol):
    """One round of a sibling's work."""

    def run_once(self) -> float:
        """Do what there is to do; return after how many seconds to look again."""


def serve(
    parent: ParentLink,
    database: Database,
    work: Recurring,
    *,
    listen: str | None = None,
    on_message: Callable[[Message], None] | None = None,
) -> None:
    """Say ready, then do the work until told to stop; ``listen`` names the statement that listens.

    Messages of the supervisor go to ``on_message`` and end the wait.
    """
    parent.ready()
    while not parent.stopping:
        try:
            rest = work.run_once()
            if listen is not None and database.listen(listen):
                rest = 0.0  # what was notified after the look and before now was not heard
        except DatabaseUnreachable as error:
            emit("sibling_failed", work=type(work).__name__, reason=str(error))
            rest = REST_AFTER_FAILURE
        if rest > 0:
            _rest(parent, database, rest, on_message)
    database.close()


def pause_of(parent: ParentLink) -> Callable[[float], bool]:
    """Return how a sibling waits for a database that is away: not at all once it has to stop."""

    def pause(seconds: float) -> bool:
        deadline = Deadline(seconds)
        while not parent.stopping and not deadline.passed:
            parent.receive(deadline.remaining)
        return False

    return pause


def _rest(
    parent: ParentLink,
    database: Database,
    seconds: float,
    on_message: Callable[[Message], None] | None,
) -> None:
    """Wait; what was notified while the round's statements ran is no longer in the socket."""
    deadline = Deadline(seconds)
    while not parent.stopping and not deadline.passed:
        try:
            if database.heard():
                return
        except DatabaseUnreachable:
            return  # the next round opens another connection
        descriptor = database.fileno()
        also = () if descriptor is None else (descriptor,)
        message = parent.receive(deadline.remaining, also)
        if message is not None:
            if on_message is not None:
                on_message(message)
            return
