"""What operators ask of a client: go on after an end, begin in the middle, remove what is old."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Protocol

from durable_otp.client.handle import Client, Handle
from durable_otp.storage import deletion, forking, retrying
from durable_otp.storage.identity import new_id
from durable_otp.storage.operation import Wish
from durable_otp.storage.pool import PooledDatabase
from durable_otp.workflow.state import State


class _WithDatabase(Client, Protocol):
    """The client that these methods are mixed into."""

    _database: PooledDatabase


class OperatorVerbs:
    """Methods of ``Durable`` for executions that have ended or went wrong."""

    def retry(self: _WithDatabase, id: str) -> None:  # noqa: A002 - the contract's name
        """Have an ended execution go on where it stopped; completed steps are kept.

        The failed and cancelled children of its open block go on with it. Its step has all its
        attempts again, and a workflow timeout begins anew. One whose compensation failed runs the
        handlers again that failed.

        Raises:
            NotRetryable: It is neither failed, cancelled nor compensation_failed.
            ParentFinished: It is a child whose parent has ended: retry that.
            ExecutionNotFound: There is none with this id.
        """
        self._database.run(retrying.retry, id, Wish())

    def fork(self: _WithDatabase, id: str, from_step: str) -> Handle:  # noqa: A002 - the contract's name
        """Start a new execution from a copy of another one's journal; the source is left alone.

        The copy reaches up to the latest visit of the step, which is the first one that runs.

        Args:
            id: The source, in any status.
            from_step: A step that it has reached: its path, or its name if one step has it.

        Raises:
            NotForkable: It has not reached such a step itself, or is a child of a block.
            ExecutionNotFound: There is none with this id.
        """
        return Handle(self._database.run(forking.fork, id, from_step, new_id()), self)

    def delete_executions(
        self: _WithDatabase,
        older_than: timedelta | float | datetime,
        status: State | str | Collection[State | str] | None = None,
        dry_run: bool = False,  # noqa: FBT001, FBT002 - the contract's argument
    ) -> int:
        """Remove old executions for ever; return how many, children included.

        Only whole families go: a root in one of the statuses, when it and every descendant have
        ended long enough ago. Committed in batches, so an error leaves what was removed before.

        Args:
            older_than: How long ago they must have ended, or the instant before which.
            status: A final status of the root, or several; every final one by default.
            dry_run: Count, and remove nothing.

        Raises:
            ValueError: A status is not final, or the time is negative or has no time zone.
            TypeError: ``older_than`` is no time.
        """
        statuses = deletion.final_statuses(status)
        cutoff = self._database.run(deletion.cutoff, older_than)
        batch_of = deletion.count_batch if dry_run else deletion.delete_batch
        deleted = 0
        for each in statuses:
            old, place, is_done = deletion.Old(each, cutoff), None, False
            while not is_done:
                batch = self._database.run(batch_of, old, place)
                deleted, place = deleted + batch.deleted, batch.next
                is_done = place is None
        return deleted
