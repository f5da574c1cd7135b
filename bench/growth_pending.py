"""Does a claim get slower when a million executions are pending?

Due ones, at three priorities; then the same number that is not due yet, before a few that are.
"""

from collections.abc import Iterator
from typing import Any

from bench import figures, filling, growing, summary
from bench.question import Question, Row, Rows, Setting, Table
from durable_otp.storage import queue
from durable_otp.storage.reports import Filters, list_executions

SIZES = (10_000, 1_000_000)
BATCH = 10
CLAIMS = 300
DRAIN_SECONDS = 10.0
WORKERS = 4
AN_HOUR = 3600.0


def run(setting: Setting) -> Iterator[Row]:
    """Measure each number of pending rows, due and not due, in a schema of its own."""
    sizes = (500, 1_000) if setting.quick else SIZES
    for size in sizes:
        for what, due_in in (("due", -AN_HOUR), ("not due yet", AN_HOUR)):
            with growing.tables(setting) as tables:
                for row in _measured(setting, tables, size, due_in):
                    yield {"pending": size, "which": what, **row}


def _measured(setting: Setting, tables: growing.Tables, size: int, due_in: float) -> Iterator[Row]:
    name = f"{size:,} {'due' if due_in < 0 else 'not due yet'}"
    setting.progress(name)
    filling.pending(
        tables.dsn, tables.schema, size, workflow=growing.WORKFLOW, priorities=3, due_in=due_in
    )
    times = setting.size(CLAIMS, 5)
    if due_in > 0:
        few = BATCH * (times + 2)
        filling.pending(
            tables.dsn, tables.schema, few, workflow=growing.WORKFLOW, first=size, due_in=-AN_HOUR
        )
    yield {"what": "claim", **growing.claimed(tables, ["default"], BATCH, times)}
    yield {"what": "next_due", **growing.timed(tables, queue.next_due, "default", None, count=30)}
    yield {
        "what": "list running",
        **growing.timed(tables, list_executions, Filters(status="running"), count=30),
    }
    if due_in < 0:
        setting.progress(f"{name}: a tree at work")
        tables.sql("DELETE FROM {s}.workflow_executions WHERE status = 'running'")
        seconds = 0.5 if setting.quick else DRAIN_SECONDS
        yield {"what": "drain", **growing.drained(tables, seconds, {"default": WORKERS})}


def tables(rows: Rows) -> list[Table]:
    """Tell every number of pending rows."""
    return [
        Table(
            ("pending", "", "claim of 10, p50 / p99 ms", "server ms each", "next_due p99 ms",
             "list running p99 ms", f"{WORKERS} workers, executions/s"),
            [_line(rows, *cell) for cell in summary.distinct(rows, "pending", "which")],
        )
    ]  # fmt: skip


def _line(rows: Rows, size: int, which: str) -> list[str]:
    def of(what: str) -> Rows:
        return summary.where(rows, pending=size, which=which, what=what)

    claim = of("claim")
    return [
        f"{size:,}",
        which,
        f"{summary.middle(claim, 'p50_ms')} / {summary.middle(claim, 'p99_ms')}",
        summary.middle(claim, "server_ms"),
        summary.middle(of("next_due"), "p99_ms"),
        summary.middle(of("list running"), "p99_ms"),
        summary.middle(of("drain"), "rate"),
    ]


def picture(rows: Rows, figure: Any) -> None:
    """Draw the claim's median over what is pending."""
    figures.lines(
        figure,
        summary.where(rows, what="claim"),
        x=("pending", "pending executions"),
        y=("p50_ms", "claim of 10, p50, ms"),
        series="which",
    )


QUESTION = Question(
    name="growth_pending",
    title="Does a claim get slower when a million executions are pending?",
    about="Claims of 10 as a manager does, at three priorities, with growing numbers of rows that "
    "are due, or that are not due yet beside 3,020 that are; and a tree that works on them.",
    run=run,
    tables=tables,
    picture=picture,
    long=True,
)
