"""Does the work get slower as finished executions pile up?

Claims, the drain rate of a tree, what clients and siblings ask, and what operators look at, at
growing numbers of finished rows in the same tables.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

from bench import figures, filling, growing, summary
from bench.question import Question, Row, Rows, Setting, Table, WrongResultError
from durable_otp.storage import overview, queue
from durable_otp.storage.reports import Filters, count_executions, list_executions
from durable_otp.workflow.state import State

SIZES = (10_000, 1_000_000, 5_000_000)
SIZES_VARIABLE = "BENCH_GROWTH_SIZES"
"""Other numbers of finished rows, with commas between."""
BATCH = 10
CLAIMS = 300
DRAIN_SECONDS = 10.0
WORKERS = 4
LIVE = 2_000
FILTERS: dict[str, Filters] = {
    "all": Filters(),
    "failed": Filters(status=State.FAILED),
    "running": Filters(status=State.RUNNING),
    "waiting (none)": Filters(status=State.WAITING),
    "compensation_failed (none)": Filters(status=State.COMPENSATION_FAILED),
    "workflow": Filters(workflow="workflow_3"),
    "workflow (none)": Filters(workflow="no such"),
    "workflow, failed (none)": Filters(workflow="workflow_3", status=State.FAILED),
    "queue": Filters(queue="queue_4"),
    "queue (none)": Filters(queue="no such"),
    "top level": Filters(top_level=True),
    "id prefix": Filters(id_prefix="ffff"),
}


def run(setting: Setting) -> Iterator[Row]:
    """Fill, measure, fill on; the largest numbers may be there in schemas that are kept."""
    given = os.environ.get(SIZES_VARIABLE)
    sizes = [int(size) for size in given.split(",")] if given else SIZES
    sizes = (1_000, 2_000) if setting.quick else sizes
    kept = growing.kept_schemas()
    to_fill = len(sizes) - len(kept)
    with growing.tables(setting) as tables:
        for size in sizes[:to_fill]:
            yield from _with(setting, tables, size)
    for size, name in zip(sizes[to_fill:], kept, strict=True):
        yield from _with(setting, growing.Tables(setting.dsn, name), size)


def _with(setting: Setting, tables: growing.Tables, size: int) -> Iterator[Row]:
    """Measure with so many finished executions.

    Raises:
        WrongResultError: There are many more.
    """
    filling.finished(tables.dsn, tables.schema, size)
    ((there,),) = tables.sql(
        "SELECT count(*) FROM {s}.workflow_executions WHERE completed_at IS NOT NULL"
    )
    if there > 1.1 * size:
        raise WrongResultError(f"{there:,} executions have ended in the kept schema, not {size:,}")
    for repetition in setting.passes():
        for row in _measured(setting, tables, size):
            yield {"finished": size, "repetition": repetition, **row}
    yield {"finished": size, "what": "size", **_size(tables)}


def _measured(setting: Setting, tables: growing.Tables, size: int) -> Iterator[Row]:
    setting.progress(f"{size:,} finished: claims")
    times = setting.size(CLAIMS, 5)
    filling.pending(tables.dsn, tables.schema, BATCH * (times + 2), workflow=growing.WORKFLOW)
    yield {"what": "claim", **growing.claimed(tables, ["default"], BATCH, times)}
    setting.progress(f"{size:,} finished: lists and counts")
    for name, operation, *given in _asked():
        count = setting.size(1 if name.startswith("count") else 30, 1)
        yield {"what": name, **growing.timed(tables, operation, *given, count=count)}
    tables.empty()
    setting.progress(f"{size:,} finished: a tree at work")
    seconds = 0.5 if setting.quick else DRAIN_SECONDS
    filling.pending(
        tables.dsn, tables.schema, setting.size(20_000, 2_000), workflow=growing.WORKFLOW
    )
    yield {"what": "drain", **growing.drained(tables, seconds, {"default": WORKERS})}
    tables.empty()


def _asked() -> Iterator[tuple[Any, ...]]:
    """Yield (name, operation, arguments) of what is asked beside the work."""
    siblings: dict[str, Callable[..., Any]] = {
        "next_wake": queue.next_wake,
        "pending_workflows": overview.pending_workflows,
    }
    for name, operation in siblings.items():
        yield name, operation
    yield "recover_claims", queue.recover_claims, ["nobody"]
    yield "recover_zombies", queue.recover_zombie_workflows, 60.0
    for name, filters in FILTERS.items():
        yield f"list {name}", list_executions, filters
    yield "count failed", count_executions, Filters(status=State.FAILED)
    yield "count all", count_executions, Filters()
    yield "count, all queues", queue.all_stats


def _size(tables: growing.Tables) -> Row:
    ((table, indexes),) = tables.sql(
        "SELECT sum(pg_table_size(c))::float8, sum(pg_indexes_size(c))::float8 FROM "
        "(VALUES ('{s}.workflow_executions'::regclass), ('{s}.step_executions')) t (c)"
    )
    return {"tables_mb": round(table / 1e6), "indexes_mb": round(indexes / 1e6)}


def tables(rows: Rows) -> list[Table]:
    """Tell the work, then what is asked."""
    sizes = [size for (size,) in summary.distinct(rows, "finished")]
    head = ["", *(f"{size:,} finished" for size in sizes)]
    work = [
        [
            f"{name} ({unit})",
            *(summary.told(summary.where(rows, what=what, finished=size), key) for size in sizes),
        ]
        for name, unit, what, key in (
            ("claim of 10, p50", "ms", "claim", "p50_ms"),
            ("claim of 10, p99", "ms", "claim", "p99_ms"),
            ("claim, server CPU", "ms each", "claim", "server_ms"),
            (f"{WORKERS} workers", "executions/s", "drain", "rate"),
            ("the same, server CPU", "ms each", "drain", "server_ms"),
            ("the same, client CPU", "ms each", "drain", "client_ms"),
            ("tables", "MB", "size", "tables_mb"),
            ("indexes", "MB", "size", "indexes_mb"),
        )
    ]
    asked = [
        [
            name,
            *(
                f"{summary.middle(found, 'p50_ms')} / {summary.middle(found, 'p99_ms')}"
                for size in sizes
                for found in [summary.where(rows, what=name, finished=size)]
            ),
        ]
        for (name,) in summary.distinct(rows, "what")
        if name not in {"claim", "drain", "size"}
    ]
    return [Table(head, work), Table(head, asked, "What is asked beside: p50 / p99 in ms.")]


def picture(rows: Rows, figure: Any) -> None:
    """Draw claims and lists over the number of finished rows."""
    shown = {"claim": "claim of 10", "list all": "list", "list failed": "list, failed"}
    named = {**shown, "list workflow (none)": "list, no such workflow"}
    figures.lines(
        figure,
        [{**row, "what": named[row["what"]]} for row in rows if row["what"] in named],
        x=("finished", "finished executions"),
        y=("p50_ms", "p50, ms"),
        series="what",
    )


QUESTION = Question(
    name="growth_finished",
    title="Does it get slower as finished executions pile up?",
    about="The same work at growing numbers of finished executions with one step each: claims of "
    f"10 as a manager does, {WORKERS} workers for {DRAIN_SECONDS:.0f} s on executions of one "
    "empty step, and what siblings, clients and operators ask. Exact counts read what they "
    "count, so they grow.",
    run=run,
    tables=tables,
    picture=picture,
    long=True,
)
