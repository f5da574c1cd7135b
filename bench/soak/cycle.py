"""The run: chaos, then calm until nothing is left to do, then the judgement; and again."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench.question import WrongResultError, wait_for
from bench.soak import nemesis
from bench.soak.judge import Verdict, judge
from bench.soak.nemesis import KINDS, Blow, Field, Nemesis
from bench.soak.nodes import MARK, ROOT, Node, left_over
from bench.soak.server import Server
from bench.soak.workflows import BOOK, DSN, LEDGER, PLACE, remove_memory_groups
from durable_otp import Durable
from durable_otp.clock import Deadline
from tests.support.chaos import ChaosProxy
from tests.support.ledger import Ledger
from tests.support.ledger.invariants_claims import refused_writes
from tests.support.ledger.invariants_outside import no_process_is_left, restarts_have_reasons

SCHEMA = "soak"
STILL_SECONDS = 90.0
"""Liveness: when nothing is broken, something ends within this time, until all have. It is not a
limit for the whole, which is a matter of how many there are and of what else the machine does."""
PATIENCE = 900.0
"""Seconds for the load to be told of all that it has asked for, after the last fault."""
LOOK_EVERY = 0.1
UNENDED = "SELECT count(*) AS n FROM {s}.workflow_executions WHERE completed_at IS NULL"


@dataclass(frozen=True)
class Plan:
    """What to do: from a seed, or from a report of an earlier run."""

    seed: str
    seconds: float
    cycle_seconds: float
    per_minute: float
    every: float
    kinds: str = ""
    blows: list[list[Blow]] | None = None


@dataclass
class Outcome:
    """What came of a run."""

    plan: Plan
    conditions: dict[str, Any]
    verdict: Verdict = field(default_factory=Verdict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    blows: list[list[Blow]] = field(default_factory=list)
    load: dict[str, int] = field(default_factory=dict)
    calm: list[float] = field(default_factory=list)
    restarts: dict[str, int] = field(default_factory=dict)


class Soak:
    """A server, two nodes, their proxies and a ledger, under a nemesis."""

    def __init__(self, plan: Plan, directory: Path, mark: str) -> None:
        self.plan, self._directory, self._mark = plan, directory, mark
        self._server = Server(directory, plan.seconds)
        self._marks = directory / "marks"
        self._marks.mkdir()
        self._environment = os.environ | {
            DSN: self._server.dsn,
            LEDGER: f"{SCHEMA}_ledger",
            PLACE: str(self._marks),
            MARK: mark,
            "PYTHONPATH": str(ROOT),
        }
        names = [f"soak-{mark}-{letter}" for letter in "ab"]
        self._nodes = [
            Node(names[0], directory, self._environment),
            Node(names[1], directory, self._environment, can_move_clock=True),
        ]
        self._slowness = _slowness()
        self._seen = [0, 0, 0]
        self._over = threading.Event()

    def run(self) -> Outcome:
        """Run every cycle; blocks."""
        outcome = Outcome(self.plan, self._conditions())
        with ExitStack() as stack:
            stack.callback(self._server.remove)
            with Durable(self._server.dsn, schema=SCHEMA) as durable:
                durable.migrate()
            ledger = Ledger(self._server.dsn, SCHEMA)
            ledger.install()
            ledger.sql(BOOK)
            ledger.close()
            upstream = ("127.0.0.1", self._server.port)
            proxies = [stack.enter_context(ChaosProxy(upstream)) for _ in range(3)]
            for node, proxy in zip(self._nodes, proxies, strict=False):
                node.configure(proxy.dsn(self._server.dsn), SCHEMA, self._slowness)
            place = Field(self._server, self._nodes, proxies, SCHEMA)
            stack.enter_context(self._kept_up())
            stack.callback(self._end_nodes)
            for node in self._nodes:
                node.wait_until_up()
            lacking = {name: kind.lacks(place) for name, kind in KINDS.items()}
            outcome.missing = {name: why for name, why in lacking.items() if why}
            for number, seconds in enumerate(self._cycles()):
                self._cycle(outcome, place, number, seconds)
            self._stop(outcome, place)
        return outcome

    def _cycles(self) -> Iterator[float]:
        left = self.plan.seconds
        while left > 1:
            yield min(left, self.plan.cycle_seconds)
            left -= self.plan.cycle_seconds

    def _cycle(self, outcome: Outcome, place: Field, number: int, seconds: float) -> None:
        plan, seed = self.plan, f"{self.plan.seed}-{number}"
        kinds = [n for n in KINDS if n not in outcome.missing and plan.kinds in n]
        blows = nemesis.plan(seed, seconds, kinds, plan.every)
        if plan.blows is not None:
            blows = plan.blows[number]
        outcome.blows.append(blows)
        ledger = Ledger(self._server.dsn, SCHEMA)
        since = ledger.mark()
        ledger.close()
        load = self._start_load(place.proxies[2].dsn(self._server.dsn), seed, seconds)
        striking = Nemesis(place, _tell)
        striking.strike(blows)
        load_said, _ = load.communicate(timeout=seconds + PATIENCE)
        self._calm(outcome, load_said)
        _tell(f"cycle {number + 1}: {len(striking.faults)} faults, calm in {outcome.calm[-1]} s")
        ledger = Ledger(self._server.dsn, SCHEMA)
        for fault in striking.faults:
            ledger.fault(fault["kind"], fault["target"])
        verdict = judge(ledger, since, self._server.dsn, place.killed)
        ledger.close()
        verdict.refused = self._refused(place)
        if load.returncode:
            verdict.violations.append(f"the load ended with {load.returncode}")
        for each in verdict.violations:
            _tell(each)
        outcome.verdict.add(verdict)
        outcome.faults += striking.faults

    def _refused(self, place: Field) -> int:
        """Return how many fenced writes the proxies saw refused since the last look."""
        refused = 0
        for number, proxy in enumerate(place.proxies):
            seen = proxy.statements(since=self._seen[number], brief=True)
            self._seen[number] = seen["seq"]
            refused += refused_writes(seen["statements"])
        return refused

    def _start_load(self, dsn: str, seed: str, seconds: float) -> subprocess.Popen[str]:
        given = {"dsn": dsn, "schema": SCHEMA, "seed": seed, "seconds": seconds}
        words = [f"--{name}={value}" for name, value in given.items()]
        words.append(f"--per-minute={self.plan.per_minute}")
        return subprocess.Popen(
            [sys.executable, "-m", "bench.soak.load", *words],
            cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _calm(self, outcome: Outcome, load_said: str) -> None:
        """Wait, without faults, until every execution has ended."""
        began = time.monotonic()
        self._server.wait()
        with psycopg.connect(self._server.dsn, autocommit=True) as connection:
            left = _wait_while_any_ends(connection)
        if left:
            outcome.verdict.violations.append(
                f"I-12 {left} executions have not ended, and none did for {STILL_SECONDS:.0f} s"
            )
        outcome.calm.append(round(time.monotonic() - began, 1))
        for name, count in json.loads(load_said or "{}").items():
            outcome.load[name] = outcome.load.get(name, 0) + count

    @contextmanager
    def _kept_up(self) -> Iterator[None]:
        """Restart what has died, as a service manager does."""
        keeper = threading.Thread(target=self._keep_up, name="keeper")
        keeper.start()
        try:
            yield
        finally:
            self._over.set()
            keeper.join()

    def _keep_up(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            self._server.keep_up()
            for node in self._nodes:
                node.keep_up()

    def _stop(self, outcome: Outcome, place: Field) -> None:
        """I-17, I-18 and I-27: the nodes stop in order, and what had to be restarted was killed."""
        for node in self._nodes:
            code = node.stop()
            if code != 0:
                outcome.verdict.violations.append(f"I-27 node {node.name} ended with {code}")
            outcome.verdict.violations += restarts_have_reasons(node.log, place.killed)
        outcome.verdict.violations += self._left()
        outcome.restarts = {node.name[-1]: node.restarts for node in self._nodes}
        outcome.restarts["postgresql, died"] = self._server.restarts

    def _left(self) -> list[str]:
        try:
            wait_for(lambda: not left_over(self._mark), "the end", timeout=20)
        except WrongResultError:
            return no_process_is_left(left_over(self._mark))
        return []

    def _end_nodes(self) -> None:
        self._over.set()
        remove_memory_groups()
        for node in self._nodes:
            _tell(f"stopping {node.name}: {node.stop()}")

    def _conditions(self) -> dict[str, Any]:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        )
        return {
            "PostgreSQL": self._server.version,
            "commit": described.stdout.strip(),
            "cores": os.cpu_count(),
            "load before": round(os.getloadavg()[0], 1),
            "nodes' timeouts times": self._slowness,
            "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        }


def _slowness() -> float:
    """Return how many times longer than usual processes wait for a core: 1 where they need not."""
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return round(min(10.0, max(1.0, waiting / 2)), 1)


def _wait_while_any_ends(connection: "psycopg.Connection[Any]") -> int:
    """Return how many executions are left, once there is none or none ends any more."""
    left, still = -1, Deadline(STILL_SECONDS)
    while left != 0 and not still.passed:
        (found,) = connection.execute(UNENDED.format(s=SCHEMA).encode()).fetchone() or (0,)
        if found != left:
            left, still = found, Deadline(STILL_SECONDS)
        time.sleep(LOOK_EVERY)
    return left


def soak(plan: Plan) -> Outcome:
    """Run a plan in a directory of its own; blocks."""
    mark = uuid.uuid4().hex[:8]
    with tempfile.TemporaryDirectory(prefix="durable-soak-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        try:
            outcome = Soak(plan, directory, mark).run()
        except BaseException:
            _keep_logs(directory, mark)
            raise
        if outcome.verdict.violations:
            (directory / "stories.log").write_text("\n".join(outcome.verdict.stories))
            _keep_logs(directory, mark)
        return outcome


def _keep_logs(directory: Path, mark: str) -> None:
    kept = Path(tempfile.gettempdir()) / f"durable-soak-failed-{mark}"
    kept.mkdir()
    for log in directory.glob("*.log"):
        shutil.copy(log, kept / log.name)
    _tell(f"the logs are in {kept}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
