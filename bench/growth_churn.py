"""What does lasting work leave behind: dead rows, swollen indexes, slower claims?

A client starts executions as fast as a tree runs them, and everything that has ended is removed
again after a while, so the tables would stay as they are if nothing were left behind.
BENCH_CHURN_SECONDS says for how long; autovacuum is as the server and the migrations set it.
"""

import os
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

from bench import figures, filling, growing, summary
from bench.question import Question, Row, Rows, Setting, Table
from durable_otp import Durable
from durable_otp.storage.deletion import Old, cutoff, delete_batch
from durable_otp.workflow.state import State

SECONDS_VARIABLE = "BENCH_CHURN_SECONDS"
SECONDS = 300
SAMPLES = 20
WORKERS = 4
AHEAD = 2_000
KEPT_SECONDS = 30.0
CLAIMS = 60
PROBE_QUEUE = "probe"
STATE = """
SELECT relname, n_dead_tup, pg_relation_size(relid), pg_indexes_size(relid),
       autovacuum_count
FROM pg_stat_user_tables
WHERE relid IN ('{s}.workflow_executions'::regclass, '{s}.step_executions'::regclass)
"""
INDEXES = """
SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes
WHERE relid IN ('{s}.workflow_executions'::regclass, '{s}.step_executions'::regclass)
"""


def run(setting: Setting) -> Iterator[Row]:
    """Work on and on, with a sample now and then."""
    seconds = 3 if setting.quick else int(os.environ.get(SECONDS_VARIABLE, SECONDS))
    samples = setting.size(SAMPLES, 2)
    with growing.tables(setting) as tables:
        before: dict[str, int] = {}
        yield {"what": "sample", "at": 0, "rate": None, **_state(tables), **_claim(setting, tables)}
        with (
            growing.running(tables, {"default": WORKERS}),
            Durable(tables.dsn, schema=tables.schema) as durable,
        ):
            began = monotonic()
            for number in range(1, samples + 1):
                end = began + seconds * number / samples
                started, from_ = monotonic(), growing.started(tables)
                _churn(tables, durable, end)
                rate = (growing.started(tables) - from_) / (monotonic() - started)
                setting.progress(f"{monotonic() - began:.0f} of {seconds} s, {rate:.0f}/s")
                sample = {**_state(tables), **_claim(setting, tables)}
                at = round(monotonic() - began)
                yield {"what": "sample", "at": at, "rate": round(rate), **sample}
                if at >= 2 * KEPT_SECONDS or setting.quick:  # as many go as come from here on
                    before = before or dict(tables.sql(INDEXES))
        tables.check()
        for name, size in tables.sql(INDEXES):
            yield {"what": "index", "name": name, "before": before.get(name, size), "after": size}


def _churn(tables: growing.Tables, durable: Durable, end: float) -> None:
    """Keep the queue filled and the tables pruned until then."""
    while monotonic() < end:
        missing = AHEAD - growing.pending(tables)
        if missing > 0:
            durable.start_many(growing.grow, [{"n": 1}] * missing)
        for status in (State.COMPLETED,):
            before = growing.run(tables, cutoff, KEPT_SECONDS)
            place, is_done = None, False
            while not is_done:
                place = growing.run(tables, delete_batch, Old(status, before), place).next
                is_done = place is None
        sleep(0.2)


def _state(tables: growing.Tables) -> Row:
    found = tables.sql(STATE)
    return {
        "dead": sum(row[1] for row in found),
        "tables_mb": round(sum(row[2] for row in found) / 1e6, 1),
        "indexes_mb": round(sum(row[3] for row in found) / 1e6, 1),
        "vacuums": sum(row[4] for row in found),
    }


def _claim(setting: Setting, tables: growing.Tables) -> Row:
    """Claim from a queue of its own beside the work, and take the rows away again."""
    times = setting.size(CLAIMS, 3)
    filling.pending(
        tables.dsn, tables.schema, 10 * (times + 2), workflow="probed", queue=PROBE_QUEUE,
        settled=False,
    )  # fmt: skip
    claim = growing.claimed(tables, [PROBE_QUEUE], 10, times, workflow="probed")
    tables.sql("DELETE FROM {s}.workflow_executions WHERE queue = 'probe'")
    return {"p50_ms": claim["p50_ms"], "p99_ms": claim["p99_ms"]}


def tables(rows: Rows) -> list[Table]:
    """Tell the samples, then the indexes that grew most."""
    samples = summary.where(rows, what="sample")
    grown = sorted(summary.where(rows, what="index"), key=lambda row: row["before"] - row["after"])
    return [
        Table(
            ("after s", "executions/s", "claim of 10, p50 / p99 ms", "dead rows", "tables MB",
             "indexes MB", "autovacuums"),
            [
                [
                    str(row["at"]),
                    "-" if row["rate"] is None else str(row["rate"]),
                    f"{row['p50_ms']} / {row['p99_ms']}",
                    f"{row['dead']:,}",
                    str(row["tables_mb"]),
                    str(row["indexes_mb"]),
                    str(row["vacuums"]),
                ]
                for row in samples
            ],
        ),
        Table(
            ("index", f"after {2 * KEPT_SECONDS:.0f} s, KB", "at the end, KB"),
            [
                [row["name"], f"{row['before'] / 1024:,.0f}", f"{row['after'] / 1024:,.0f}"]
                for row in grown
            ],
        ),
    ]  # fmt: skip


def picture(rows: Rows, figure: Any) -> None:
    """Draw sizes, dead rows and the claim over the time."""
    samples = summary.where(rows, what="sample")
    axes = figure.subplots(1, 3)
    panels = (
        ("MB", (("tables", "tables_mb"), ("indexes", "indexes_mb"))),
        ("dead rows", (("dead rows", "dead"),)),
        ("claim of 10, ms", (("p50", "p50_ms"), ("p99", "p99_ms"))),
    )
    for place, (label, series) in zip(axes, panels, strict=True):
        for (name, key), colour in zip(series, figures.COLOURS, strict=False):
            at, found = [row["at"] for row in samples], [row[key] for row in samples]
            place.plot(at, found, label=name, color=colour)
        place.set(xlabel="seconds", ylabel=label)
        place.set_ylim(bottom=0)
        place.legend()


QUESTION = Question(
    name="growth_churn",
    title="What does lasting work leave behind?",
    about=f"{WORKERS} workers that never run out of work, "
    f"while what ended {KEPT_SECONDS:.0f} s ago is removed. BENCH_CHURN_SECONDS sets for how long "
    f"({SECONDS} by default); autovacuum as the server and the migrations set it.",
    run=run,
    tables=tables,
    picture=picture,
    long=True,
)
