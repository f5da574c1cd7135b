"""This suite's side of the peers: which can answer what, at which settings, and asking them.

The settings are those that their documentation offers and that were fastest on two cores.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench.question import Row, Setting

ROOT = Path(__file__).parents[2]
TIMEOUT = 150
FEW = 20
SECONDS = 3


@dataclass(frozen=True)
class Variant:
    """A peer at settings.

    Attributes:
        peer: Its module, here and there.
        told: The settings, for the tables.
        options: The settings, by the peer's names.
        workers: How many processes.
        count: How many units to measure with.
    """

    peer: str
    told: str = "defaults"
    options: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    count: int = 0


DBOS_EAGER = {"worker_concurrency": 200, "polling_interval_sec": 0.05}
DBOS_STEPS = {"worker_concurrency": 50, "polling_interval_sec": 0.05}
VARIANTS: dict[str, tuple[Variant, ...]] = {
    "executions": (
        Variant("dbos", "2 processes, 200 each, poll 50 ms", DBOS_EAGER, 2, 4_000),
        Variant("procrastinate", "4 processes, concurrency 30", {"concurrency": 30}, 4, 2_500),
        Variant("pgqueuer", "2 processes, default batch (10)", {}, 2, 20_000),
        Variant("pgqueuer", "2 processes, batch 500", {"batch_size": 500}, 2, 80_000),
    ),
    "steps": tuple(
        Variant("dbos", f"{n} processes, 50 each, poll 50 ms", DBOS_STEPS, n, 300) for n in (2, 4)
    ),
    "enqueue": (Variant("dbos"), Variant("procrastinate"), Variant("pgqueuer")),
    "latency": (
        Variant("pgqueuer"),
        Variant("procrastinate"),
        Variant("dbos", "poll 50 ms", {"polling_interval_sec": 0.05}),
    ),
    "waking": (Variant("dbos"),),
}


def asked(setting: Setting, question: str, **spec: Any) -> Iterator[Row]:
    """Ask every peer that is installed; a peer that fails is a row with the error."""
    for variant in VARIANTS[question] if setting.peers else ():
        if not _installed(setting.peers, variant.peer):
            continue
        setting.progress(f"{variant.peer}: {variant.told}")
        whole = {
            "question": question,
            "options": variant.options,
            "workers": variant.workers,
            "count": min(variant.count, FEW) if setting.quick else variant.count,
            "seconds": setting.size(SECONDS, 1),
        } | spec
        with setting.database(f"peer_{variant.peer}") as dsn:
            answer = _ask(setting, variant.peer, {**whole, "dsn": dsn})
        yield {"which": variant.peer, "told": variant.told, "workers": variant.workers, **answer}


@cache
def _installed(python: Path, name: str) -> bool:
    tried = [str(python), "-c", f"import {name}"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def _ask(setting: Setting, name: str, spec: dict[str, Any]) -> Row:
    command = [str(setting.peers), "-m", f"bench.peers.{name}", json.dumps(spec)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT, check=True
        )
        answer: Row = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {TIMEOUT} s"}
    except subprocess.CalledProcessError as error:
        return {"error": error.stderr.strip()[-300:]}
    return answer
