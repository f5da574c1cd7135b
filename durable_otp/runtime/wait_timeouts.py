"""Ends what has waited for too long.

It knows when the next one is due and sleeps until then; an earlier one is notified, and the
interval is the net below both. Each kind of deadline is a duty of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from durable_otp.clock import Deadline
from durable_otp.events import emit
from durable_otp.otp import ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime import family_care
from durable_otp.runtime.recurring import MISSED, REST_WHEN_LOCKED, Timed, pause_of, serve
from durable_otp.runtime.settings import SiblingSettings
from durable_otp.storage import deadlines, waits
from durable_otp.storage.aftermath import run_ending
from durable_otp.storage.database import Database
from durable_otp.storage.flow import pass_all_turns
from durable_otp.storage.operation import Operation

TURN = "turn"
"""The payload that says so: see the migration that makes `pass_turns`."""


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


class TurnsLeft:
    """Turns that are free and that nobody took, because who passed them on found the next locked.

    That is told, and looked after until it is done; the interval is for a crash in between.
    """

    def __init__(self) -> None:
        self._look = Deadline(None)

    def heard(self, payloads: Sequence[str]) -> None:
        """Take note of what was notified."""
        if TURN in payloads or MISSED in payloads:
            self._look = Deadline(REST_WHEN_LOCKED)

    def pass_on(self, database: Database, batch_size: int) -> int:
        """Give turns to executions that nobody has given them to; return how many."""
        self._look = Deadline(None)
        count = database.run(pass_all_turns, batch_size)
        if count:
            emit("turns_passed", count=count)
        return count

    def next_look(self) -> Operation[float | None]:
        """Return in how many seconds to look, None if nothing is known to be left."""
        return self._look.remaining
        yield


def duties(interval: float, turns: TurnsLeft | None = None) -> tuple[Duty, ...]:
    """Return all that time brings about; ``interval`` (seconds) is for what nobody tells."""
    turns = turns or TurnsLeft()
    return (
        Duty(end_overdue_waits, waits.next_timeout),
        Duty(end_overdue_executions, deadlines.next_deadline),
        Duty(family_care.give_up_overdue_calls, waits.next_timeout),
        Duty(at_most_every(interval, family_care.attend_left_parents), nobody_knows),
        Duty(at_most_every(interval, family_care.cancel_orphans), nobody_knows),
        Duty(turns.pass_on, turns.next_look),
    )


def at_most_every(
    interval: float, perform: Callable[[Database, int], int]
) -> Callable[[Database, int], int]:
    """Return what does nothing within the interval after a round that found less than it may."""
    next_round = Deadline(0)

    def perform_in_time(database: Database, batch_size: int) -> int:
        nonlocal next_round
        if not next_round.passed:
            return 0
        done = perform(database, batch_size)
        next_round = Deadline(0 if done == batch_size else interval)
        return done

    return perform_in_time


def nobody_knows() -> Operation[float | None]:
    """Return None: there is nothing to be asked."""
    return None
    yield


class WaitTimeouts:
    """One round: a batch of every duty whose time has come."""

    def __init__(
        self, database: Database, settings: SiblingSettings, performed: tuple[Duty, ...] = ()
    ) -> None:
        self._turns = TurnsLeft()
        self._timed = [
            Timed(
                partial(duty.perform, database, settings.batch_size),
                partial(database.run, duty.next_due),
                batch_size=settings.batch_size,
                interval=settings.interval,
            )
            for duty in performed or duties(settings.interval, self._turns)
        ]

    def heard(self, payloads: Sequence[str]) -> None:
        """Take note of what was notified."""
        self._turns.heard(payloads)

    def run_once(self) -> float:
        """Do what is due; return the seconds until there may be more."""
        return min([each.run_once() for each in self._timed])


def wait_timeouts(parent: ParentLink, title: str, settings: SiblingSettings) -> None:
    """Be the process that ends waits until told to stop."""
    set_title(title)
    database = Database(
        settings.database.listening_dsn,
        settings.database.schema,
        role="wait_timeouts",
        pause=pause_of(parent),
    )
    work = WaitTimeouts(database, settings)
    serve(parent, database, work, listen="listen_timeout", on_heard=work.heard)
