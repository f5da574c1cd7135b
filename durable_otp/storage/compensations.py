"""The journal of undoing in PostgreSQL, and how a handler's lost attempt is settled."""

from collections.abc import Mapping, Sequence
from typing import Any

from durable_otp.engine.compensation_journal import Undo
from durable_otp.engine.journal import Attempt, Failure, LogEntries, Usage
from durable_otp.storage.family_journal import origin
from durable_otp.storage.journal_writing import (
    JournalWriter,
    Parameters,
    attempt_parameters,
    failure_parameters,
    json_text,
)
from durable_otp.storage.operation import Operation, Row, transaction
from durable_otp.storage.reports import compensation_results, folded_context
from durable_otp.storage.statements import Statement
from durable_otp.workflow.state import State


class PostgresCompensationJournal:
    """What one claim undoes. Every method blocks until it is committed.

    Implements `engine.compensation_journal.CompensationJournal`.
    """

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer

    def confirm(self) -> None:
        """Raise ClaimLost if somebody else has the execution by now; asks when that may be."""
        self._writer.confirm()

    def to_undo(self) -> Sequence[Undo]:
        """Return what is still to be undone, the newest first; nothing if the claim is lost."""
        return self._writer.read(to_undo, self._writer.execution_id, self._writer.lock_token)

    def context_of(self, execution_id: str, given: Any) -> dict[str, Any]:
        """Return the context after the last step that an execution of the family completed."""
        return self._writer.read(context_of, self._writer.execution_id, execution_id, given)

    def undone(
        self,
        attempt: Attempt,
        output: Any,
        logs: LogEntries,
        duration: float,
        usage: Usage | None = None,
    ) -> None:
        """Record that a handler has completed."""
        self._writer.write(
            "record_undone",
            {
                **attempt_parameters(attempt, logs, duration, usage),
                "output": None if output is None else json_text(output),
                "error": None,
                "gave_up": False,
            },
        )

    def record_failure(self, failure: Failure, *, gave_up: bool) -> None:
        """Record a failed attempt; ``gave_up``: no other one follows."""
        parameters = {**failure_parameters(failure), "output": None, "gave_up": gave_up}
        self._writer.write("record_undone", parameters)

    def retry_later(self, failure: Failure, delay: float) -> None:
        """Record a failed attempt and give the claim back until ``delay`` seconds have passed."""
        self._writer.write("undo_later", {**failure_parameters(failure), "delay": delay})

    def end(self) -> bool:
        """End the execution; return whether every handler had completed."""
        return self._writer.end(end_compensation)


def to_undo(execution_id: str, lock_token: str | None = None) -> Operation[list[Undo]]:
    """Return what is still to be undone of an execution, the newest first.

    Nothing when it is not held under ``lock_token``.
    """
    rows = yield Statement("to_undo", {"id": execution_id, "lock_token": lock_token})
    return [_undo(row, number) for number, row in enumerate(rows, start=1)]


def context_of(execution_id: str, owner: str, given: Any) -> Operation[dict[str, Any]]:
    """Return the context of an execution, or of a child of it, after its last completed step."""
    if owner != execution_id:
        child = yield from origin(owner)
        given = child.sibling.context if child.sibling else given
    return (yield from folded_context(owner, given))


@transaction
def end_compensation(parameters: Parameters) -> Operation[Sequence[Row]]:
    """End an execution as compensated, or as compensation_failed if a handler has failed.

    Under its lock, so that no handler's end comes between the looking and the writing.
    """
    yield Statement("lock_execution", {"id": parameters["id"]})
    results = yield from compensation_results(parameters["id"])
    has_failed = any(result["status"] != "completed" for result in results)
    rows = yield Statement(
        "end_compensation",
        {**parameters, "has_failed": has_failed, "endings": json_text(results)},
    )
    return rows or (yield from _ended_before(parameters["id"]))


def settle_handler_crash(parameters: Parameters, attempt_type: str) -> Operation[Sequence[Row]]:
    """Count a death in a handler; what dies before any has begun is charged to the next one."""
    charged = parameters
    if attempt_type != "compensation":
        left = yield from to_undo(parameters["id"])
        if not left:
            return ()
        charged = {**parameters, **_charge(left[0])}
    return (yield Statement("settle_handler_crash", charged))


def _ended_before(execution_id: str) -> Operation[Sequence[Row]]:
    """Return the row of an execution that an earlier try had ended."""
    rows = yield Statement("status_of", {"id": execution_id})
    final = (State.COMPENSATED, State.COMPENSATION_FAILED)
    return [{**row, "parent_id": None} for row in rows if row["status"] in final]


def _charge(undo: Undo) -> Mapping[str, Any]:
    return {
        "path": undo.path,
        "name": undo.compensation,
        "visit": undo.visit,
        "attempt": undo.recorded_attempts + 1,
    }


def _undo(row: Row, number: int) -> Undo:
    fields = dict(row)
    return Undo(position=fields.pop("last_position") + number, **fields)
