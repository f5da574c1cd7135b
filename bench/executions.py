"""How many no-op executions does a whole tree run in a second, durably?"""

from collections.abc import Iterator
from typing import Any

from bench import figures, floors, summary
from bench.peers import running as peers
from bench.question import Question, Row, Rows, Setting, Table
from bench.tree import work_off
from durable_otp import ConfigError

WORKERS = (2, 4, 8)
SECONDS = 2.0
COUNTS = {"each": 20_000, "batched": 60_000}
ENDS = {"each": (floors.end_each, 10), "batched": (floors.end_batch, 100)}


def run(setting: Setting) -> Iterator[Row]:
    """Measure raw and ours at equal workers, committing each and in batches; then the peers."""
    for repetition in setting.passes():
        for workers in (2,) if setting.quick else WORKERS:
            for commit in ENDS:
                setting.progress(f"raw, {commit}: {workers} workers")
                cell = {"commit": commit, "workers": workers, "repetition": repetition}
                yield {"which": "raw", **cell, **_raw(setting, commit, workers)}
                setting.progress(f"ours, {commit}: {workers} workers")
                yield {"which": "ours", **cell, **_ours(setting, commit, workers)}
        for row in peers.asked(setting, "executions"):
            yield {**row, "repetition": repetition}


def _raw(setting: Setting, commit: str, workers: int) -> Row:
    end, batch = ENDS[commit]
    seconds = 0.2 if setting.quick else SECONDS
    with setting.database("executions") as dsn:
        floors.prepare(dsn, setting.size(COUNTS[commit], 1000))
        done, outcome = floors.executions(dsn, workers, batch, seconds, end)
    return {"rate": round(done / outcome.used.seconds), **outcome.used.per(done)}


def _ours(setting: Setting, commit: str, workers: int) -> Row:
    count = setting.size(COUNTS[commit], 40)
    queue: dict[str, Any] = {} if commit == "each" else {"commit": commit}
    try:
        worked = work_off(setting, workers, ("noop", count, 1), queue=queue)
    except ConfigError as error:
        return {"skipped": str(error)}
    return {
        "rate": round(worked.completed / worked.seconds),
        "completed": worked.completed,
        **worked.used.per(worked.completed),
    }


def tables(rows: Rows) -> list[Table]:
    """Tell ours beside raw, then the peers."""
    lines = []
    mine = [row for row in rows if "commit" in row]
    cells = summary.distinct(mine, "commit", "workers")
    for commit, workers in sorted(cells, key=lambda cell: (cell[0] != "each", cell[1])):
        raw = summary.where(rows, which="raw", commit=commit, workers=workers)
        ours = summary.where(rows, which="ours", commit=commit, workers=workers)
        lines.append(
            [
                commit,
                str(workers),
                summary.told(raw, "rate"),
                summary.told(ours, "rate"),
                summary.spread(summary.ratio(ours, raw, "rate")),
                *cpu(raw, ours),
            ]
        )
    head = (
        "commit",
        "workers",
        "raw /s",
        "ours /s",
        "ours / raw",
        "client ms, raw / ours",
        "server ms, raw / ours",
    )
    skipped = sorted({f"Not measured: {row['skipped']}" for row in mine if "skipped" in row})
    return [Table(head, lines, " ".join(skipped)), peers_table(rows, "rate", "executions/s")]


def cpu(raw: Rows, ours: Rows) -> list[str]:
    """Return the CPU columns: client, then server."""
    return [
        f"{summary.middle(raw, key)} / {summary.middle(ours, key)}"
        for key in ("client_ms", "server_ms")
    ]


def peers_table(rows: Rows, key: str, unit: str) -> Table:
    """Tell the peers' rates, each at its settings."""
    found = [row for row in rows if "told" in row]
    lines = []
    for which, told in summary.distinct(found, "which", "told"):
        mine = summary.where(found, which=which, told=told)
        errors = [row["error"] for row in mine if "error" in row]
        lines.append(
            [
                which,
                told,
                summary.told(mine, key) if not errors else f"failed: {errors[0]}",
                summary.middle(mine, "client_ms"),
                summary.middle(mine, "server_ms"),
            ]
        )
    return Table(("peer", "settings", unit, "client ms", "server ms"), lines)


def picture(rows: Rows, figure: Any) -> None:
    """Draw a panel for each way of committing, with the peers beside those that commit each."""
    panels = []
    for commit in ENDS:
        of = summary.where(rows, commit=commit)
        entries = [
            (
                f"{which}, {workers} workers",
                summary.values(summary.where(of, which=which, workers=workers), "rate"),
            )
            for which in ("ours", "raw")
            for workers in WORKERS
        ]
        panels.append((f'executions/s, commit = "{commit}"', [*entries, *_peers(rows, commit)]))
    figures.bars(figure, panels)


def _peers(rows: Rows, commit: str) -> list[tuple[str, list[float]]]:
    found = [row for row in rows if "told" in row]
    return [
        (
            f"{which}, {told.split(', ')[1]}",
            summary.values(summary.where(found, which=which, told=told), "rate"),
        )
        for which, told in summary.distinct(found, "which", "told")
        if (which == "pgqueuer") == (commit == "batched")
    ]


QUESTION = Question(
    name="executions",
    title="How many no-op executions run in a second?",
    about="A queue is filled while it is paused, then released to a whole tree; the clock runs "
    "from the first body's first line to the last completion that another connection sees, "
    "and every body must have run exactly once. Raw: processes that claim jobs (10 at a "
    "time) and, for each, insert a step row and complete it in a transaction of its own; "
    "for `batched` 100 at a time, in one transaction. A unit is one execution. dbos and "
    "procrastinate commit for each; PgQueuer completes in batches, and what it had not "
    "flushed runs again after a crash.",
    run=run,
    tables=tables,
    picture=picture,
)
