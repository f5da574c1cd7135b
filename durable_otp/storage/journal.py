"""The engine's journal in PostgreSQL: one committed, fenced write per step."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from durable_otp.engine.journal import (
    Answer,
    Completion,
    Entry,
    Failure,
    Usage,
    VisitRecord,
)
from durable_otp.storage.calls import CHILD, called_answers, called_parameters
from durable_otp.storage.compensations import PostgresCompensationJournal
from durable_otp.storage.database import Database
from durable_otp.storage.families import children_ended
from durable_otp.storage.family_journal import PostgresFamilyJournal
from durable_otp.storage.identity import new_id
from durable_otp.storage.journal_writing import (
    Holder,
    JournalWriter,
    Parameters,
    attempt_parameters,
    failure_parameters,
    json_text,
    record_step,
)
from durable_otp.storage.once import PostgresOnceJournal
from durable_otp.storage.operation import Operation, Row, transaction
from durable_otp.storage.statements import Statement
from durable_otp.storage.step_transaction import run_in_transaction
from durable_otp.storage.waits import asked, suspend, suspend_and_look
from durable_otp.workflow.suspension import WaitRequest


class PostgresJournal:
    """The journal of one claim, on its worker's connection. Every method blocks until committed.

    Implements `engine.journal.Journal`.
    """

    def __init__(self, database: Database, holder: Holder) -> None:
        self._database = database
        self._holder = holder
        self._writer = JournalWriter(database, holder)
        self.family = PostgresFamilyJournal(database, holder.id, holder.lock_token)
        self.compensations = PostgresCompensationJournal(self._writer)
        self.once_results = PostgresOnceJournal(database, holder)
        self._leaves_open: tuple[str, int] | None = None
        """The visit that has open waits, which end at its checkpoint."""

    def confirm(self) -> None:
        """Raise ClaimLost if somebody else has the execution by now; asks when that may be."""
        self._writer.confirm()

    def entries(self) -> Sequence[Entry]:
        """Return the completed steps from the newest snapshot on, oldest first.

        Raises:
            ClaimLost: What is recorded may be another's.
        """
        entries = self._database.run(
            journal_since_snapshot, self._holder.id, self._holder.lock_token
        )
        if entries is None:
            raise self._writer.lost()
        return entries

    def visit(self, path: str) -> VisitRecord:
        """Return what is recorded of the visit that comes next at ``path``."""
        record, has_open_waits = self._database.run(visit_record, self._holder.id, path)
        self._leaves_open = (path, record.visit) if has_open_waits else None
        return record

    def checkpoint(self, completion: Completion) -> None:
        """Record a completed step; without a ``next_path`` the execution is completed with it."""
        name = "complete" if completion.next_path is None else "checkpoint"
        attempt = completion.attempt
        if self.leaves_open(attempt.path, attempt.visit):
            self._leaves_open = None
            step = {"step_id": new_id(), **completed_parameters(completion)}
            self._writer.run(record_step_and_close_waits, step, name)
        else:
            self._writer.write(name, completed_parameters(completion))

    def in_transaction(self, run: Callable[[Any], Completion | None]) -> None:
        """Run a step's body and record its completion in one transaction."""

        def body(connection: Any) -> tuple[str, Parameters] | None:
            completion = run(connection)
            if completion is None:
                return None
            name = "complete" if completion.next_path is None else "checkpoint"
            return name, self._writer.claimed(completed_parameters(completion))

        rows = run_in_transaction(self._database, body)
        if rows is not None:
            self._writer.written(rows)

    def leaves_open(self, path: str, visit: int) -> bool:
        """Return whether a visit has open waits, which its checkpoint has to close."""
        return self._leaves_open == (path, visit)

    def record_failure(self, failure: Failure) -> None:
        """Record a failed attempt that the same worker follows up."""
        self._writer.write("record_failed_attempt", failure_parameters(failure))

    def retry_later(self, failure: Failure, delay: float) -> None:
        """Record a failed attempt and give the claim back until ``delay`` seconds have passed."""
        self._writer.write("retry_later", {**failure_parameters(failure), "delay": delay})

    def fail(self, error: Mapping[str, Any], path: str | None, failure: Failure | None) -> None:
        """End the execution as failed, together with its last attempt if there was one.

        One that has something to undo compensates instead, under another claim.
        """
        attempt = _no_attempt(error) if failure is None else failure_parameters(failure)
        self._writer.fail({**attempt, "path": path})

    def move(self, queue: str, path: str) -> None:
        """Give the claim back to another queue, where the step at ``path`` is to run."""
        self._writer.run(move, {"queue": queue, "path": path})

    def suspend(
        self, path: str, visit: int, waits: Sequence[tuple[int, WaitRequest]], *, attempt: int = 1
    ) -> None:
        """Record the waits by ordinal and give the claim back until one of them is answered.

        ``attempt`` is the one that waits: a timeout counts for it and for no other.
        """
        calls = called_parameters(waits)
        place = {"path": path, "visit": visit, "attempt": attempt, "calls": calls}
        only_sleeps = all(request.kind == "sleep" for _, request in waits)
        operation = suspend if only_sleeps else suspend_and_look
        self._writer.run(operation, {**place, **asked(waits)})
        if calls is not None:  # a child that is known already may have ended
            self._database.run(children_ended, [self._holder.id])


def journal_since_snapshot(
    execution_id: str, lock_token: str | None = None
) -> Operation[list[Entry] | None]:
    """Return the completed steps from the newest snapshot on, oldest first.

    None when the execution is not held under ``lock_token``, or is not there.
    """
    about = {"id": execution_id, "lock_token": lock_token}
    rows = yield Statement("journal_since_snapshot", about)
    if not rows:
        return None
    return [Entry(**row) for row in rows if row["position"] is not None]


def visit_record(execution_id: str, path: str) -> Operation[tuple[VisitRecord, bool]]:
    """Return what is recorded of the next visit at ``path``, and whether it has open waits."""
    visits = yield Statement("visits_of", {"id": execution_id, "path": path})
    visit = visits[0]["visit"] + 1 if visits else 1
    key = {"id": execution_id, "path": path, "visit": visit}
    attempts = yield Statement("attempts_of", key)
    waits = yield Statement("waits_of", key)
    recorded = attempts[0]["recorded"]
    answers: dict[int, Answer | None] = {
        row["ordinal"]: _earlier(row, recorded + 1) for row in waits if row["kind"] != CHILD
    }
    if any(row["kind"] == CHILD for row in waits):
        answers |= yield from called_answers(key, recorded + 1)
    known = {ordinal: answer for ordinal, answer in answers.items() if answer is not None}
    record = VisitRecord(visit, recorded, attempts[0]["failed"], known)
    return record, any(row["is_open"] for row in waits)


@transaction
def record_step_and_close_waits(parameters: Parameters, name: str) -> Operation[Sequence[Row]]:
    """Write a completed step and close the waits that it asked for and did not need."""
    rows = yield from record_step(parameters, name)
    if rows:
        yield Statement("close_waits", parameters)
    return rows


def move(parameters: Parameters) -> Operation[Sequence[Row]]:
    """Give the claim to another queue; return a row if it was held."""
    return (yield Statement("move", parameters))


def database_now() -> Operation[datetime]:
    """Return the database's time."""
    rows = yield Statement("database_now")
    now: datetime = rows[0]["now"]
    return now


def _earlier(wait: Row, attempt: int) -> Answer:
    """Return what an earlier run's wait means to the attempt that runs.

    A timeout is an answer, or the lack of one, to the attempt that saw it alone.
    """
    names = tuple(wait["names"])
    if wait["status"] != "timed_out" or wait["attempt"] != attempt:
        return Answer(wait["kind"], wait["status"] == "answered", wait["answer"], names)
    return Answer(
        wait["kind"], wait["has_timeout_value"], wait["timeout_value"], names, timed_out=True
    )


def completed_parameters(completion: Completion) -> Parameters:
    """Return what the row of a completed step says."""
    snapshot = completion.snapshot
    return {
        **attempt_parameters(
            completion.attempt, completion.logs, completion.duration, completion.usage
        ),
        "output": None if completion.output is None else json_text(completion.output),
        "changes": json_text(completion.changes),
        "snapshot": None if snapshot is None else json_text(snapshot),
        "next_path": completion.next_path,
        "jumps": completion.jumps,
        "compensation": completion.compensation,
        "results": None if completion.results is None else json_text(completion.results),
        "result": None if completion.value is None else json_text(completion.value),
    }


def _no_attempt(error: Mapping[str, Any]) -> Parameters:
    keys = ("position", "name", "type", "visit", "attempt", "logs", "duration")
    return {**dict.fromkeys((*keys, *Usage._fields)), "error": json_text(error)}
