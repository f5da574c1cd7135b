"""What does an idle worker weigh, and how soon after the start does the first job run?"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import figures, summary
from bench.meter import cpu_of_tree, shared_out_memory, tree_of
from bench.probe import Probe
from bench.question import Question, Row, Rows, Setting, Table, WrongResultError, wait_for
from bench.tree import ROOT, made

WORKERS = 10


def run(setting: Setting) -> Iterator[Row]:
    """Measure bare processes and a tree of as many workers."""
    workers = setting.size(WORKERS, 2)
    for repetition in setting.passes():
        setting.progress(f"raw: {workers} bare processes")
        yield {"which": "raw", **_raw(setting, workers), "repetition": repetition}
        setting.progress(f"ours: {workers} workers")
        yield {"which": "ours", **_ours(setting, workers), "repetition": repetition}


def _raw(setting: Setting, workers: int) -> Row:
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare", setting.dsn, str(workers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    if process.stdin is None or process.stdout is None:
        raise WrongResultError("no pipes")
    try:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        ready, cpu = time.monotonic() - started, cpu_of_tree(process.pid)
        return {"ready_s": round(ready, 3), "cpu_s": cpu, **_memory(pids, process.pid)}
    finally:
        process.stdin.close()
        process.wait()


def _ours(setting: Setting, workers: int) -> Row:
    with Probe(1) as probe, made(setting, workers, probe, preload=True) as tree:
        tree.put("noop", 1)
        started = time.monotonic()
        with tree.runtime:
            ready, cpu = time.monotonic() - started, cpu_of_tree(tree.runtime.pid)
            first = probe.wait(0) - started
            wait_for(lambda: tree.left() == 0, "the first job")
            wait_for(lambda: len(tree.workers()) == workers + 1, "all workers")
            time.sleep(1)  # until nothing is being set up any more
            memory = _memory(tree.workers(), tree.runtime.pid)
    times = {"ready_s": round(ready, 3), "first_job_s": round(first, 3), "cpu_s": round(cpu, 2)}
    return {**times, **memory}


def _memory(workers: list[int], root: int) -> Row:
    everybody = tree_of(root)
    return {
        "worker_mib": round(statistics.median(map(shared_out_memory, workers)), 2),
        "tree_mib": round(sum(map(shared_out_memory, everybody)), 1),
        "processes": len(everybody),
    }


def tables(rows: Rows) -> list[Table]:
    """Tell both."""
    head = (
        "",
        "PSS per idle worker, MiB",
        "whole tree, MiB",
        "processes",
        "start to all up, s",
        "start to first job, s",
        "CPU until all up, s",
    )
    keys = ("worker_mib", "tree_mib", "processes", "ready_s", "first_job_s", "cpu_s")
    return [
        Table(
            head,
            [
                [which, *(summary.told(summary.where(rows, which=which), key) for key in keys)]
                for (which,) in summary.distinct(rows, "which")
            ],
        )
    ]


def picture(rows: Rows, figure: Any) -> None:
    """Draw memory and time."""
    titles = {"worker_mib": "PSS per idle worker, MiB", "ready_s": "start to all up, s"}
    panels = []
    for key, title in titles.items():
        entries = [
            (which, summary.values(summary.where(rows, which=which), key))
            for (which,) in summary.distinct(rows, "which")
        ]
        if key == "ready_s":
            entries.append(("ours, first job", summary.values(rows, "first_job_s")))
        panels.append((title, entries))
    figures.bars(figure, panels)


QUESTION = Question(
    name="footprint",
    title="What does an idle worker weigh?",
    about="A tree with 10 workers and `preload = true`; PSS counts a page that n processes share "
    "as 1/n of a page. The start is from the call to the first line of a body that was "
    "waiting in its queue, the migrated schema being there. Raw: as many forked processes "
    "that have imported psycopg and opened a connection.",
    run=run,
    tables=tables,
    picture=picture,
)
