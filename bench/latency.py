"""How long from the call to the first line of the body, when there is nothing else to do?"""

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from psycopg.types.json import Jsonb

from bench import figures, floors, summary, workload
from bench.peers import running as peers
from bench.peers.driving import WARM, told
from bench.probe import Probe
from bench.question import Question, Row, Rows, Setting, Table
from bench.tree import check, running

GAP = (0.02, 0.12)
WORKERS = 2


def run(setting: Setting) -> Iterator[Row]:
    """Measure raw and ours, then the peers."""
    count = setting.size(70, 5)
    for repetition in setting.passes():
        setting.progress("raw: LISTEN and claim")
        yield {"which": "raw", **_raw(setting, count), "repetition": repetition}
        setting.progress("ours")
        yield {"which": "ours", **_ours(setting, count), "repetition": repetition}
        for row in peers.asked(setting, "latency", count=count, gap=GAP):
            yield {**row, "repetition": repetition}


def _raw(setting: Setting, count: int) -> Row:
    with setting.database("latency") as dsn, Probe(count + WARM) as probe:
        floors.prepare(dsn)
        context = multiprocessing.get_context("fork")
        listener = context.Process(target=floors.listen, args=(dsn, probe.path), daemon=True)
        listener.start()
        try:
            with floors.connect(dsn) as connection:
                return _measure(
                    probe,
                    count,
                    lambda slot: floors.insert_one(connection, Jsonb({"slot": slot}), notify=True),
                )
        finally:
            listener.kill()
            listener.join()


def _ours(setting: Setting, count: int) -> Row:
    with Probe(count + WARM) as probe, running(setting, WORKERS, probe) as tree:
        return _measure(
            probe, count, lambda slot: tree.durable.start(workload.noop, {"slot": slot})
        )


def _measure(probe: Probe, count: int, enqueue: Callable[[int], Any]) -> Row:
    took = []
    for slot in range(count + WARM):
        time.sleep(random.uniform(*GAP) if slot else 1.0)
        called = time.monotonic()
        enqueue(slot)
        began = probe.wait(slot)
        if slot >= WARM:
            took.append(began - called)
    check(probe)
    return {"n": count, **told(took)}


def tables(rows: Rows) -> list[Table]:
    """Tell everybody's median and 99th percentile."""
    lines = []
    raw = summary.where(rows, which="raw")
    for which, settings in summary.distinct(rows, "which", "told"):
        it = summary.where(rows, which=which, told=settings)
        errors = [row["error"] for row in it if "error" in row]
        lines.append(
            [
                which,
                settings or "",
                *(summary.told(it, key) for key in ("p50_ms", "p99_ms")),
                summary.spread(summary.ratio(it, raw, "p50_ms")) if not errors else errors[0],
            ]
        )
    return [Table(("", "settings", "p50 ms", "p99 ms", "p50 / raw's"), lines)]


def picture(rows: Rows, figure: Any) -> None:
    """Draw the median and the 99th percentile."""
    panels = []
    for key, title in (("p50_ms", "median"), ("p99_ms", "99th percentile")):
        entries = [
            (which, summary.values(summary.where(rows, which=which), key))
            for (which,) in summary.distinct(rows, "which")
        ]
        panels.append((f"call to body, {title}, ms", entries))
    figures.bars(figure, panels)


QUESTION = Question(
    name="latency",
    title="How long from the call to the first line of the body?",
    about="An idle tree; one start after another at random moments (20 to 120 ms apart, so that "
    "nobody's poll is met in step). Raw: INSERT and NOTIFY in one transaction to a process "
    "that LISTENs and claims. The median and the 99th percentile of each repetition.",
    run=run,
    tables=tables,
    picture=picture,
)
