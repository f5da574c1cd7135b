"""What is done about executions that nobody sees to: what a living node would do by itself."""

from collections.abc import Callable
from typing import Any, Protocol

from durable_otp.storage import deadlines, waits
from durable_otp.storage.aftermath import Ended, run_ending
from durable_otp.storage.diagnosis import Bounds, ailing, living_managers
from durable_otp.storage.nodes import forget_managers
from durable_otp.storage.operation import Operation
from durable_otp.storage.queue import (
    recover_claims,
    recover_stale_locks,
    recover_zombie_workflows,
    wake_sleeping_workflows,
)

BATCH = 100


class Database(Protocol):
    """Whoever runs operations of storage."""

    def run(self, operation: Callable[..., Operation[Any]], *args: Any, **options: Any) -> Any:
        """Run an operation and return its answer."""


Cure = Callable[[Database, Bounds], int]
"""Cures all there are; returns how many."""


def take_back_stale(database: Database, bounds: Bounds) -> int:
    """Give claims back that nobody refreshes; those of living managers stay."""
    living = database.run(living_managers, bounds.silent)
    return _all(database, recover_stale_locks, bounds.stale, live=living, batch_size=BATCH)


def take_back_from_silent(database: Database, bounds: Bounds) -> int:
    """Give the claims of silent managers back, and forget the managers."""
    cured = 0
    while silent := database.run(ailing, "silent_managers", bounds):
        holders = list(silent.examples)
        cured += _all(database, recover_claims, holders, batch_size=BATCH)
        database.run(forget_managers, holders)
    return cured


def fail_zombies(database: Database, bounds: Bounds) -> int:
    """Fail what waits for nothing."""
    return _all(database, recover_zombie_workflows, bounds.stale, batch_size=BATCH)


def wake_sleepers(database: Database, _bounds: Bounds) -> int:
    """Make sleepers pending whose time has come."""
    return _rounds(lambda: int(database.run(wake_sleeping_workflows, BATCH)))


def end_overdue_waits(database: Database, _bounds: Bounds) -> int:
    """End waits whose timeout has passed."""
    return _all(database, waits.end_overdue_waits, BATCH)


def end_overdue_executions(database: Database, _bounds: Bounds) -> int:
    """End executions that are past their workflow's timeout."""
    return _all(database, deadlines.end_overdue, BATCH)


def _all(
    database: Database, operation: Callable[..., Operation[Ended]], *args: Any, **options: Any
) -> int:
    return _rounds(lambda: run_ending(database.run, operation, *args, **options))


def _rounds(once: Callable[[], int]) -> int:
    """Repeat until less than a whole batch is found."""
    total = 0
    while True:
        done = once()
        total += done
        if done < BATCH:
            return total
