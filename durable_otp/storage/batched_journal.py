"""The journal of a queue whose finished steps are committed some at a time.

A completed step is handed to whoever commits for several workers (`Outbox`), and the execution goes
on meanwhile. Everything else is written and read as ever, after what was handed over is committed.
"""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from durable_otp.engine.journal import Completion
from durable_otp.storage.batch import JSON_COLUMNS, StepRow, row_text
from durable_otp.storage.database import Database
from durable_otp.storage.identity import new_id
from durable_otp.storage.journal import PostgresJournal, completed_parameters
from durable_otp.storage.journal_writing import Holder
from durable_otp.storage.operation import Operation

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")


class Outbox(Protocol):
    """Where finished steps go, and where one learns that they are committed."""

    def put(self, row: StepRow) -> None:
        """Hand over a step's row; may block while too many are under way."""

    def flush(self) -> None:
        """Return when all that was put is committed, or never will be; blocks."""


class FlushingDatabase(Database):
    """A worker's connection that is used only when nothing handed over is still under way."""

    outbox: Outbox | None = None

    def run(
        self,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        """Run an operation behind everything that was put into the outbox; see `Database.run`."""
        if self.outbox is not None:
            self.outbox.flush()
        return super().run(operation, *args, **kwargs)


class BatchedJournal(PostgresJournal):
    """The journal of one claim whose completed steps go to an outbox."""

    def __init__(self, database: Database, holder: Holder, outbox: Outbox) -> None:
        super().__init__(database, holder)
        self._outbox = outbox

    def checkpoint(self, completion: Completion) -> None:
        """Hand a completed step over; one with waits to close is written at once."""
        attempt = completion.attempt
        if self.leaves_open(attempt.path, attempt.visit):
            super().checkpoint(completion)
            return
        id_, token, step_id = self._holder.id, self._holder.lock_token, new_id()
        recorded = completed_parameters(completion)
        recorded |= self._database.seal((*JSON_COLUMNS, "result"), recorded)
        step = {"step_id": step_id, "execution_id": id_, **recorded}
        result = step.pop("result")
        is_last = completion.next_path is None
        self._outbox.put(StepRow(id_, token, step_id, row_text(step), is_last, result))
