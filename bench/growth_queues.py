"""Does a claim get slower with a hundred queues in the same table?"""

from collections.abc import Iterator
from typing import Any

from bench import figures, filling, growing, summary
from bench.question import Question, Row, Rows, Setting, Table

QUEUES = (1, 10, 100)
ROWS = 100_000
BATCH = 10
CLAIMS = 400
SERVED = 10
DRAIN_SECONDS = 10.0


def run(setting: Setting) -> Iterator[Row]:
    """Spread the same number of rows over more and more queues."""
    for count in (1, 3) if setting.quick else QUEUES:
        with growing.tables(setting) as tables:
            setting.progress(f"{count} queues")
            names = ["q"] if count == 1 else [f"q_{number}" for number in range(count)]
            filling.pending(
                tables.dsn, tables.schema, setting.size(ROWS, 600), workflow=growing.WORKFLOW,
                queue="q", queues=count,
            )  # fmt: skip
            claim = growing.claimed(tables, names, BATCH, setting.size(CLAIMS, 5))
            yield {"queues": count, "what": "claim", **claim}
            served = dict.fromkeys(names[:SERVED], 1)
            setting.progress(f"{count} queues: a tree for {len(served)} of them")
            seconds = 0.5 if setting.quick else DRAIN_SECONDS
            drain = growing.drained(tables, seconds, served)
            yield {"queues": count, "served": len(served), "what": "drain", **drain}


def tables(rows: Rows) -> list[Table]:
    """Tell every number of queues."""
    return [
        Table(
            ("queues", "claim of 10, p50 / p99 ms", "server ms each", "served, one worker each",
             "executions/s"),
            [_line(rows, count) for (count,) in summary.distinct(rows, "queues")],
        )
    ]  # fmt: skip


def _line(rows: Rows, count: int) -> list[str]:
    claim = summary.where(rows, queues=count, what="claim")
    drain = summary.where(rows, queues=count, what="drain")
    return [
        str(count),
        f"{summary.middle(claim, 'p50_ms')} / {summary.middle(claim, 'p99_ms')}",
        summary.middle(claim, "server_ms"),
        str(drain[0]["served"]) if drain else "-",
        summary.middle(drain, "rate"),
    ]


def picture(rows: Rows, figure: Any) -> None:
    """Draw the claim's times over the number of queues."""
    claims = summary.where(rows, what="claim")
    figures.lines(
        figure,
        [
            {"queues": row["queues"], "ms": row[key], "which": name}
            for row in claims
            for name, key in (("p50", "p50_ms"), ("p99", "p99_ms"))
        ],
        x=("queues", "queues"),
        y=("ms", "claim of 10, ms"),
        series="which",
    )


QUESTION = Question(
    name="growth_queues",
    title="Does a claim get slower with a hundred queues?",
    about=f"{ROWS:,} due rows spread over the queues; claims of 10 take the queues in turn; then a "
    f"tree that serves up to {SERVED} of the queues, a manager and a worker each.",
    run=run,
    tables=tables,
    picture=picture,
    long=True,
)
