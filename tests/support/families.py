"""Blocks and their children as rows: opened through the journal, ended as a test says."""

from typing import Any

from durable_otp.engine.family_journal import Opening
from durable_otp.storage.database import Database
from durable_otp.storage.families import children_ended
from durable_otp.storage.family_journal import PostgresFamilyJournal
from tests.support.tables import HOLDER, Tables

TOKEN = HOLDER["lock_token"]
FINAL_STATUSES = ("completed", "failed", "cancelled", "compensated", "compensation_failed")


def opening(total: int = 3, **fields: Any) -> Opening:
    """Return the opening of an each of so many items."""
    given: dict[str, Any] = {
        "path": "pack",
        "visit": 1,
        "kind": "each",
        "on_error": "fail_fast",
        "max_concurrency": None,
        "starts": [("pack", "kids")],
        "items": [{"n": number} for number in range(total)],
        "total": total,
        "input": {"given": True},
        "context": {"before": 1},
        "results": None,
    }
    return Opening(**{**given, **fields})


def open_block(database: Database, tables: Tables, total: int = 3, **fields: Any) -> str:
    """Open a block of a new execution and return the parent's id."""
    parent = tables.add("running", priority=4)
    family_of(database, parent).open(opening(total, **fields))
    return parent


def family_of(database: Database, row: str, token: str = TOKEN) -> PostgresFamilyJournal:
    """Return the family journal of a claim."""
    return PostgresFamilyJournal(database, row, token)


def children_of(tables: Tables, parent: str) -> list[dict[str, Any]]:
    """Return a parent's children in their order."""
    return tables.sql(
        "SELECT e.*, e.id::text AS id FROM durable.workflow_executions e WHERE e.parent_id = %s "
        "ORDER BY e.parent_index, e.id",
        [parent],
    )


def statuses(tables: Tables, parent: str) -> list[str]:
    """Return the statuses of a parent's children in their order."""
    return [child["status"] for child in children_of(tables, parent)]


def set_end(tables: Tables, child: str, status: str = "completed") -> None:
    """End a child by hand, and tell nobody."""
    tables.sql(
        "UPDATE durable.workflow_executions SET status = %s, completed_at = durable.now(), "
        "lock_token = NULL, locked_by = NULL, locked_at = NULL, "
        "error = CASE WHEN %s <> 'completed' THEN '{\"type\": \"E\"}'::jsonb END WHERE id = %s",
        [status, status, child],
    )


def end(database: Database, tables: Tables, child: str, status: str = "completed") -> None:
    """End a child, and have its parent looked at."""
    set_end(tables, child, status)
    database.run(children_ended, [str(tables.row(child)["parent_id"])])


def claim(tables: Tables, row: str) -> None:
    """Put an execution into somebody's hands."""
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'running', locked_by = 'x', "
        "locked_at = durable.now(), lock_token = %s WHERE id = %s",
        [TOKEN, row],
    )
