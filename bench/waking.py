"""How late does a sleeper get up, and how long does an event take to the body that waits for it?"""

import random
import time
from collections.abc import Iterator
from typing import Any

from bench import figures, summary, workload
from bench.peers import running as peers
from bench.peers.driving import told
from bench.probe import Probe
from bench.question import Question, Row, Rows, Setting, Table, wait_for
from bench.tree import Tree, running

GAP = (0.02, 0.12)
SLEEP = (0.8, 1.2)  # not all the same, or somebody's poll is met in step
WORKERS = 2
WHAT = {"sleep": "sleep's end to the body", "event": "event to the body"}


def run(setting: Setting) -> Iterator[Row]:
    """Measure ours, then the peers."""
    count = setting.size(50, 4)
    sleep = (0.1, 0.2) if setting.quick else SLEEP
    for repetition in setting.passes():
        with Probe(2 * count) as probe, running(setting, WORKERS, probe) as tree:
            for what, measure in (("sleep", _late), ("event", _took)):
                setting.progress(f"ours: {WHAT[what]}")
                probe.clear()
                seconds = measure(tree, probe, [random.uniform(*sleep) for _ in range(count)])
                cell = {"which": "ours", "what": what, "n": count, "repetition": repetition}
                yield {**cell, **told(seconds)}
        for answer in peers.asked(setting, "waking", count=count, gap=GAP, sleep=sleep):
            for what in WHAT:
                shared: Row = {
                    key: answer[key] for key in ("which", "told", "error") if key in answer
                }
                yield {**shared, "what": what, **answer.get(what, {}), "repetition": repetition}


def _late(tree: Tree, probe: Probe, seconds: list[float]) -> list[float]:
    for slot, each in enumerate(seconds):
        tree.durable.start(workload.sleeper, {"slot": slot, "seconds": each})
        time.sleep(random.uniform(*GAP))
    late = [
        probe.wait(2 * slot + 1) - probe.wait(2 * slot) - each for slot, each in enumerate(seconds)
    ]
    wait_for(lambda: tree.left() == 0, "the sleepers' completion")
    return late


def _took(tree: Tree, probe: Probe, seconds: list[float]) -> list[float]:
    handles = [
        tree.durable.start(workload.receiver, {"slot": slot}) for slot in range(len(seconds))
    ]
    for handle in handles:
        wait_for(lambda handle=handle: handle.status() == "waiting", "a waiting receiver")  # type: ignore[misc]
    took = []
    for slot, handle in enumerate(handles):
        time.sleep(random.uniform(*GAP))
        called = time.monotonic()
        handle.send_event(workload.EVENT, {"slot": slot})
        took.append(probe.wait(2 * slot + 1) - called)
    wait_for(lambda: tree.left() == 0, "the receivers' completion")
    return took


def tables(rows: Rows) -> list[Table]:
    """Tell both, everybody's median and 99th percentile."""
    lines = []
    for what, named in WHAT.items():
        of = summary.where(rows, what=what)
        for (which,) in summary.distinct(of, "which"):
            it = summary.where(of, which=which)
            lines.append([named, which, *(summary.told(it, k) for k in ("p50_ms", "p99_ms"))])
    return [Table(("", "who", "p50 ms", "p99 ms"), lines)]


def picture(rows: Rows, figure: Any) -> None:
    """Draw both."""
    panels = []
    for what, named in WHAT.items():
        of = summary.where(rows, what=what)
        entries = [
            (f"{which}, {key[:3]}", summary.values(summary.where(of, which=which), key))
            for (which,) in summary.distinct(of, "which")
            for key in ("p50_ms", "p99_ms")
        ]
        panels.append((f"{named}, ms", entries))
    figures.bars(figure, panels)


QUESTION = Question(
    name="waking",
    title="How late does a sleeper get up, and how long does an event take?",
    about="Sleeps of 0.8 to 1.2 s, started at random moments on an idle tree: the time between "
    "the mark before and the mark after, less the sleep. Then executions that wait for an "
    "event: from the call of `send_event` to the line after the wait. A waiting execution "
    "holds no worker, which dbos's sleeper does: it waits in its thread.",
    run=run,
    tables=tables,
    picture=picture,
)
