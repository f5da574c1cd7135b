"""Do sleepers wake in time when a thousand of them are due every second?

Their rows are filled in, asleep; the waker of a running tree moves each to its queue, which nobody
serves, so that nothing but the waker is measured.
"""

from collections.abc import Iterator
from typing import Any

from bench import figures, growing, summary
from bench.meter import Meter
from bench.question import Question, Row, Rows, Setting, Table, WrongResultError, wait_for
from bench.setting import milliseconds

RATES = (100, 300, 1_000)
SECONDS = 20
HEAD_START = 4.0
ASLEEP = """
INSERT INTO {s}.workflow_executions
    (id, workflow, version, status, queue, input, scheduled_at, started_at, inserted_at, updated_at)
SELECT gen_random_uuid(), 'grow', '1', 'waiting', 'nobody', '{}',
       now() + make_interval(secs => %(head_start)s + n / %(rate)s::float8), now(), now(), now()
FROM generate_series(1, %(count)s) n
"""
LATE = """
SELECT extract(epoch FROM updated_at - scheduled_at)::float8
FROM {s}.workflow_executions WHERE workflow = 'grow' AND status = 'pending'
"""


def run(setting: Setting) -> Iterator[Row]:
    """Wake at each rate in tables of its own."""
    for rate in (50,) if setting.quick else RATES:
        for repetition in setting.passes():
            with growing.tables(setting) as tables:
                setting.progress(f"{rate} a second")
                yield {
                    "per_second": rate,
                    "repetition": repetition,
                    **_woken(setting, tables, rate),
                }


def _woken(setting: Setting, tables: growing.Tables, rate: int) -> Row:
    count = rate * setting.size(SECONDS, 1)
    with growing.running(tables, {"other": 1}) as runtime:
        head_start = 0.5 if setting.quick else HEAD_START
        tables.sql(ASLEEP, {"rate": rate, "count": count, "head_start": head_start})
        tables.sql("VACUUM ANALYZE {s}.workflow_executions")
        tables.sql(f"SELECT pg_notify('{tables.schema}:sleep', '')")
        meter = Meter(tables.dsn, [runtime.pid])
        wait_for(lambda: _asleep(tables) == 0, f"{count} woken", timeout=60 + count / rate, every=1)
        used = meter.read()
    late = [seconds for (seconds,) in tables.sql(LATE)]
    if len(late) != count or min(late) < 0:
        raise WrongResultError(f"{len(late)} of {count} woke, the first {min(late)} s late")
    ((dead,),) = tables.sql(
        "SELECT n_dead_tup FROM pg_stat_user_tables "
        "WHERE relid = '{s}.workflow_executions'::regclass"
    )
    return {"woken": count, **milliseconds(late), **used.per(count), "dead": dead}


def _asleep(tables: growing.Tables) -> int:
    return int(
        tables.sql("SELECT count(*) FROM {s}.workflow_executions WHERE status = 'waiting'")[0][0]
    )


def tables(rows: Rows) -> list[Table]:
    """Tell every rate."""
    return [
        Table(
            (
                "due a second",
                "woken",
                "late, p50 / p99 / most, ms",
                "server ms each",
                "tree ms each",
            ),
            [
                [
                    f"{rate:,}",
                    f"{sum(row['woken'] for row in found):,}",
                    " / ".join(
                        summary.middle(found, key) for key in ("p50_ms", "p99_ms", "max_ms")
                    ),
                    summary.middle(found, "server_ms"),
                    summary.middle(found, "client_ms"),
                ]
                for (rate,) in summary.distinct(rows, "per_second")
                for found in [summary.where(rows, per_second=rate)]
            ],
        )
    ]


def picture(rows: Rows, figure: Any) -> None:
    """Draw how late they wake over the rate."""
    figures.lines(
        figure,
        [
            {"rate": row["per_second"], "ms": row[key], "which": name}
            for row in rows
            for name, key in (("p50", "p50_ms"), ("p99", "p99_ms"))
        ],
        x=("rate", "sleepers due a second"),
        y=("ms", "late, ms"),
        series="which",
    )


QUESTION = Question(
    name="growth_sleepers",
    title="Do sleepers wake in time when a thousand are due every second?",
    about=f"Sleepers due at an even rate for {SECONDS} s; the waker of a running tree makes them "
    "pending on a queue that nobody serves. Late is from the due time to the transaction that "
    "wakes, by the database's clock.",
    run=run,
    tables=tables,
    picture=picture,
    long=True,
)
