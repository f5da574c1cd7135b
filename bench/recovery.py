"""How long from the SIGKILL of a worker until its execution runs again?

One execution after another on a whole tree. The body says when it begins and waits; it is killed,
and the beginning of the next attempt ends the clock. Without the spare: all workers are killed.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

from bench import figures, summary, workload
from bench.meter import Meter
from bench.peers.driving import told
from bench.probe import Probe
from bench.question import Question, Row, Rows, Setting, Table, WrongResultError, wait_for
from bench.tree import Tree, running

WAYS = {"spare": "a worker, the spare takes over", "no spare": "every worker, a new one starts"}
WORKERS = 2


def run(setting: Setting) -> Iterator[Row]:
    """Kill one worker at a time, then all at a time."""
    for repetition in setting.passes():
        for way, kills in (("spare", setting.size(67, 3)), ("no spare", setting.size(20, 2))):
            setting.progress(f"{kills} kills of {WAYS[way]}")
            yield {"way": way, **_kill(setting, way, kills), "repetition": repetition}


def _kill(setting: Setting, way: str, kills: int) -> Row:
    with (
        Probe(kills * workload.PER_KILL) as probe,
        running(setting, WORKERS, probe) as tree,
    ):
        meter = Meter(setting.dsn, [tree.runtime.pid])
        took = [_kill_once(tree, probe, number, way) for number in range(kills)]
        used = meter.read()
        if any(times != 1 for times in probe.times()):
            raise WrongResultError("a body did not run exactly twice, once in each attempt")
        if tree.left():
            raise WrongResultError(f"{tree.left()} killed executions did not complete")
    return {"kills": kills, "lost": 0, **told(took), **used.per(kills)}


def _kill_once(tree: Tree, probe: Probe, number: int, way: str) -> float:
    wait_for(lambda: len(tree.workers()) == WORKERS + 1, "a full crew")
    handle = tree.durable.start(workload.mortal, {"slot": number})
    slot = number * workload.PER_KILL
    probe.wait(slot + workload.BEGAN)
    victims = [int(probe.at(slot + workload.PID))]
    if way == "no spare":
        victims = tree.workers()
    killed = monotonic()
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    took = probe.wait(slot + workload.AGAIN) - killed
    handle.result(timeout=60)
    return took


def tables(rows: Rows) -> list[Table]:
    """Tell both."""
    lines = []
    for (way,) in summary.distinct(rows, "way"):
        it = summary.where(rows, way=way)
        kills = sum(row["kills"] for row in it)
        lines.append(
            [
                WAYS[way],
                str(kills),
                str(sum(row["lost"] for row in it)),
                *(summary.told(it, key) for key in ("p50_ms", "p99_ms", "max_ms")),
                *(summary.middle(it, key) for key in ("client_ms", "server_ms")),
            ]
        )
    head = ("killed", "kills", "lost", "p50 ms", "p99 ms", "longest ms", "client ms", "server ms")
    return [Table(head, lines)]


def picture(rows: Rows, figure: Any) -> None:
    """Draw both."""
    entries = {
        way: [
            (key.removesuffix("_ms"), summary.values(summary.where(rows, way=way), key))
            for key in ("p50_ms", "p99_ms", "max_ms")
        ]
        for (way,) in summary.distinct(rows, "way")
    }
    figures.bars(figure, [(f"ms after the kill of {WAYS[way]}", of) for way, of in entries.items()])


QUESTION = Question(
    name="recovery",
    title="How long from `kill -9` until the execution runs again?",
    about="A worker in the middle of a step is killed; the clock ends with the first line of the "
    "body's next run, in another process. Two committed statements lie between: the new "
    "lock token, and the crashed attempt. With the spare that every queue has; and with all"
    " workers killed at once, the spare too, so that a process has to start and import. A "
    "unit of CPU is one kill, with the start of the next worker. The peers, measured once "
    "with two processes each: PgQueuer 29 s, Procrastinate's documented recipe 61 s, Absurd"
    " 120 s, dbos not before the process is started again.",
    run=run,
    tables=tables,
    picture=picture,
)
