"""The nemesis: a plan of blows, drawn from a seed, and how it is carried out.

Every kind occurs once before any occurs twice. A plan is plain JSON and can be replayed.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import psycopg

from bench.soak.nemesis import clocks, database, network, processes
from bench.soak.nemesis.field import Blow, Field, Kind

__all__ = ["KINDS", "Blow", "Field", "Kind", "Nemesis", "as_json", "from_json", "plan"]

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (*processes.KINDS, *database.KINDS, *network.KINDS, *clocks.KINDS)
}
LONGEST = 12.0


def plan(seed: str, seconds: float, kinds: list[str], every: float) -> list[Blow]:
    """Draw the blows of a cycle of so many seconds, about one ``every`` seconds."""
    chance = random.Random(seed)
    blows: list[Blow] = []
    waiting: list[str] = []
    at = every / 2
    while at < seconds:
        if not waiting:
            waiting = chance.sample(kinds, len(kinds))
        kind = KINDS[waiting.pop()]
        lasts = min(chance.uniform(kind.shortest, kind.longest), max(0.2, seconds - at))
        picks = tuple(round(chance.random(), 4) for _ in range(3))
        blows.append(Blow(round(at, 3), kind.name, round(lasts, 3), picks))
        at += chance.uniform(0.5, 1.5) * every
    return blows


def as_json(blows: list[Blow]) -> list[dict[str, Any]]:
    """Return a plan as JSON."""
    return [asdict(blow) for blow in blows]


def from_json(blows: list[dict[str, Any]]) -> list[Blow]:
    """Return a plan from JSON."""
    return [Blow(**{**blow, "picks": tuple(blow["picks"])}) for blow in blows]


class Nemesis:
    """Carries out a plan: each blow in a thread of its own, so that they may overlap."""

    def __init__(self, field: Field, tell: Callable[[str], None]) -> None:
        self._field = field
        self._tell = tell
        self._started = 0.0
        self.faults: list[dict[str, Any]] = []

    def strike(self, blows: list[Blow]) -> None:
        """Carry out a plan; return when all is mended. Blocks."""
        self._started = time.monotonic()
        threads = []
        for blow in blows:
            time.sleep(max(0.0, self._started + blow.at - time.monotonic()))
            thread = threading.Thread(target=self._strike, args=(blow,), name=blow.kind)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def _strike(self, blow: Blow) -> None:
        fault: dict[str, Any] = {"kind": blow.kind, "target": "", "began": time.time()}
        try:
            with KINDS[blow.kind].strike(self._field, blow) as target:
                fault["target"] = target
                self._say(f"{blow.kind}: {target or 'nobody is there'}")
                if target:
                    time.sleep(blow.seconds)
        except (psycopg.Error, OSError, RuntimeError) as error:
            # Another fault is in its way, such as a server that is just restarting.
            fault["hindered"] = f"{type(error).__name__}: {error}".strip()[:200]
            self._say(f"{blow.kind}: hindered by {fault['hindered']}")
        fault["ended"] = time.time()
        if blow.seconds and fault["target"]:
            self._say(f"{blow.kind}: over")
        self.faults.append(fault)

    def _say(self, text: str) -> None:
        self._tell(f"{time.monotonic() - self._started:7.1f} s  {text}")
