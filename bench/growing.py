"""What the growth questions share: a workflow that does nothing, claims in a row, a measured tree.

Imported by the workers by this module's name.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg

from bench.meter import Meter
from bench.question import Row, Setting, WrongResultError
from bench.setting import milliseconds
from durable_otp import Context, Durable, Runtime, Workflow
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.database import Database
from durable_otp.storage.operation import Operation
from durable_otp.storage.queue import fetch_jobs

SCHEMA_VARIABLE = "BENCH_GROWTH_SCHEMAS"
"""Schemas, with commas between, that are filled already and kept: for the largest sizes."""
WORKFLOW = "grow"
ROOT = Path(__file__).parents[1]

grow = Workflow(WORKFLOW)


@grow.step
def only(_: Context) -> None:
    """Do nothing."""


STEPS = 200
# names of this module, or the workers would not know them
long_small = Workflow("long_small")
long_appending = Workflow("long_appending")
long_changing = Workflow("long_changing")
LONG = {
    "sets a number": long_small,
    "appends 300 bytes": long_appending,
    "changes the 64 KB": long_changing,
}


def _add_steps(workflow: Workflow) -> None:
    for number in range(STEPS):

        @workflow.step(name=f"step_{number}")
        def _(ctx: Context, *, number: int = number) -> dict[str, int]:
            if workflow is long_appending:
                ctx.append("log", "x" * 300)
            elif workflow is long_changing:
                ctx["text"] = ctx["text"][1:] + "x"
            return {"last": number}


for _workflow in LONG.values():
    _add_steps(_workflow)


class Tables:
    """A migrated schema, and SQL written for the schema ``{s}``."""

    def __init__(self, dsn: str, schema: str) -> None:
        self.dsn, self.schema = dsn, schema
        with Durable(dsn, schema=schema) as durable:
            durable.migrate()

    def sql(self, statement: str, parameters: Any = None) -> list[Any]:
        """Run SQL on a connection of its own."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            text = statement.replace("{s}", f'"{self.schema}"').encode()
            cursor = connection.execute(text, parameters)
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """Remove what a measurement has left, and what vacuum would find."""
        self.sql("DELETE FROM {s}.workflow_executions WHERE workflow = 'grow'")
        self.sql("VACUUM ANALYZE {s}.workflow_executions")

    def check(self) -> None:
        """Raise WrongResultError unless what completed ran exactly once."""
        ((wrong,),) = self.sql(
            "SELECT count(*) FROM {s}.workflow_executions e WHERE workflow = 'grow' AND 1 <> "
            "(SELECT count(*) FROM {s}.step_executions s WHERE s.execution_id = e.id) "
            "AND status = 'completed'"
        )
        if wrong:
            raise WrongResultError(f"{wrong} executions completed without running exactly once")


@contextmanager
def tables(setting: Setting) -> Iterator[Tables]:
    """Give a migrated schema of its own, dropped afterwards."""
    with setting.schema() as name:
        yield Tables(setting.dsn, name)


def kept_schemas() -> list[str]:
    """Return the schemas that are kept, the one with the most rows last."""
    return [name for name in os.environ.get(SCHEMA_VARIABLE, "").split(",") if name]


def claimed(
    tables: Tables, queues: Sequence[str], batch: int, times: int, *, workflow: str = WORKFLOW
) -> Row:
    """Claim so many times as a manager does; the queues take turns.

    Raises:
        WrongResultError: A row was claimed twice.
    """
    meter = Meter(tables.dsn)
    ids, took = asyncio.run(_claim(tables, queues, batch, times, workflow))
    used = meter.read()
    if len(ids) != len(set(ids)):
        raise WrongResultError(f"{len(ids) - len(set(ids))} rows were claimed twice")
    return {"claimed": len(ids), **milliseconds(took), **used.per(len(ids))}


async def _claim(
    tables: Tables, queues: Sequence[str], batch: int, times: int, workflow: str
) -> tuple[list[str], list[float]]:
    database = AsyncDatabase(tables.dsn, tables.schema, role="bench", deadline=60)
    ids, took = [], []
    for number in range(-2, times):
        started = monotonic()
        found = await database.run(
            fetch_jobs, queues[number % len(queues)], batch, "bench", [(workflow, "1")]
        )
        ids += [claim.id for claim in found]
        if number >= 0:  # the first ones plan
            took.append(monotonic() - started)
    await database.close()
    return ids, took


def timed(tables: Tables, operation: Callable[..., Operation[Any]], *given: Any, count: int) -> Row:
    """Run an operation so many times on one connection, as a client or a sibling does."""
    database = Database(tables.dsn, tables.schema, role="bench")
    database.run(operation, *given)
    took = []
    for _ in range(count):
        started = monotonic()
        database.run(operation, *given)
        took.append(monotonic() - started)
    database.close()
    return milliseconds(took)


def drained(tables: Tables, seconds: float, queues: dict[str, int]) -> Row:
    """Let a tree work on what is pending for so long; return the rate of completions.

    Raises:
        WrongResultError: Something did not run exactly once.
    """
    with running(tables, queues) as runtime:
        while (before := completed(tables)) == 0:
            sleep(0.05)
        meter = Meter(tables.dsn, [runtime.pid])
        sleep(seconds)
        done, used = completed(tables) - before, meter.read()
    tables.check()
    return {"completed": done, "rate": round(done / used.seconds), **used.per(done)}


@contextmanager
def running(tables: Tables, queues: dict[str, int]) -> Iterator[Runtime]:
    """Give a running tree with so many workers for each queue."""
    os.environ["PYTHONPATH"] = str(ROOT)
    with Runtime(
        dsn=tables.dsn, schema=tables.schema, workflows=["bench.growing"], queues=dict(queues)
    ) as runtime:
        yield runtime


def completed(tables: Tables) -> int:
    """Return how many executions of the workflow have completed."""
    return int(
        tables.sql(
            "SELECT count(*) FROM {s}.workflow_executions "
            "WHERE workflow = 'grow' AND status = 'completed' AND parent_id IS NULL "
            "AND completed_at > (SELECT max(started_at) FROM {s}.nodes)"
        )[0][0]
    )


def started(tables: Tables) -> int:
    """Return how many steps have been written; never fewer, whatever is removed."""
    return int(
        tables.sql(
            "SELECT n_tup_ins FROM pg_stat_user_tables "
            "WHERE relid = '{s}.step_executions'::regclass"
        )[0][0]
    )


def pending(tables: Tables) -> int:
    """Return how many executions of the workflow are pending."""
    return int(
        tables.sql(
            "SELECT count(*) FROM {s}.workflow_executions "
            "WHERE workflow = 'grow' AND status = 'pending' AND lock_token IS NULL"
        )[0][0]
    )


def run(tables: Tables, operation: Callable[..., Operation[Any]], *given: Any) -> Any:
    """Run an operation on a connection of its own."""
    database = Database(tables.dsn, tables.schema, role="bench")
    try:
        return database.run(operation, *given)
    finally:
        database.close()
