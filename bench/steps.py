"""How many durable steps does a whole tree run in a second?"""

from collections.abc import Iterator
from typing import Any

from bench import figures, floors, summary
from bench.executions import cpu, peers_table
from bench.meter import Used
from bench.peers import running as peers
from bench.question import Question, Row, Rows, Setting, Table
from bench.tree import SECONDS, work_off

WORKERS = (2, 4, 8)
STEPS = floors.STEPS


def run(setting: Setting) -> Iterator[Row]:
    """Measure raw and ours at equal workers, then the peers."""
    count = setting.size(5_000, 10)
    for repetition in setting.passes():
        for workers in (2,) if setting.quick else WORKERS:
            cell = {"workers": workers, "repetition": repetition}
            setting.progress(f"raw: {workers} workers")
            yield {"which": "raw", **cell, **_raw(setting, workers, count)}
            setting.progress(f"ours: {workers} workers")
            ours = work_off(setting, workers, ("five", count, STEPS))
            yield {"which": "ours", **cell, **_rate(ours.completed, ours.seconds, ours.used)}
        for row in peers.asked(setting, "steps"):
            yield {**row, "repetition": repetition}


def _raw(setting: Setting, workers: int, count: int) -> Row:
    with setting.database("steps") as dsn:
        floors.prepare(dsn)
        done, outcome = floors.checkpoints(dsn, workers, count, SECONDS)
    return _rate(done, outcome.used.seconds, outcome.used)


def _rate(executions: int, seconds: float, used: Used) -> Row:
    steps = executions * STEPS
    return {"rate": round(steps / seconds), "steps": steps, **used.per(steps)}


def tables(rows: Rows) -> list[Table]:
    """Tell ours beside raw, then the peers."""
    lines = []
    mine = [row for row in rows if "told" not in row]
    for (workers,) in summary.distinct(mine, "workers"):
        raw = summary.where(mine, which="raw", workers=workers)
        ours = summary.where(mine, which="ours", workers=workers)
        lines.append(
            [
                str(workers),
                summary.told(raw, "rate"),
                summary.told(ours, "rate"),
                summary.spread(summary.ratio(ours, raw, "rate")),
                *cpu(raw, ours),
            ]
        )
    head = (
        "workers",
        "raw steps/s",
        "ours steps/s",
        "ours / raw",
        "client ms, raw / ours",
        "server ms, raw / ours",
    )
    return [Table(head, lines), peers_table(rows, "rate", "steps/s")]


def picture(rows: Rows, figure: Any) -> None:
    """Draw the rate over the workers."""
    figures.lines(
        figure, rows, x=("workers", "worker processes"), y=("rate", "steps/s"), series="which"
    )


QUESTION = Question(
    name="steps",
    title="How many durable steps run in a second?",
    about="Workflows of five steps, each returning a small object that is committed before the "
    "next begins; measured as the executions are. Raw: no queue, no claim, no engine: "
    "processes that insert a fenced row per step, the last one together with the "
    "completion. A unit is one step. Ours and raw: those of completed executions; the "
    "peers: every step begun.",
    run=run,
    tables=tables,
    picture=picture,
)
