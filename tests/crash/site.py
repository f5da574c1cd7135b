"""A real tree behind the chaos proxy, watched by a ledger, with a client that goes around both."""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from durable_otp import Durable, Runtime
from durable_otp.storage import test_clock
from durable_otp.storage.database import Database
from durable_otp.storage.migrator import Migrator
from tests.crash import troubled, workflows
from tests.crash.points import SIBLINGS
from tests.crash.scenarios import AGES, RETENTION, Scenario
from tests.support.chaos import ChaosProxy
from tests.support.ledger import Ledger, Record
from tests.support.ledger.book import kept
from tests.support.ledger.invariants_steps import Answer, answer_of
from tests.support.ledger.record import Row
from tests.support.waiting import wait_until

SETTINGS: dict[str, Any] = {
    "heartbeat_interval": 0.5,
    "stale_lock_timeout": AGES,
    "max_interruptions": 1000,
    "retention": {"completed": RETENTION},
}
OFTEN, SELDOM = 0.3, 2.0
"""How often siblings look in seconds, where they have a part in what is swept and where not."""
LOOK = 0.04
"""How often this side looks: a look costs as much as a statement of the product."""
NODE_TIMEOUT = 8.0
"""Long enough for a busy machine: a beat that is late is no death."""
LONGEST_RUN = 90.0


@dataclass(frozen=True)
class Ending:
    """What a run has left behind."""

    answers: dict[str, Answer]
    """By what the execution is in its family, so that two runs can be compared."""
    begun: Counter[str]
    """How often each body began, by the same name and its visit."""
    record: Record
    crashes: int
    interruptions: int
    seconds: float


@dataclass
class Site:
    """The tree under test and those who look at it; implements `world.World`."""

    dsn: str
    schema: str
    proxy: ChaosProxy
    ledger: Ledger
    durable: Durable
    runtime: Runtime
    clock: Database
    done: set[str] = field(default_factory=set)
    scratch: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="crash.")))
    runs: int = 0

    def advance(self, by: timedelta) -> None:
        """Move the schema's clock."""
        self.clock.run(test_clock.advance, by)

    def given(self, key: str, **more: Any) -> dict[str, Any]:
        """Return an input, with where the ledger is."""
        return {"ledger": [self.dsn, self.ledger.name], "intent": key, **more}

    def run(
        self, scenario: Scenario, until: Callable[[], bool] = lambda: True, patience: float = 0.0
    ) -> Ending:
        """Run a scenario to its end; for so long afterwards wait for a condition as well."""
        self.runs += 1
        key = f"{scenario.name}-{self.runs}"
        self.done.clear()
        mark, began = self.ledger.mark(), time.monotonic()
        self.ledger.intent(key)
        root = scenario.start(self, scenario.workflow, key)
        if not root.startswith("s-"):
            self.ledger.ack(key, root)
        self._until_ended(scenario, root, mark)
        seconds = time.monotonic() - began
        deadline = time.monotonic() + patience
        while not until() and time.monotonic() < deadline:
            time.sleep(0.02)
        if root.startswith("s-"):
            self._until_judged(root)
            self.durable.delete_schedule(root)
        return self._ending(mark, seconds)

    def _until_judged(self, schedule: str) -> None:
        """Let the scheduler see how a run has ended."""
        judged = "SELECT 1 AS n FROM {s}.schedule_slots WHERE schedule = %s AND outcome IS NULL"
        wait_until(lambda: not self.ledger.sql(judged, schedule), what="a judged run")

    def _until_ended(self, scenario: Scenario, root: str, mark: int) -> None:
        deadline = time.monotonic() + LONGEST_RUN
        while not self._has_ended(scenario, mark):
            if time.monotonic() > deadline:
                raise AssertionError(f"{scenario.name} has not ended: {self._left(mark)}")
            scenario.nudge(self, root)
            time.sleep(LOOK)

    def _has_ended(self, scenario: Scenario, mark: int) -> bool:
        (row,) = self.ledger.sql(
            "SELECT count(*) AS n, count(*) FILTER (WHERE e.completed_at IS NULL) AS open "
            "FROM {s}.workflow_executions e WHERE e.id IN (SELECT execution FROM {l}.moves "
            "WHERE n > %s AND what = 'workflow_executions' AND op = 'I')",
            mark,
        )
        if scenario.is_removed:
            return "old" in self.done and not row["n"]
        return bool(row["n"]) and not row["open"]

    def _left(self, mark: int) -> Any:
        return self.ledger.sql(
            "SELECT id, workflow, status, locked_by, scheduled_at, current_step, {s}.now() "
            "FROM {s}.workflow_executions WHERE completed_at IS NULL OR id IN "
            "(SELECT execution FROM {l}.moves WHERE n > %s)",
            mark,
        )

    def _ending(self, mark: int, seconds: float) -> Ending:
        record = self.ledger.read(mark)
        found = {str(row["id"]): row for row in record.executions}
        names = {key: _name(row, found) for key, row in found.items()}
        begun: Counter[str] = Counter()
        for effect in record.effects:
            execution, _, visit = effect["key"].partition(":")
            if effect["phase"] == "begin" and execution in names:
                begun[f"{names[execution]} {visit}"] += 1
        answers = {
            names[key]: answer_of(self.durable.get_execution(key, steps=True), OWN_KEYS)
            for key in found
        }
        blame = {
            name: sum(row[name] for row in record.executions)
            for name in ("crashes", "interruptions")
        }
        return Ending(answers, begun, record, seconds=seconds, **blame)


OWN_KEYS = frozenset({"ledger", "intent", "gate"})


def _name(row: Row, family: dict[str, Row]) -> str:
    """Return what an execution is in its family, which is the same in every run."""
    given = row["input"] if isinstance(row["input"], dict) else {}
    parent = family.get(str(row["parent_id"]))
    if parent is None:
        return f"{row['workflow']}{given.get('number', '')}"
    own = f"{row['parent_path']}:{row['parent_visit']}:{row['parent_index']}"
    called = f"{row['workflow']}{given.get('number', '')}"
    return f"{_name(parent, family)}/{called if row['parent_index'] is None else own}"


@contextmanager
def site(
    dsn: str,
    schema: str,
    commit: str = "each",
    *,
    is_quiet: bool = False,
    shutdown_timeout: float = 5.0,
    node_timeout: float = NODE_TIMEOUT,
    limits: Sequence[tuple[str, Any]] = (),
) -> Iterator[Site]:
    """Run a tree on a schema of its own, behind a proxy of its own."""
    supervisor = {"max_restarts": 1_000_000, "max_seconds": 1.0}
    supervisor["shutdown_timeout"] = shutdown_timeout
    Migrator(dsn, schema).migrate(test_clock=True)
    parts = conninfo_to_dict(dsn)
    upstream = str(parts["host"]), int(parts.get("port") or 5432)
    queue = {"concurrency": 2, "poll_interval": 0.3, "commit": commit, **dict(limits)}
    queues = {"default": queue, "slow": {**queue, "concurrency": 1}}
    looks = set(SIBLINGS) - {"registrar"}
    siblings = {key: {"interval": SELDOM if is_quiet else OFTEN} for key in looks}
    with ChaosProxy(upstream) as proxy, kept(dsn, schema) as ledger:
        runtime = Runtime(
            dsn=proxy.dsn(dsn),
            schema=schema,
            workflows=[*workflows.ALL, *troubled.ALL],
            queues=queues,
            supervisor=supervisor,
            node_timeout=node_timeout,
            **SETTINGS,
            **siblings,
        )
        clock = Database(dsn, schema, role="test clock")
        with Durable(dsn, schema=schema) as durable, runtime:
            proxy.guard(pid=runtime.pid)
            made = Site(dsn, schema, proxy, ledger, durable, runtime, clock)
            yield made
        clock.close()
        shutil.rmtree(made.scratch)
