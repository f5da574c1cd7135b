"""Executions that wait, made by the journal itself, for the tests of storage."""

from typing import Any

from durable_otp.engine.journal import Attempt, Completion, VisitRecord
from durable_otp.storage.database import Database
from durable_otp.storage.journal import Holder, PostgresJournal
from durable_otp.workflow.human_input import question
from durable_otp.workflow.suspension import WaitRequest
from tests.support.tables import HOLDER, Tables

STEP = "step1"


def journal_of(database: Database, execution_id: str) -> PostgresJournal:
    """Return the journal of a claim."""
    return PostgresJournal(database, Holder(execution_id, HOLDER["lock_token"]))


def event(*names: str, kind: str = "event", **fields: Any) -> WaitRequest:
    """Return a wait for events."""
    return WaitRequest(kind, names, **fields)


def asking(name: str, type_: str = "approval", **fields: Any) -> WaitRequest:
    """Return a wait for an input."""
    parts = {key: fields.pop(key) for key in ("fields", "choices", "prompt") if key in fields}
    return WaitRequest("input", (name,), question=question(type_, **parts), **fields)


def waiting(database: Database, tables: Tables, *requests: WaitRequest, **columns: Any) -> str:
    """Return an execution that waits at its first step."""
    execution_id = tables.add("running", **columns)
    suspend(database, execution_id, *requests)
    return execution_id


def suspend(
    database: Database, execution_id: str, *requests: WaitRequest, attempt: int = 1, first: int = 0
) -> None:
    """Let a running execution wait; ``first`` is the place of the first wait it asks for now."""
    journal = journal_of(database, execution_id)
    journal.suspend(STEP, 1, list(enumerate(requests, first)), attempt=attempt)


def claim(tables: Tables, execution_id: str) -> None:
    """Let a woken execution run again."""
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'running', locked_by = 'somebody', "
        "locked_at = now(), lock_token = %s WHERE id = %s AND status = 'pending'",
        [HOLDER["lock_token"], execution_id],
    )
    assert tables.status(execution_id) == "running"


def visit(database: Database, execution_id: str) -> VisitRecord:
    """Return what the next run of the step knows."""
    return journal_of(database, execution_id).visit(STEP)


def complete(database: Database, execution_id: str, *, next_path: str | None = None) -> None:
    """Complete the step as an engine does that has read its visit."""
    journal = journal_of(database, execution_id)
    journal.visit(STEP)
    attempt = Attempt(1, STEP, STEP, "step", 1, 1)
    journal.checkpoint(
        Completion(
            attempt=attempt, output=None, changes=[], snapshot=None, next_path=next_path,
            jumps=0, logs=[], duration=0.1,
        )
    )  # fmt: skip


def statuses(tables: Tables, table: str = "waits") -> list[str]:
    """Return the status of each wait, or of each input."""
    order = "path, visit, ordinal" if table == "waits" else "created_at, id"
    return [
        row["status"] for row in tables.sql(f"SELECT status FROM durable.{table} ORDER BY {order}")
    ]
