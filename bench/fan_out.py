"""What does an `each` of many items cost, when the context before it is large?

The block stores the context once; each child has its item. Beside it the same number of plain
executions with the item alone as input, and a tenth as many with the item and the context. Measured
are the time and the WAL until all exist, and until all have run on the same workers.
"""

import os
import random
import string
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from bench import figures, summary
from bench.meter import Meter
from bench.question import Question, Row, Rows, Setting, Table, WrongResultError
from durable_otp import Durable, Runtime, Workflow
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


WORKERS = 4
CONTEXT_BYTES = 65_536
EACH, LIMITED = "`each`", "`each`, `max_concurrency=8`"
ITEM_ONLY, WITH_CONTEXT = "plain, item only", "plain, item and context"
WHAT = (EACH, LIMITED, ITEM_ONLY, WITH_CONTEXT)
BLOCKS = {EACH: fanning, LIMITED: limited}


class Bill:
    """Seconds, CPU and bytes of WAL since it was made."""

    def __init__(self, dsn: str, root: int) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._connection.execute("CHECKPOINT")
        self._position = self._wal()
        self._meter = Meter(dsn, [root])

    def read(self, count: int) -> Row:
        """Return what was used, altogether and for one of so many."""
        used, wal = self._meter.read(), self._wal() - self._position
        self._connection.close()
        return {
            "count": count,
            "seconds": round(used.seconds, 3),
            "wal_mb": round(wal / 1e6, 1),
            "ms_each": round(used.seconds * 1000 / count, 3),
            "wal_bytes_each": round(wal / count),
            **used.per(count),
        }

    def _wal(self) -> float:
        row = self._connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        return float(row[0]) if row else 0.0


def opened(dsn: str, name: str, items: int, context: dict[str, Any]) -> Row:
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
    meter = Bill(dsn, os.getpid())
    opening = Opening(
        path="child",
        visit=1,
        kind="each",
        on_error="fail_fast",
        max_concurrency=None,
        starts=[("child", "nowhere")],
        items=list(range(items)),
        total=items,
        input={},
        context=context,
        results=None,
    )
    PostgresFamilyJournal(worker, parent, token).open(opening)
    used = meter.read(items)
    worker.close()
    return used


def started(dsn: str, name: str, inputs: list[dict[str, Any]]) -> Row:
    """Start so many plain executions; nothing runs."""
    with Durable(dsn, schema=name) as durable:
        durable.stats()
        meter = Bill(dsn, os.getpid())
        durable.start_many(plain, inputs, queue="nowhere")
        return meter.read(len(inputs))


def run_block(durable: Durable, workflow: Workflow, given: dict[str, Any]) -> None:
    """Run a block to its end."""
    result = durable.start(workflow, given).result(timeout=3600)
    if len(result["child"]) != given["items"]:
        raise WrongResultError("a child is missing")


def run_plain(durable: Durable, inputs: list[dict[str, Any]]) -> None:
    """Run plain executions to their ends."""
    for handle in durable.start_many(plain, inputs):
        handle.result(timeout=3600)


def ran(dsn: str, name: str, count: int, work: Callable[[Durable], None]) -> Row:
    """Run something on a tree of its own."""
    workflows = [fanning, limited, plain]
    with (
        Runtime(dsn=dsn, schema=name, workflows=workflows, queues={"default": WORKERS}) as runtime,
        Durable(dsn, schema=name) as durable,
    ):
        meter = Bill(dsn, runtime.pid)
        work(durable)
        used = meter.read(count)
        if durable.count_executions(status="completed") != durable.count_executions():
            raise WrongResultError("an execution has not completed")
    return used


def run(setting: Setting) -> Iterator[Row]:
    """Measure the creation of many, then their run, in every way of making them."""
    text = "".join(random.Random(1).choices(string.ascii_letters, k=CONTEXT_BYTES))
    for repetition in setting.passes():
        for phase, measure, items in (
            ("created", _created, setting.size(5_000, 40)),
            ("run", _run, setting.size(400, 20)),
        ):
            for what in WHAT:
                if phase == "created" and what == LIMITED:
                    continue  # no other rows than those of the first opened
                setting.progress(f"{phase}: {what}")
                with setting.schema() as name:
                    used = measure(setting.dsn, name, what, _given(what, items, text))
                yield {"phase": phase, "what": what, **used, "repetition": repetition}


def _given(what: str, items: int, text: str) -> list[dict[str, Any]]:
    """Return the inputs: one block's context, or those of the plain executions."""
    if what in BLOCKS:
        return [{"items": items, "large": text}]
    if what == WITH_CONTEXT:
        return [{"item": n, "large": text} for n in range(items // 10)]  # as many cost too much
    return [{"item": n} for n in range(items)]


def _created(dsn: str, name: str, what: str, given: list[dict[str, Any]]) -> Row:
    with Durable(dsn, schema=name) as durable:
        durable.migrate()
    if what in BLOCKS:
        return opened(dsn, name, given[0]["items"], given[0])
    return started(dsn, name, given)


def _run(dsn: str, name: str, what: str, given: list[dict[str, Any]]) -> Row:
    if what in BLOCKS:
        block, items = BLOCKS[what], given[0]["items"]
        return ran(dsn, name, items, lambda durable: run_block(durable, block, given[0]))
    return ran(dsn, name, len(given), lambda durable: run_plain(durable, given))


def tables(rows: Rows) -> list[Table]:
    """Tell the cost of one of each kind."""
    head = (
        "",
        "count",
        "seconds",
        "ms each",
        "WAL each, bytes",
        "client ms each",
        "server ms each",
    )
    lines = []
    for phase, what in summary.distinct(rows, "phase", "what"):
        it = summary.where(rows, phase=phase, what=what)
        count = f"{it[0]['count']:,}"
        keys = ("seconds", "ms_each", "wal_bytes_each", "client_ms", "server_ms")
        lines.append([f"{phase}: {what}", count, *(summary.told(it, key) for key in keys)])
    return [Table(head, lines)]


def picture(rows: Rows, figure: Any) -> None:
    """Draw the cost of running one of each kind."""
    of = summary.where(rows, phase="run")
    panels = []
    for key, title in (("ms_each", "run: ms each"), ("server_ms", "run: server CPU ms each")):
        entries = [(what, summary.values(summary.where(of, what=what), key)) for what in WHAT]
        panels.append((title, entries))
    figures.bars(figure, panels)


QUESTION = Question(
    name="fan_out",
    title="What does an `each` of many items with a 64 KB context cost?",
    about="The block stores the context once, and each child its item. Beside it as many plain "
    "executions with the item alone as input, and a tenth as many with the item and the 64 "
    "KB (random letters). Created: until all rows are committed, by one client or worker. "
    "Run: from the start until all have ended, on 4 workers. A unit is one child or one "
    "execution.",
    run=run,
    tables=tables,
    picture=picture,
)
