"""A running tree with its client and its ledger, as the acceptance tests look at it.

``STILL`` sets every timer to an hour: what happens then was caused by an event and by nothing else.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row

from durable_otp import Durable, Runtime, Workflow
from durable_otp.client.handle import Handle
from durable_otp.runtime.tree_view import flatten
from durable_otp.storage.migrator import Migrator
from durable_otp.workflow.execution import Execution, StepExecution
from tests.support.roles import role
from tests.support.sink import given
from tests.support.waiting import wait_until

HOUR = 3600.0
AS_ROLE = "DURABLE_TEST_AS_ROLE"
STILL: dict[str, Any] = {
    "heartbeat_interval": HOUR,
    "stale_lock_timeout": 4 * HOUR,
    "node_timeout": HOUR,
    "connection_idle_timeout": HOUR,
    "stale_job_recovery": {"interval": HOUR},
    "zombie_recovery": {"interval": HOUR},
    "sleep_waker": {"interval": HOUR},
    "scheduler": {"interval": HOUR},
    "wait_timeouts": {"interval": HOUR},
    "pruner": {"interval": HOUR},
}


def still_queue(concurrency: int = 2, **options: Any) -> dict[str, Any]:
    """Return a queue's section that never polls."""
    return {"concurrency": concurrency, "poll_interval": HOUR, **options}


@dataclass
class Tree:
    """A node under test."""

    dsn: str
    schema: str
    runtime: Runtime
    durable: Durable
    workflows: dict[str, Workflow] = field(default_factory=dict)

    # work

    def start(
        self, workflow: str = "sink", /, *, queue: str | None = None, **actions: Any
    ) -> Handle:
        """Start an execution of a sink workflow."""
        return self.durable.start(
            self.workflows[workflow], given(self.dsn, self.schema, **actions), queue=queue
        )

    def own(self, handle: Handle) -> Handle:
        """Return another tree's handle as one of this tree's client."""
        return Handle(handle.id, self.durable)

    def sql(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run SQL written for the schema ``{s}``."""
        with psycopg.connect(self.dsn, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.format(s=self.schema).encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def ledger(self, execution_id: str | None = None, what: str = "begun") -> list[dict[str, Any]]:
        """Return the lines that bodies wrote, in order."""
        return self.sql(
            "SELECT * FROM {s}.ledger WHERE what LIKE %s AND (%s::uuid IS NULL "
            "OR execution_id = %s::uuid) ORDER BY id",
            what,
            execution_id,
            execution_id,
        )

    def bodies(self, handle: Handle) -> list[tuple[str, int]]:
        """Return which bodies of an execution ran, as (step, attempt)."""
        return [(line["step"], line["attempt"]) for line in self.ledger(handle.id)]

    def pid_in(self, handle: Handle, step: str = "one", runs: int = 1) -> int:
        """Return the pid of the worker whose body of a step has begun for the n-th time."""

        def begun() -> list[dict[str, Any]]:
            lines = [line for line in self.ledger(handle.id) if line["step"] == step]
            return lines[runs - 1 :]

        return int(wait_until(begun, what=f"body of {step}")[0]["pid"])

    def recorded(self, handle: Handle) -> list[StepExecution]:
        """Return the attempts of an execution that have ended: one that runs is shown as well."""
        return [step for step in handle.execution().steps if step.status != "running"]

    def until(self, handle: Handle, *statuses: str, timeout: float = 30.0) -> Execution:
        """Wait until an execution has one of these statuses."""
        wait_until(lambda: handle.status() in statuses, timeout=timeout, what=str(statuses))
        return handle.execution()

    # processes

    def nodes(self) -> list[dict[str, Any]]:
        """Return every node of the tree, flat."""
        return list(flatten(self.runtime.tree()["tree"]))

    def manager(self, queue: str = "default") -> dict[str, Any]:
        """Return a queue manager's node."""
        return next(node for node in self.nodes() if node.get("queue") == queue)

    def workers(self, queue: str = "default") -> list[dict[str, Any]]:
        """Return a queue's workers."""
        return list(self.manager(queue)["children"])

    def idle(self, queue: str = "default") -> list[int]:
        """Return the pids of ready workers with nothing to do."""
        return [
            worker["pid"]
            for worker in self.workers(queue)
            if worker["status"] == "up" and worker["execution_id"] is None
        ]

    def kill_one_idle(self) -> int:
        """Kill a worker that waits for work, and return its pid.

        What the tree shows may be a moment old, so that a pid may be gone when it is read.
        """

        def killed() -> int | None:
            for pid in self.idle():
                with suppress(ProcessLookupError):
                    kill(pid)
                    return pid
            return None

        return wait_until(killed, what="an idle worker to kill") or 0

    def child(self, child_id: str) -> dict[str, Any]:
        """Return a child of the root."""
        return next(node for node in self.nodes() if node["id"] == child_id)

    def replaced(self, child_id: str, pid: int) -> dict[str, Any]:
        """Wait until a child of the root runs under another pid than this one."""

        def other() -> dict[str, Any] | None:
            node = self.child(child_id)
            return node if node["status"] == "up" and node["pid"] not in (None, pid) else None

        found: Any = wait_until(other, what=f"another {child_id}")
        return dict(found)

    def pids(self) -> set[int]:
        """Return every process of the tree, what steps started included."""
        root = psutil.Process(self.runtime.pid)
        return {root.pid, *(process.pid for process in root.children(recursive=True))}


@contextmanager
def running(
    dsn: str,
    schema: str,
    *workflows: Workflow,
    queues: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Tree]:
    """Run a tree on a schema; ``settings`` are those of `Runtime`."""
    prepare(dsn, schema)
    queues = {"default": 2} if queues is None else queues
    codec = settings.get("codec")
    with _node_role(dsn, schema) as own_dsn, Durable(dsn, schema=schema, codec=codec) as durable:
        runtime = Runtime(
            dsn=own_dsn, schema=schema, workflows=list(workflows), queues=queues, **settings
        )
        with runtime:
            known = {workflow.name: workflow for workflow in workflows}
            yield Tree(dsn, schema, runtime, durable, known)


def _node_role(dsn: str, schema: str) -> AbstractContextManager[str]:
    """Give the DSN for the tree: with DURABLE_TEST_AS_ROLE, that of a role without DDL."""
    if AS_ROLE not in os.environ:
        return nullcontext(dsn)
    return role(dsn, schema, "runtime")


def prepare(dsn: str, schema: str) -> None:
    """Migrate a schema and make its ledger."""
    Migrator(dsn, schema).migrate()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET client_min_messages = error")
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {schema}.ledger (id bigserial PRIMARY KEY, "
            "execution_id uuid, step text, attempt integer, pid integer, what text, "
            "at timestamptz DEFAULT clock_timestamp())".encode()
        )


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal one process."""
    os.kill(pid, number)


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def all_gone(pids: set[int]) -> bool:
    """Return whether none of these processes is left."""
    return all(is_gone(pid) for pid in pids)


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@contextmanager
def locked_row(tree: Tree, execution_id: str) -> Iterator[None]:
    """Hold an execution's row, so that whoever writes under its claim has to wait."""
    with psycopg.connect(tree.dsn) as connection:
        connection.execute(
            f"SELECT FROM {tree.schema}.workflow_executions WHERE id = %s FOR UPDATE".encode(),
            [execution_id],
        )
        yield


def blocked(tree: Tree, statement: str = "", role: str = "") -> list[dict[str, Any]]:
    """Return the sessions of this schema's processes that wait for a lock in a statement."""
    return tree.sql(
        "SELECT pid, application_name, query FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND query LIKE %s AND query LIKE %s AND application_name LIKE %s",
        f"/* {statement}%",
        f"%{tree.schema}%",
        f"durable:{role}%",
    )


@contextmanager
def paused(tree: Tree, queue: str = "default") -> Iterator[None]:
    """Have nothing claimed from a queue meanwhile."""
    tree.runtime.pause(queue)
    try:
        yield
    finally:
        tree.runtime.resume(queue)
