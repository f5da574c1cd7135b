"""Does a step cost more when there were many before it, with a context of 64 KB?"""

import random
import statistics
import string
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from bench import figures, growing, summary
from bench.question import Question, Row, Rows, Setting, Table, WrongResultError
from durable_otp import Durable
from durable_otp.storage.reports import get_execution

BYTES = 65_536
STEPS = growing.STEPS
AT_ONCE = 25
RUNS = 3


def run(setting: Setting) -> Iterator[Row]:
    """Run executions of many steps on one worker and read the journal's clock."""
    text = "".join(random.Random(1).choices(string.ascii_letters, k=BYTES))
    for which in list(growing.LONG)[: setting.size(len(growing.LONG), 1)]:
        with growing.tables(setting) as tables:
            setting.progress(which)
            with (
                growing.running(tables, {"default": 1}),
                Durable(tables.dsn, schema=tables.schema) as durable,
            ):
                for repetition in range(setting.size(RUNS, 1) + 1):
                    handle = durable.start(growing.LONG[which], {"text": text, "log": []})
                    result = handle.result(timeout=300)
                    if result["last"] != STEPS - 1:
                        raise WrongResultError(f"the last step left {result['last']}")
                    if repetition:  # the first one imports and prepares
                        for row in _steps(tables, handle.id):
                            yield {"which": which, "repetition": repetition, **row}
            read = growing.timed(tables, get_execution, handle.id, count=setting.size(20, 1))
            yield {"which": which, "what": "read", **read}


def _steps(tables: growing.Tables, execution_id: str) -> Iterator[Row]:
    """Yield the median milliseconds from one checkpoint to the next, of so many steps at once."""
    found = tables.sql(
        "SELECT extract(epoch FROM completed_at)::float8 FROM {s}.step_executions "
        "WHERE execution_id = %s ORDER BY position",
        [execution_id],
    )
    moments = [moment for (moment,) in found]
    if len(moments) != STEPS:
        raise WrongResultError(f"{len(moments)} steps are recorded, not {STEPS}")
    gaps = [1000 * (after - before) for before, after in pairwise(moments)]
    for first in range(0, STEPS, AT_ONCE):
        part = gaps[first : first + AT_ONCE]
        yield {"what": "step", "upto": first + AT_ONCE, "ms": round(statistics.median(part), 3)}


def tables(rows: Rows) -> list[Table]:
    """Tell the steps by their number, and what reading the result costs."""
    places = [place for (place,) in summary.distinct(summary.where(rows, what="step"), "upto")]
    return [
        Table(
            ("each step", *(f"to {place}" for place in places), "get_execution after all, p50"),
            [
                [
                    which,
                    *(summary.middle(summary.where(rows, which=which, upto=place), "ms")
                      for place in places),
                    summary.middle(summary.where(rows, which=which, what="read"), "p50_ms"),
                ]
                for (which,) in summary.distinct(rows, "which")
            ],
            "Milliseconds from one checkpoint to the next, medians of 25 steps.",
        )
    ]  # fmt: skip


def picture(rows: Rows, figure: Any) -> None:
    """Draw the cost of a step over the number of steps before it."""
    figures.lines(
        figure,
        summary.where(rows, what="step"),
        x=("upto", "steps before"),
        y=("ms", "ms a step"),
        series="which",
    )


QUESTION = Question(
    name="growth_steps",
    title="Does a step cost more when there were many before it?",
    about=f"One worker, executions of {STEPS} steps with a context of {BYTES // 1024} KB of random "
    "letters; each step changes nothing else, appends 300 bytes to a list, or changes the 64 KB. "
    "Time from one checkpoint to the next, by the journal's clock.",
    run=run,
    tables=tables,
    picture=picture,
    long=True,
)
