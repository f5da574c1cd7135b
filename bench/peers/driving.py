"""Measuring one engine: ``python -m bench.peers.NAME '{"question": ..., "dsn": ...}'``.

Prints one JSON line. Workers are fresh processes of the same file; they end with this one.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg

from bench.meter import Meter
from bench.probe import Probe
from bench.summary import percentile

STEPS = 5
WARM = 3
Answer = dict[str, Any]


class Peer(Protocol):
    """What a peer's file provides; options are its settings, by its own names."""

    def __init__(self, dsn: str, options: dict[str, Any]) -> None: ...

    def prepare(self) -> None:
        """Make the tables and be ready to enqueue."""

    def enqueue(self, kind: str, inputs: Sequence[Any]) -> None:
        """Enqueue many, the fastest way that is documented."""

    def enqueue_one(self, kind: str, given: Any) -> None:
        """Enqueue one; it is durable when this returns."""

    def left(self) -> str:
        """Return the SQL that counts what has not completed."""

    def send(self, slot: int) -> None:
        """Send the event that a receiver waits for."""

    def serve(self, probe: Probe, index: int) -> None:
        """Be a worker, for ever."""


def main(make: Callable[[str, dict[str, Any]], Peer]) -> None:
    """Measure, or be one of the workers."""
    spec = json.loads(sys.argv[1])
    peer = make(spec["dsn"], spec.get("options", {}))
    if "probe" in spec:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        peer.serve(Probe(path=spec["probe"]), spec["index"])
        return
    peer.prepare()
    answer = MEASURES[spec["question"]](peer, spec)
    print(json.dumps(answer), flush=True)
    os._exit(0)  # whatever threads the engine has


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


@contextmanager
def workers(spec: dict[str, Any], probe: Probe, count: int) -> Iterator[list[int]]:
    """Run so many workers; give their pids."""
    processes = [
        subprocess.Popen(
            [*sys.orig_argv[:-1], json.dumps({**spec, "probe": probe.path, "index": index})],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        for index in range(count)
    ]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def drain(peer: Peer, spec: dict[str, Any]) -> Answer:
    """Work on a prepared queue for so long: what others see as completed then, or steps begun."""
    count = spec["count"]
    steps = STEPS if spec["question"] == "steps" else 1
    with Probe(count * steps) as probe:
        peer.enqueue("five" if steps > 1 else "noop", range(count))
        with psycopg.connect(spec["dsn"], autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
            with workers(spec, probe, spec["workers"]) as pids:
                while probe.is_empty():
                    time.sleep(0.002)
                first = min(filter(None, probe.moments()))
                meter = Meter(spec["dsn"], pids)
                probe.wait_until(first + spec["seconds"])
                while probe.is_full() and _count(connection, peer.left()):
                    time.sleep(0.005)
                done = count - _count(connection, peer.left())
                if steps > 1:  # those of workflows in flight count too: some have hundreds
                    done = probe.marks()
                used, now = meter.read(), meter.now()
        return {
            "rate": round(done / (now - first)),
            "completed": done,
            "repeated": sum(1 for times in probe.times() if times > 1),
            **used.per(done),
        }


def _count(connection: Any, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def enqueue(peer: Peer, spec: dict[str, Any]) -> Answer:
    """Enqueue one by one, then in bulk; nobody works."""
    answer: Answer = {}
    one, many = spec["one"], spec["many"]
    for way, count in (("one", one), ("bulk", many)):
        meter = Meter(spec["dsn"], [os.getpid()])
        if way == "one":
            for slot in range(count):
                peer.enqueue_one("noop", slot)
        else:
            peer.enqueue("noop", range(one, one + count))
        used = meter.read()
        answer[way] = {"rate": round(count / used.seconds), **used.per(count)}
    return answer


def latency(peer: Peer, spec: dict[str, Any]) -> Answer:
    """Enqueue at random moments; from the call to the first line of the body."""
    count = spec["count"] + WARM
    took = []
    with Probe(count) as probe, workers(spec, probe, 1):
        peer.enqueue_one("noop", 0)
        probe.wait(0)
        time.sleep(1)
        for slot in range(1, count):
            time.sleep(random.uniform(*spec["gap"]))
            called = time.monotonic()
            peer.enqueue_one("noop", slot)
            began = probe.wait(slot)
            if slot >= WARM:
                took.append(began - called)
    return {"n": len(took), **told(took)}


def waking(peer: Peer, spec: dict[str, Any]) -> Answer:
    """How late a sleeper gets up, and how long an event takes to the body after it."""
    count, gap = spec["count"], spec["gap"]
    seconds = [random.uniform(*spec["sleep"]) for _ in range(count)]
    with Probe(2 * count) as probe, workers(spec, probe, 1):
        for slot in range(count):
            peer.enqueue_one("sleeper", [slot, seconds[slot]])
            time.sleep(random.uniform(*gap))
        late = [
            probe.wait(2 * slot + 1) - probe.wait(2 * slot) - seconds[slot] for slot in range(count)
        ]
        probe.clear()
        for slot in range(count):
            peer.enqueue_one("receiver", slot)
        for slot in range(count):
            probe.wait(2 * slot)
        time.sleep(1)
        took = []
        for slot in range(count):
            time.sleep(random.uniform(*gap))
            called = time.monotonic()
            peer.send(slot)
            took.append(probe.wait(2 * slot + 1) - called)
    return {"n": count, "sleep": told(late), "event": told(took)}


def told(seconds: Sequence[float]) -> Answer:
    """Return the percentiles of durations, in milliseconds."""
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: round(1000 * percentile(seconds, share), 2) for name, share in shares.items()}


MEASURES: dict[str, Callable[[Peer, dict[str, Any]], Answer]] = {
    "executions": drain,
    "steps": drain,
    "enqueue": enqueue,
    "latency": latency,
    "waking": waking,
}
