"""Both journals behind one face: an execution is started, claimed, written to and looked at."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Protocol

from durable_otp.client import Durable
from durable_otp.engine.journals import Journals
from durable_otp.runtime.wait_timeouts import duties
from durable_otp.storage import queue, test_clock
from durable_otp.storage.database import Database
from durable_otp.storage.journal import Holder, PostgresJournal
from durable_otp.storage.settlement import release
from durable_otp.testing import mail, report, upkeep
from durable_otp.testing.journal import MemoryJournal
from durable_otp.testing.known import KnownWorkflows
from durable_otp.testing.ledger import Beginning, Ledger, is_due, is_free
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.execution import Execution
from tests.support.tables import Tables, migrated_tables

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STRANGER = "00000000-0000-4000-8000-0000000000ff"


class Side(Protocol):
    """Where executions are remembered."""

    def start(self, workflow: Workflow, given: Any = None) -> str:
        """Start an execution and return its id."""

    def claim(self, execution_id: str) -> Journals | None:
        """Claim an execution if it is due; return the journal of the claim."""

    def stranger(self, execution_id: str) -> Journals:
        """Return the journal of somebody who does not hold the execution."""

    def execution(self, execution_id: str) -> Execution:
        """Return the execution with its steps."""

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what that brings about."""

    def send_event(self, execution_id: str, name: str, payload: Any = None) -> None:
        """Send an event to the execution."""

    def provide_input(self, execution_id: str, name: str, data: Any) -> None:
        """Answer an open input of the execution."""

    def children(self, execution_id: str) -> list[str]:
        """Return the ids of the execution's children, as they were created."""


class Memory:
    """`durable_otp.testing`'s."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.known: KnownWorkflows | None = None

    def start(self, workflow: Workflow, given: Any = None) -> str:
        definition = workflow.definition()
        self.known = KnownWorkflows(workflow)
        how = Beginning(deadline_at=self.ledger.after(definition.timeout))
        return self.ledger.start(definition, definition.validate_input(given)[1], how).id

    def claim(self, execution_id: str) -> Journals | None:
        upkeep.keep_up(self.ledger)
        row = self.ledger.rows[execution_id]
        if not is_free(row) or not is_due(row, self.ledger.now):
            return None
        return self._journal(execution_id, self.ledger.claim(row))

    def stranger(self, execution_id: str) -> Journals:
        return self._journal(execution_id, STRANGER)

    def _journal(self, execution_id: str, lock_token: str) -> Journals:
        assert self.known is not None
        return MemoryJournal(self.ledger, self.known, self.ledger.rows[execution_id], lock_token)

    def execution(self, execution_id: str) -> Execution:
        upkeep.keep_up(self.ledger)
        return report.execution(self.ledger, self.ledger.rows[execution_id])

    def advance(self, seconds: float) -> None:
        upkeep.skip_to(self.ledger, self.ledger.now + timedelta(seconds=seconds))

    def send_event(self, execution_id: str, name: str, payload: Any = None) -> None:
        row = self.ledger.rows[execution_id]
        mail.check_takes_events(row)
        mail.put(row, name, payload, self.ledger.now)
        if row.status == "waiting" and mail.deliver(row, self.ledger.now, mailbox=row):
            self.ledger.wake(row)

    def provide_input(self, execution_id: str, name: str, data: Any) -> None:
        row, wait = mail.open_input([self.ledger.rows[execution_id]], name)
        mail.answer(wait, data)
        self.ledger.wake(row)

    def children(self, execution_id: str) -> list[str]:
        upkeep.keep_up(self.ledger)
        return [child.id for child in self.ledger.children(self.ledger.rows[execution_id])]


class Postgres:
    """The real one, on a schema whose clock moves."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.database = Database(tables.dsn, tables.schema, role="test")
        self.client = Durable(tables.dsn, schema=tables.schema)

    def empty(self) -> None:
        """Forget every execution and every workflow."""
        self.tables.empty()
        self.client.close()
        self.client = Durable(self.tables.dsn, schema=self.tables.schema)

    def close(self) -> None:
        self.database.close()
        self.client.close()

    def start(self, workflow: Workflow, given: Any = None) -> str:
        return self.client.start(workflow, given).id

    def claim(self, execution_id: str) -> Journals | None:
        found = self.tables.row(execution_id)["queue"]
        claims = self.database.run(queue.fetch_jobs, found, 100, "somebody", None)
        others = [(each.id, each.lock_token) for each in claims if each.id != execution_id]
        self.database.run(release, others)
        for claim in claims:
            if claim.id == execution_id:
                return PostgresJournal(self.database, Holder(claim.id, claim.lock_token))
        return None

    def stranger(self, execution_id: str) -> Journals:
        return PostgresJournal(self.database, Holder(execution_id, STRANGER))

    def execution(self, execution_id: str) -> Execution:
        return self.client.get_execution(execution_id, steps=True)

    def advance(self, seconds: float) -> None:
        self.database.run(test_clock.advance, timedelta(seconds=seconds))
        for duty in duties(0):
            duty.perform(self.database, 100)
        self.database.run(queue.wake_sleeping_workflows, 100)

    def send_event(self, execution_id: str, name: str, payload: Any = None) -> None:
        self.client.send_event(execution_id, name, payload)

    def provide_input(self, execution_id: str, name: str, data: Any) -> None:
        self.client.provide_input(execution_id, name, data)

    def children(self, execution_id: str) -> list[str]:
        rows = self.tables.sql(
            "SELECT id::text FROM durable.workflow_executions WHERE parent_id = %s ORDER BY id",
            [execution_id],
        )
        return [row["id"] for row in rows]


@contextmanager
def postgres_side(dsn: str, schema: str) -> Iterator[Postgres]:
    """Give the real side on a schema of its own."""
    with migrated_tables(dsn, schema, test_clock=True) as tables:
        side = Postgres(tables)
        try:
            yield side
        finally:
            side.close()


def comparable(execution: Execution) -> dict[str, Any]:
    """Return what must be the same on both sides: all but ids, and times only by being there."""
    fields = asdict(execution)
    fields["steps"] = [_plain(step) for step in fields["steps"]]
    fields["compensation_results"] = [
        {**result, "error": _error(result["error"])} for result in fields["compensation_results"]
    ]
    return _plain(fields)


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    blurred = {
        name: (value is not None) if name.endswith(("_at", "_id", "_ms", "_by")) else value
        for name, value in fields.items()
        if name not in ("id", "cpu_seconds", "peak_rss", "process")  # which only a worker measures
    }
    blurred["error"] = _error(fields["error"])
    return blurred


def _error(error: Any) -> Any:
    """Return an error without the trace of calls, which goes through other code on each side."""
    if not isinstance(error, dict):
        return error
    known = {name: value for name, value in error.items() if name != "stacktrace"}
    known["message"] = ID.sub("an id", known["message"])
    return known | ({"child": error["child"]["name"]} if "child" in error else {})
