"""An attempt of a step whose body runs in the transaction of its checkpoint."""

from collections.abc import Callable
from typing import Any, TypeAlias

from durable_otp.engine.failure import describe
from durable_otp.engine.journal import Attempt, Completion, Journal, TransactionRefused
from durable_otp.engine.outcome import Raised, Unfinished
from durable_otp.engine.position import Accepted

Attempted: TypeAlias = tuple[Attempt, Accepted | Unfinished, float]
"""An attempt, how it ended, and how many seconds it took."""


def attempt_in_transaction(
    journal: Journal,
    attempt: Callable[[Any], Attempted],
    completion: Callable[[Attempted], Completion | None],
    allows: Callable[[Exception], bool],
) -> Attempted:
    """Attempt a step; when it completes, everything it did there is committed with its checkpoint.

    A lost connection begins the same attempt anew and counts nothing: nothing of it was kept. What
    the database refuses to commit is a failure of the step.

    Args:
        journal: Where the transaction is.
        attempt: Runs the body once, on a connection.
        completion: What is to be recorded of an attempt; None if it has not completed.
        allows: Whether an exception may be followed by another attempt.
    """
    latest: list[Attempted] = []

    def run(connection: Any) -> Completion | None:
        latest[:] = [attempt(connection)]
        return completion(latest[0])

    try:
        journal.in_transaction(run)
    except TransactionRefused as refused:
        error = refused.__cause__ if isinstance(refused.__cause__, Exception) else refused
        made, _, duration = latest[0]
        return made, Raised(describe(error), may_retry=allows(error)), duration
    return latest[0]
