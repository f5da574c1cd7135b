"""What does an `each` of many items cost, when the context before it is large?

The block stores the context once; each child has its item. Beside it the same number of plain
executions with the item alone as input, and a tenth as many with the item and the context. Measured
are the time and the WAL until all exist, and until all have run on the same workers.
"""

import argparse
import random
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from bench.setting import conditions, database, note, say, schema
from durable_otp import Durable, Runtime, Workflow
from durable_otp.clock import monotonic
from durable_otp.engine.family_journal import Opening
from durable_otp.storage.database import Database
from durable_otp.storage.family_journal import PostgresFamilyJournal

fanning = Workflow("fanning")


@fanning.each(lambda ctx: list(range(ctx["items"])))
def child(_: Any, item: int) -> int:
    """Do next to nothing with an item."""
    return item + 1


limited = Workflow("limited")
limited.each(lambda ctx: list(range(ctx["items"])), name="child", max_concurrency=8)(child)

plain = Workflow("plain")


@plain.step
def only(ctx: Any) -> int:
    """Do the same as a child."""
    return int(ctx.input["item"]) + 1


class Meter:
    """Seconds and bytes of WAL since it was made."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._connection.execute("CHECKPOINT")
        self._position = self._wal()
        self._started = monotonic()

    def read(self, count: int) -> dict[str, float]:
        """Return what was used, altogether and for one of so many."""
        seconds, wal = monotonic() - self._started, self._wal() - self._position
        return {
            "seconds": round(seconds, 2),
            "wal_mb": round(wal / 1e6, 1),
            "ms_each": round(seconds * 1000 / count, 3),
            "wal_bytes_each": round(wal / count),
        }

    def _wal(self) -> float:
        row = self._connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        return float(row[0]) if row else 0.0


def opened(dsn: str, name: str, items: int, context: dict[str, Any]) -> dict[str, Any]:
    """Open a block of so many items, as a worker does; nothing runs."""
    with Durable(dsn, schema=name) as durable:
        parent = durable.start(fanning, {}, queue="nowhere").id
    token = "00000000-0000-4000-8000-000000000001"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            f"UPDATE \"{name}\".workflow_executions SET status = 'running', locked_by = 'bench', "
            "locked_at = now(), lock_token = %s WHERE id = %s".encode(),
            [token, parent],
        )
    worker = Database(dsn, name, role="bench")
    worker.connection()
    meter = Meter(dsn)
    opening = Opening(
        path="child", visit=1, kind="each", on_error="fail_fast", max_concurrency=None,
        starts=[("child", "nowhere")], items=list(range(items)), total=items, input={},
        context=context, results=None,
    )  # fmt: skip
    PostgresFamilyJournal(worker, parent, token).open(opening)
    used = meter.read(items)
    worker.close()
    return used


def started(dsn: str, name: str, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Start so many plain executions; nothing runs."""
    with Durable(dsn, schema=name) as durable:
        durable.stats()
        meter = Meter(dsn)
        durable.start_many(plain, inputs, queue="nowhere")
        return meter.read(len(inputs))


def run_block(durable: Durable, workflow: Workflow, given: dict[str, Any]) -> None:
    """Run a block to its end."""
    result = durable.start(workflow, given).result(timeout=3600)
    if len(result["child"]) != given["items"]:
        raise RuntimeError("a child is missing")


def run_plain(durable: Durable, inputs: list[dict[str, Any]]) -> None:
    """Run plain executions to their ends."""
    for handle in durable.start_many(plain, inputs):
        handle.result(timeout=3600)


def ran(dsn: str, workers: int, count: int, work: Callable[[Durable], None]) -> dict[str, Any]:
    """Run something on a tree of its own, in a schema of its own."""
    with schema(dsn) as name, running(dsn, name, workers) as durable:
        meter = Meter(dsn)
        work(durable)
        return meter.read(count)


@contextmanager
def running(dsn: str, name: str, workers: int) -> Iterator[Durable]:
    """Give the client of a running tree."""
    workflows = [fanning, limited, plain]
    with (
        Runtime(dsn=dsn, schema=name, workflows=workflows, queues={"default": workers}),
        Durable(dsn, schema=name) as durable,
    ):
        yield durable


def main() -> None:
    """Measure everything and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--context-bytes", type=int, default=65_536)
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    items, workers = options.items, options.workers
    text = "".join(random.Random(1).choices(string.ascii_letters, k=options.context_bytes))
    context = {"items": items, "large": text}
    small = [{"item": n} for n in range(items)]
    large = [{"item": n, "large": text} for n in range(items // 10)]  # as many cost too much
    with database(options.dsn) as dsn:
        say({"bench": "conditions", **conditions(dsn), **vars(options), "dsn": None})
        for what, make in {
            "each": lambda name: opened(dsn, name, items, context),
            "plain, item only": lambda name: started(dsn, name, small),
            "plain, item and context": lambda name: started(dsn, name, large),
        }.items():
            with schema(dsn) as name, Durable(dsn, schema=name) as durable:
                durable.migrate()
                note(f"created: {what}")
                say({"bench": "created", "what": what, **make(name)})
        for what, work in {
            "each": lambda durable: run_block(durable, fanning, context),
            "each, max_concurrency=8": lambda durable: run_block(durable, limited, context),
            "plain, item only": lambda durable: run_plain(durable, small),
            "plain, item and context": lambda durable: run_plain(durable, large),
        }.items():
            note(f"run: {what}")
            count = len(large) if what.endswith("context") else items
            say({"bench": "run", "what": what, **ran(dsn, workers, count, work)})


if __name__ == "__main__":
    main()
