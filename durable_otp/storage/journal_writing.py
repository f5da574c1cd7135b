"""How a claim's journal is written: fenced, repeatable, and with word to the parent at an end.

The ids of the rows are made before the first try. When a write finds its claim gone, it looks for
its own row: if that is there, an earlier try had succeeded and only its answer was lost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from durable_otp.clock import monotonic
from durable_otp.engine.journal import Attempt, Failure, LogEntries, Usage
from durable_otp.errors import ClaimLost
from durable_otp.storage.aftermath import aftermath, parents_of
from durable_otp.storage.database import Database
from durable_otp.storage.families import children_ended
from durable_otp.storage.identity import new_id
from durable_otp.storage.operation import Operation, Row, transaction
from durable_otp.storage.statements import Statement
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.state import State

Parameters = dict[str, Any]
Writing = Callable[..., Operation[Sequence[Row]]]
Value = TypeVar("Value")
Asked = ParamSpec("Asked")

KNOWN_FOR = 1.0
"""Seconds for which a claim that was known to hold is taken to hold."""


@dataclass(frozen=True)
class Holder:
    """The claim that every write of a journal names.

    Attributes:
        claimed_at: When it was, by the monotonic clock, which all processes of a machine share.
    """

    id: str
    lock_token: str
    claimed_at: float = field(default_factory=monotonic)


class JournalWriter:
    """Writes under one claim, on its worker's connection. Every method blocks until committed."""

    def __init__(self, database: Database, holder: Holder) -> None:
        self._database = database
        self._holder = holder
        self._claim = {"id": holder.id, "lock_token": holder.lock_token}
        self._known_at = holder.claimed_at

    @property
    def execution_id(self) -> str:
        """The execution that is claimed."""
        return self._holder.id

    @property
    def lock_token(self) -> str:
        """What every write asks for."""
        return self._holder.lock_token

    def read(
        self,
        operation: Callable[Asked, Operation[Value]],
        *args: Asked.args,
        **options: Asked.kwargs,
    ) -> Value:
        """Return what an operation that writes nothing answers."""
        return self._database.run(operation, *args, **options)

    def confirm(self) -> None:
        """Ask whether the claim still holds, unless that was known a moment ago.

        An answer may have been held up, by the network or with the whole process, for so long that
        somebody else has the execution by now, and may even have completed the step that would
        come next.

        Raises:
            ClaimLost: It does not.
        """
        asked = monotonic()
        if asked - self._known_at < KNOWN_FOR:
            return
        if not self._database.run(claim_is_held, self._claim):
            raise self.lost()
        self._known_at = asked

    def write(self, name: str, parameters: Parameters) -> None:
        """Write a row of the journal by the statement of this name."""
        self.run(record_step, {"step_id": new_id(), **parameters}, name)

    def fail(self, parameters: Parameters) -> None:
        """End the execution as failed, or let it compensate."""
        self.run(record_fail, {"step_id": new_id(), **parameters})

    def end(self, operation: Writing) -> bool:
        """End a compensating execution; return whether it is compensated."""
        (row,) = self.run(operation, {})
        return State(row["status"]) is State.COMPENSATED

    def run(self, operation: Writing, parameters: Parameters, *args: str) -> Sequence[Row]:
        """Run a writing operation under the claim; if it ends a child, tell the parent.

        Raises:
            ClaimLost: It has written nothing.
        """
        asked = monotonic()
        rows = self.written(self._database.run(operation, parameters | self._claim, *args))
        self._known_at = asked
        return rows

    def claimed(self, parameters: Parameters) -> Parameters:
        """Return a new row's parameters with its id and the claim that it is written under."""
        return {"step_id": new_id(), **parameters} | self._claim

    def written(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows of a write that is committed, after telling a child's parent.

        Raises:
            ClaimLost: There are none.
        """
        if not rows:
            raise self.lost()
        parents = parents_of(rows)
        if parents:
            self._database.run(children_ended, parents)
        return rows

    def lost(self) -> ClaimLost:
        """Return the error that says that the claim is gone."""
        return ClaimLost(
            f"Execution {self._holder.id} is held under another lock token now: this worker's "
            "claim was recovered, cancelled or settled meanwhile."
        )


def claim_is_held(claim: Parameters) -> Operation[bool]:
    """Return whether an execution is held under a lock token."""
    return bool((yield Statement("journal_since_snapshot", claim)))


def record_step(parameters: Parameters, name: str) -> Operation[Sequence[Row]]:
    """Write a row of the journal; return a row if it is there, by this try or an earlier one."""
    rows = yield Statement(name, parameters)
    return rows or (yield Statement("step_is_recorded", parameters))


@transaction
def record_fail(parameters: Parameters) -> Operation[Sequence[Row]]:
    """End the execution as failed, together with what that brings with it."""
    rows = yield Statement("fail", parameters)
    yield from aftermath(rows)
    return rows or (yield Statement("step_is_recorded", parameters))


def json_text(value: Any) -> str:
    """Return JSON text as a parameter for a jsonb column."""
    return encode(value).decode()


def attempt_parameters(
    attempt: Attempt, logs: LogEntries, duration: float, usage: Usage | None
) -> Parameters:
    """Return what every row of an attempt says."""
    cpu_seconds, peak_rss, process = usage or (None, None, None)
    return {
        "position": attempt.position,
        "path": attempt.path,
        "name": attempt.name,
        "type": attempt.type,
        "visit": attempt.visit,
        "attempt": attempt.number,
        "logs": json_text(logs) if logs else "[]",
        "duration": duration,
        "cpu_seconds": cpu_seconds,
        "peak_rss": peak_rss,
        "process": process,
    }


def failure_parameters(failure: Failure) -> Parameters:
    """Return what the row of a failed attempt says."""
    return {
        **attempt_parameters(failure.attempt, failure.logs, failure.duration, failure.usage),
        "error": json_text(failure.error),
    }
