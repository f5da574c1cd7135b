"""Breaking a client's verbs at every statement, and looking at what they leave behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from durable_otp.storage.migrator import Migrator
from tests.crash.client import ENDED_WELL, REFUSED, ClientProcess
from tests.crash.points import Counts, CrashPoint, counted, deciding, points_of
from tests.crash.sweeping import Result, was_broken
from tests.crash.verbs import VERBS, Verb
from tests.support.chaos import ChaosProxy
from tests.support.ledger import Ledger, Record
from tests.support.ledger.book import kept
from tests.support.ledger.invariants import an_end_is_final, nothing_is_lost
from tests.support.ledger.invariants_waiting import events_are_consumed_once
from tests.support.tables import Tables, migrated_tables

LOOKS = {
    "workflow_executions": "workflow, version, status, queue, priority, input, error ->> 'type', "
    "idempotency_key, parent_path, parent_index, lock_token IS NULL, retried_at IS NULL, crashes",
    "step_executions": "path, visit, attempt, status, compensation, is_compensation",
    "waits": "path, ordinal, kind, status, answer",
    "events": "name, payload, consumed_at IS NULL",
    "pending_inputs": "name, status, response",
    "scheduled_workflows": "name, workflow, cron, enabled, next_run_at IS NULL",
    "schedule_slots": "schedule, outcome, execution_id IS NULL",
    "queues": "queue, node_id, paused, concurrency",
    "fan_outs": "path, visit, total",
}
"""What two runs of a verb have in common, by table."""

ONLY = {"queues": "NOT EXISTS (SELECT FROM durable.nodes n WHERE n.id = t.node_id)"}
"""What was set for a node goes with the node: of one whose registrar was killed, stale job recovery
forgets both, in one statement, once the node's timeout has passed."""


SESSIONS = "start"


@dataclass
class VerbSite:
    """A schema without a tree, a client process that speaks to it through the proxy, a ledger."""

    tables: Tables
    proxy: ChaosProxy
    client: ClientProcess
    ledger: Ledger

    def prepared(self, verb: Verb) -> list[Any]:
        """Make the state that a verb begins in, and return its arguments."""
        Migrator(self.tables.dsn, self.tables.schema).migrate(test_clock=True)
        self.ledger.watch()
        self.tables.empty()
        return verb.prepare(self.tables)

    def state(self) -> dict[str, list[str]]:
        """Return what there is, without what differs from run to run."""
        try:
            return {
                table: sorted(
                    str(tuple(row.values()))
                    for row in self.tables.sql(
                        f"SELECT {columns} FROM durable.{table} t WHERE {ONLY.get(table, 'true')}"
                    )
                )
                for table, columns in _unnamed(LOOKS).items()
            }
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            return {"schema": [f"is not migrated: {type(error).__name__}"]}


def _unnamed(looks: dict[str, str]) -> dict[str, str]:
    """Give every column a name of its own, as a row is a dict."""
    return {
        table: ", ".join(f"{each} AS c{n}" for n, each in enumerate(columns.split(", ")))
        for table, columns in looks.items()
    }


@contextmanager
def verb_site(dsn: str, schema: str) -> Iterator[VerbSite]:
    """Make a site for verbs on a schema of its own."""
    parts = conninfo_to_dict(dsn)
    upstream = str(parts["host"]), int(parts.get("port") or 5432)
    with (
        migrated_tables(dsn, schema, test_clock=True) as tables,
        kept(dsn, schema) as ledger,
        ChaosProxy(upstream) as proxy,
        ClientProcess(proxy.dsn(dsn), schema) as client,
    ):
        proxy.guard(pid=client.pid)
        tables.connection.prepare_threshold = None  # the tables are dropped and made again
        yield VerbSite(tables, proxy, client, ledger)


@dataclass
class VerbSweep:
    """One verb: its undisturbed run, and then each of its crash points."""

    site: VerbSite
    name: str

    def __post_init__(self) -> None:
        self.verb = VERBS[self.name]
        arguments = self.site.prepared(self.verb)
        self.before = self.site.state()
        seen = int(self.site.proxy.statements(since=1 << 60)["seq"])
        self._lose_the_first()
        code, said = self.site.client.do(self.name, *arguments)
        assert code == ENDED_WELL, f"{self.name} without a fault: {code} {said}"
        self.after = self.site.state()
        statements = self.site.proxy.statements(since=seen, brief=True)["statements"]
        self.counts: Counts = counted(statements)
        self.deciding = deciding(statements)

    def points(self) -> list[CrashPoint]:
        """Return the crash points of the undisturbed run; opening a connection is one verb's."""
        if self.name != SESSIONS:
            self.counts = Counts({k: n for k, n in self.counts.items() if k[1] != "session"})
        return list(points_of(self.counts, self.verb.roles or {role for role, _ in self.counts}))

    def broken(self, point: CrashPoint, action: str) -> Result:
        """Break the verb at one point and judge what it leaves behind."""
        proxy = self.site.proxy
        proxy.disarm()
        arguments = self.site.prepared(self.verb)
        mark = self.site.ledger.mark()
        self.site.ledger.fault(action, str(point))
        self._lose_the_first()
        match = {"k": point.occurrence, "point": point.point, "match": point.match}
        rule = proxy.arm(action=action, **match)
        code, said = self.site.client.do(self.name, *arguments)
        state = proxy.rule(id=rule["id"])
        proxy.disarm()
        found = list(self._wrong(action, state, code, said))
        if self.verb.again and code != ENDED_WELL:
            found += self._again(arguments)
        record = Record() if "schema" in self.site.state() else self.site.ledger.read(mark)
        for invariant in (an_end_is_final, events_are_consumed_once, nothing_is_lost):
            found += invariant(record)
        return Result(self.name, "verb", action, point, was_broken(state), tuple(found), 0.0)

    def _lose_the_first(self) -> None:
        """Let the answer to the verb's `first` statement be lost, whatever else breaks."""
        if self.verb.first:
            match = {"name": f"^{self.verb.first}$"}
            self.site.proxy.arm(k=1, point="sent", action="reset", match=match)

    def _wrong(self, action: str, rule: dict[str, Any], code: int, said: str) -> Iterator[str]:
        if not rule["fired"]:
            return
        now = self.site.state()
        if action == "kill":
            if code >= 0 and now not in (self.before, self.after):
                yield f"it left a half: {_difference(now, self.after)}"
        elif (
            self.verb.repeats and code != ENDED_WELL and not said.startswith("DatabaseUnreachable")
        ):
            yield f"a lost connection was answered with {code}: {said}"
        if code == ENDED_WELL and now != self.after:
            yield f"it ended well and left {_difference(now, self.after)}"
        if not self.verb.again and now not in (self.before, self.after):
            yield f"it left a half: {_difference(now, self.after)}"

    def _again(self, arguments: list[Any]) -> Iterator[str]:
        """Do it again, as somebody would who does not know whether it happened."""
        code, said = self.site.client.do(self.name, *arguments)
        if code not in (ENDED_WELL, REFUSED, 1):
            yield f"doing it again ended with {code}: {said}"
        now = self.site.state()
        if now != self.after:
            yield f"done again, it left {_difference(now, self.after)} ({code} {said})"


def _difference(now: dict[str, list[str]], wanted: dict[str, list[str]]) -> str:
    tables = {table for table in now.keys() | wanted.keys() if now.get(table) != wanted.get(table)}
    return "; ".join(f"{t}: {now.get(t)} instead of {wanted.get(t)}" for t in sorted(tables))
