"""Every way into one schema, a look at all that is in it, and the engine without a tree."""

from collections.abc import Callable
from typing import Any

import pytest

from durable_otp import Durable, SerializationError, Workflow
from durable_otp.engine.claim import Claim, Limits
from durable_otp.engine.executor import execute
from durable_otp.storage import queue
from durable_otp.storage.adapter import PostgresAdapter
from durable_otp.storage.database import Database
from durable_otp.storage.journal import Holder, PostgresJournal
from durable_otp.workflow.json_form import decode
from tests.support.engine import NotingHost
from tests.support.json_values import RefusedValue, form_of
from tests.support.tables import Tables

LIMITS = Limits(max_payload=1 << 20, max_context=1 << 24)
EVERY_TABLE = ("workflow_executions", "events", "pending_inputs", "scheduled_workflows")


class Bench:
    """The clients of one schema, and a look at everything in it."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.client = Durable(tables.dsn, schema=tables.schema)
        self.adapter = PostgresAdapter(tables.dsn, schema=tables.schema)
        self.database = Database(tables.dsn, tables.schema, role="test")

    def close(self) -> None:
        self.client.close()
        self.adapter.close()
        self.database.close()

    def empty(self) -> None:
        self.tables.sql("DELETE FROM durable.workflow_executions")
        self.tables.sql("DELETE FROM durable.scheduled_workflows")

    def written(self) -> list[Any]:
        counts = [f"SELECT '{table}', count(*) FROM durable.{table}" for table in EVERY_TABLE]
        return self.tables.sql(" UNION ALL ".join(counts))

    def stored(self, hand_in: Callable[[], Any], value: Any) -> tuple[Any, Any] | None:
        """Hand a value in and return its form and what the call gave; None: rightly refused."""
        before = self.written()
        try:
            form = form_of(value)
        except RefusedValue:
            with pytest.raises(SerializationError) as refused:
                hand_in()
            assert refused.value.path
            in_one_line(refused.value)
            assert self.written() == before
            return None
        return form, hand_in()

    def look_at_everything(self, *ids: str) -> None:
        """Read all that there is, as pages, claimers and operators do."""
        self.client.list_executions()
        self.client.list_pending_inputs()
        self.client.list_pending_events()
        self.client.list_schedules()
        self.client.stats()
        for id_ in ids:
            self.client.get_execution(id_, steps=True)
            self.client.list_events(id_)
        for job in self.adapter.fetch_jobs("default", 10, "node"):
            assert self.adapter.heartbeat(job.id).value == "ok"


def in_one_line(error: Exception) -> None:
    """Hold an error's text to what can be shown."""
    assert str(error).isprintable()
    assert len(str(error)) < 3_000


def run(
    bench: Bench, workflow: Workflow, given: Any = None, *, claim_only: str | None = None
) -> str:
    """Start an execution, or take one that is there, and run it as far as it goes; its id."""
    id_ = claim_only or bench.client.start(workflow, given).id
    claimed = bench.database.run(queue.fetch_jobs, workflow.queue, 10, "node", None)
    (one,) = [claim for claim in claimed if claim.id == id_]
    journal = PostgresJournal(bench.database, Holder(one.id, one.lock_token))
    claim = Claim(
        id=one.id,
        input=None if one.input is None else decode(one.input),
        queue=one.queue,
        home_queue=one.home_queue,
        is_fresh=not one.begun_before,
        is_plain=one.is_plain,
    )
    execute(claim, workflow.definition(), journal, NotingHost(), LIMITS)
    return id_
