"""The engine's journal in PostgreSQL: one committed, fenced write per step.

The ids of the rows are made before the first try. When a write finds its claim gone, it looks for
its own row: if that is there, an earlier try had succeeded and only its answer was lost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from durable_otp.engine.journal import (
    Answer,
    Attempt,
    Completion,
    Entry,
    Failure,
    LogEntries,
    VisitRecord,
)
from durable_otp.errors import ClaimLost
from durable_otp.storage.calls import CHILD, called_answers, called_parameters
from durable_otp.storage.database import Database
from durable_otp.storage.families import asking_parents, children_ended
from durable_otp.storage.identity import new_id
from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.statements import Statement
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.wait import WaitRequest

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Holder:
    """The claim that every write of a journal names."""

    id: str
    lock_token: str


class PostgresJournal:
    """The journal of one claim, on its worker's connection. Every method blocks until committed.

    Implements `engine.journal.Journal`.
    """

    def __init__(self, database: Database, holder: Holder) -> None:
        self._database = database
        self._holder = holder

    def entries(self) -> Sequence[Entry]:
        """Return the completed steps from the newest snapshot on, oldest first."""
        return self._database.run(journal_since_snapshot, self._holder.id)

    def visit(self, path: str) -> VisitRecord:
        """Return what is recorded of the visit that comes next at ``path``."""
        return self._database.run(visit_record, self._holder.id, path)

    def checkpoint(self, completion: Completion) -> None:
        """Record a completed step; without a ``next_path`` the execution is completed with it."""
        name = "complete" if completion.next_path is None else "checkpoint"
        self._write(name, _completed(completion))

    def record_failure(self, failure: Failure) -> None:
        """Record a failed attempt that the same worker follows up."""
        self._write("record_failed_attempt", _failed(failure))

    def retry_later(self, failure: Failure, delay: float) -> None:
        """Record a failed attempt and give the claim back until ``delay`` seconds have passed."""
        self._write("retry_later", {**_failed(failure), "delay": delay})

    def fail(self, error: Mapping[str, Any], path: str | None, failure: Failure | None) -> None:
        """End the execution as failed, together with its last attempt if there was one."""
        attempt = _no_attempt(error) if failure is None else _failed(failure)
        self._write("fail", {**attempt, "path": path})

    def move(self, queue: str, path: str) -> None:
        """Give the claim back to another queue, where the step at ``path`` is to run."""
        self._run(move, {"queue": queue, "path": path})

    def suspend(self, path: str, visit: int, waits: Sequence[tuple[int, WaitRequest]]) -> None:
        """Record the waits by ordinal and give the claim back until one of them is answered."""
        parameters = {"path": path, "visit": visit, "wait_ids": [new_id() for _ in waits]}
        parameters |= {
            "ordinals": [ordinal for ordinal, _ in waits],
            "kinds": [request.kind for _, request in waits],
            "seconds": [request.seconds for _, request in waits],
            "instants": [request.at for _, request in waits],
        }
        calls = called_parameters(waits)
        if calls is None:
            self._run(suspend, parameters)
            return
        self._run(suspend_for_calls, {**parameters, **calls})
        self._database.run(children_ended, [self._holder.id])  # a known child may have ended

    def _write(self, name: str, parameters: Parameters) -> None:
        ended: list[str] = []
        self._run(record_step, {"step_id": new_id(), **parameters}, name, ended)
        if ended and self._database.run(asking_parents, ended):
            self._database.run(children_ended, ended)

    def _run(
        self, operation: Callable[..., Operation[bool]], parameters: Parameters, *args: Any
    ) -> None:
        holder = {"id": self._holder.id, "lock_token": self._holder.lock_token}
        if not self._database.run(operation, {**parameters, **holder}, *args):
            raise ClaimLost(
                f"Execution {self._holder.id} is held under another lock token now: this worker's "
                "claim was recovered, cancelled or settled meanwhile."
            )


def journal_since_snapshot(execution_id: str) -> Operation[list[Entry]]:
    """Return the completed steps from the newest snapshot on, oldest first."""
    rows = yield Statement("journal_since_snapshot", {"id": execution_id})
    return [Entry(**row) for row in rows]


def visit_record(execution_id: str, path: str) -> Operation[VisitRecord]:
    """Return what is recorded of the visit that comes next at ``path``."""
    visits = yield Statement("visits_of", {"id": execution_id, "path": path})
    visit = visits[0]["visit"] + 1 if visits else 1
    key = {"id": execution_id, "path": path, "visit": visit}
    attempts = yield Statement("attempts_of", key)
    waits = yield Statement("waits_of", key)
    answers = {
        row["ordinal"]: Answer(row["kind"], row["status"] == "answered", row["answer"])
        for row in waits
    }
    recorded = attempts[0]["recorded"]
    if any(row["kind"] == CHILD for row in waits):
        called = yield from called_answers(key, recorded + 1)
        known = {**answers, **called}
        answers = {ordinal: each for ordinal, each in known.items() if each is not None}
    return VisitRecord(visit, recorded, attempts[0]["failed"], answers)


def record_step(parameters: Parameters, name: str, ended: list[str]) -> Operation[bool]:
    """Write a row of the journal; return whether it is there, by this try or an earlier one.

    If it ends a child, its parent is added to ``ended``.
    """
    rows = yield Statement(name, parameters)
    if rows:
        ended += [row["parent_id"] for row in rows if row.get("parent_id")]
        return True
    recorded = yield Statement("step_is_recorded", parameters)
    return bool(recorded[0]["recorded"])


def suspend(parameters: Parameters) -> Operation[bool]:
    """Write the waits and give the claim back; return whether that is so, now or by a first try."""
    rows = yield Statement("suspend", parameters)
    if rows:
        return True
    recorded = yield Statement("wait_is_recorded", parameters)
    return bool(recorded[0]["recorded"])


@transaction
def suspend_for_calls(parameters: Parameters) -> Operation[bool]:
    """Write the waits, give the claim back and create the children that are called, together."""
    rows = yield Statement("suspend", parameters)
    if not rows:
        recorded = yield Statement("wait_is_recorded", parameters)
        return bool(recorded[0]["recorded"])
    yield Statement("create_called_children", parameters)
    return True


def move(parameters: Parameters) -> Operation[bool]:
    """Give the claim to another queue; return whether it was held."""
    rows = yield Statement("move", parameters)
    return bool(rows)


def database_now() -> Operation[datetime]:
    """Return the database's time."""
    rows = yield Statement("database_now")
    now: datetime = rows[0]["now"]
    return now


def json_text(value: Any) -> str:
    """Return JSON text as a parameter for a jsonb column."""
    return encode(value).decode()


def _attempt(attempt: Attempt, logs: LogEntries, duration: float) -> Parameters:
    return {
        "position": attempt.position,
        "path": attempt.path,
        "name": attempt.name,
        "type": attempt.type,
        "visit": attempt.visit,
        "attempt": attempt.number,
        "logs": json_text(logs),
        "duration": duration,
    }


def _completed(completion: Completion) -> Parameters:
    snapshot = completion.snapshot
    return {
        **_attempt(completion.attempt, completion.logs, completion.duration),
        "output": None if completion.output is None else json_text(completion.output),
        "changes": json_text(completion.changes),
        "snapshot": None if snapshot is None else json_text(snapshot),
        "next_path": completion.next_path,
        "jumps": completion.jumps,
        "results": None if completion.results is None else json_text(completion.results),
        "result": None if completion.value is None else json_text(completion.value),
    }


def _failed(failure: Failure) -> Parameters:
    return {
        **_attempt(failure.attempt, failure.logs, failure.duration),
        "error": json_text(failure.error),
    }


def _no_attempt(error: Mapping[str, Any]) -> Parameters:
    keys = ("position", "name", "type", "visit", "attempt", "logs", "duration")
    return {**dict.fromkeys(keys), "error": json_text(error)}
