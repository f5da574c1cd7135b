"""One order for everything that a filter finds."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple, Protocol

from durable_otp.client.handle import Client
from durable_otp.errors import (
    AlreadyFinished,
    DurableError,
    ExecutionNotFound,
    NotRetryable,
    ParentFinished,
)
from durable_otp.storage import reports
from durable_otp.storage.pool import PooledDatabase
from durable_otp.storage.reports import Filters, Statuses
from durable_otp.workflow.state import State

PAGE = 500
CANCELLABLE = (State.PENDING, State.RUNNING, State.WAITING)
RETRYABLE = (State.FAILED, State.CANCELLED, State.COMPENSATION_FAILED)
MEANWHILE = (AlreadyFinished, ExecutionNotFound, NotRetryable, ParentFinished)
"""What an execution answers that somebody else has dealt with since it was found."""


class Outcome(NamedTuple):
    """What became of one of many: why nothing was done to it, if nothing was."""

    id: str
    refusal: DurableError | None


def each_of(ids: Iterable[str], act: Callable[[str], object]) -> Iterator[Outcome]:
    """Do something to one after another; yield what became of each. Blocks.

    Args:
        ids: Of executions; read only as far as what is yielded is asked for.
        act: Does it to one, in a transaction of its own.
    """
    for id_ in ids:
        try:
            act(id_)
        except MEANWHILE as error:
            yield Outcome(id_, error)
        else:
            yield Outcome(id_, None)


class _WithDatabase(Client, Protocol):
    """The client that these methods are mixed into."""

    _database: PooledDatabase

    def cancel(self, id: str, reason: str | None = None) -> None:  # noqa: A002 - the contract's name
        """Cancel one."""

    def retry(self, id: str) -> None:  # noqa: A002 - the contract's name
        """Retry one."""


class BulkVerbs:
    """Methods of ``Durable`` that deal with many executions, each in a transaction of its own."""

    def cancel_executions(  # noqa: PLR0913 - the filters of list_executions, by keyword
        self: _WithDatabase,
        workflow: str | None = None,
        status: Statuses = None,
        *,
        queue: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> int:
        """Cancel what ``list_executions`` finds and has not ended; return how many roots.

        Args:
            workflow: Of this name.
            status: In this status, or in one of these, of those that can be cancelled.
            queue: Of this queue.
            since: Started at this instant or later.
            until: Started before this instant.
            reason: The message of their errors.
            dry_run: Count, and cancel nothing.

        Raises:
            ValueError: A status is none, or one that cannot be cancelled.
        """
        filters = _filters(workflow, status, CANCELLABLE, queue, since, until)

        def cancel(id_: str) -> None:
            self.cancel(id_, reason)

        return _each(self._database, filters, None if dry_run else cancel)

    def retry_executions(
        self: _WithDatabase,
        workflow: str | None = None,
        status: Statuses = State.FAILED,
        *,
        queue: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        dry_run: bool = False,
    ) -> int:
        """Retry what ``list_executions`` finds, failed ones by default; return how many.

        Children go on with their parents and are not retried by themselves.

        Raises:
            ValueError: A status is none, or one that cannot be retried.
        """
        filters = _filters(workflow, status, RETRYABLE, queue, since, until)
        return _each(self._database, filters, None if dry_run else self.retry)


def _filters(
    workflow: str | None,
    status: Statuses,
    possible: tuple[State, ...],
    queue: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Filters:
    given = (status,) if isinstance(status, str) else tuple(status or possible)
    for each in given:
        if each not in possible:
            raise ValueError(f"status must be among {', '.join(possible)} here, not {each!r}.")
    return Filters(workflow, given, queue, since=since, until=until, top_level=True)


def _each(database: PooledDatabase, filters: Filters, act: Callable[[str], None] | None) -> int:
    """Act on everything that is found, and return how many there were; None: only count."""
    if act is None:
        return database.run(reports.count_executions, filters)
    outcomes = each_of(_found(database, filters), act)
    return sum(outcome.refusal is None for outcome in outcomes)


def _found(database: PooledDatabase, filters: Filters) -> Iterator[str]:
    """Yield the ids that a filter finds now, the oldest first; what is acted on is passed."""
    after: str | None = None
    while True:
        page = database.run(
            reports.list_executions, filters, order="oldest", limit=PAGE, after=after
        )
        yield from (each.id for each in page)
        if len(page) < PAGE:
            return
        after = page[-1].id
