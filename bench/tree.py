"""A running tree under measurement: work is put there while the queue is paused, then released."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench import workload
from bench.meter import Meter, Used
from bench.probe import ENVIRONMENT, Probe
from bench.question import Setting, WrongResultError, wait_for
from durable_otp import Durable, Runtime
from durable_otp.runtime.tree_view import flatten

ROOT = Path(__file__).parents[1]
SECONDS = 2.5
SETTLE = 0.3  # until a started tree has nothing to set up any more


FILL = """
INSERT INTO "{s}".workflow_executions
    (id, workflow, version, input, scheduled_at, inserted_at, updated_at)
SELECT gen_random_uuid(), '{name}', '1', jsonb_build_object('slot', n), now(), now(), now()
FROM generate_series(0, {count} - 1) n
"""
COMPLETED = """SELECT count(*) FROM "{s}".workflow_executions WHERE status = 'completed'"""
HELD = """SELECT count(*) FROM "{s}".workflow_executions WHERE status = 'running'"""


@dataclass(frozen=True)
class Worked:
    """How much of a prepared queue was worked off.

    Attributes:
        completed: Executions that others see as completed.
        seconds: From the first body's beginning to the moment they were counted.
        used: CPU from the release to the same moment.
    """

    completed: int
    seconds: float
    used: Used


class Tree:
    """A node in a schema of its own, with its client."""

    def __init__(self, dsn: str, schema: str, workers: int, options: dict[str, Any]) -> None:
        self.dsn, self.schema = dsn, schema
        self.durable = Durable(dsn, schema=schema)
        queue = {"concurrency": workers, **options.pop("queue", {})}
        self.runtime = Runtime(
            dsn=dsn,
            schema=schema,
            workflows=["bench.workload"],
            queues={"default": queue},
            **options,
        )

    def put(self, name: str, count: int) -> None:
        """Have so many executions pending; the tables are as a vacuum leaves them."""
        self.sql(FILL.replace("{name}", name).replace("{count}", str(count)))
        self.sql('VACUUM ANALYZE "{s}".workflow_executions')
        self.sql("CHECKPOINT")

    def pause(self) -> None:
        """Have nothing claimed, by no node."""
        self.sql(
            """INSERT INTO "{s}".queues (queue, paused, updated_at) VALUES ('default', true, now())
            ON CONFLICT (queue, node_id) DO UPDATE SET paused = true"""
        )
        self.sql("SELECT pg_notify('{s}:command', '')")

    def release(self) -> None:
        """Let the queue's manager claim, now."""
        self.sql('UPDATE "{s}".queues SET paused = false')
        self.sql("SELECT pg_notify('{s}:command', '')")

    def workers(self) -> list[int]:
        """Return the pids of all workers that are up, the spare too."""
        nodes = flatten(self.runtime.tree()["tree"])
        return [int(n["pid"]) for n in nodes if n["role"] == "worker" and n["pid"] is not None]

    def left(self) -> int:
        """Return how many executions have not completed."""
        query = """SELECT count(*) FROM "{s}".workflow_executions WHERE status <> 'completed'"""
        return self.count(query)

    def count(self, query: str) -> int:
        """Return the number that a query answers."""
        return int(self.sql(query)[0][0])

    def sql(self, statement: str) -> list[Any]:
        """Run SQL written for the schema ``{s}``."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.format(s=self.schema).encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def made(setting: Setting, workers: int, probe: Probe, **options: Any) -> Iterator[Tree]:
    """Give a tree that is not started; its schema is there."""
    os.environ[ENVIRONMENT] = probe.path
    workload.probe.cache_clear()
    os.environ["PYTHONPATH"] = str(ROOT)  # the workers import bench.workload
    with setting.schema() as schema:
        tree = Tree(setting.dsn, schema, workers, options)
        try:
            tree.durable.migrate()
            yield tree
        finally:
            tree.durable.close()


@contextmanager
def running(setting: Setting, workers: int, probe: Probe, **options: Any) -> Iterator[Tree]:
    """Give a tree that is up and has nothing to do."""
    with made(setting, workers, probe, **options) as tree, tree.runtime:
        yield tree


def work_off(setting: Setting, workers: int, work: tuple[str, int, int], **options: Any) -> Worked:
    """Work for a while on so many executions of a workflow, each marking so many slots.

    Raises:
        WrongResultError: A body did not run exactly once in each completed execution, or ran in
            one that did not complete.
    """
    name, count, slots = work
    with Probe(count * slots) as probe, made(setting, workers, probe, **options) as tree:
        tree.put(name, count)
        tree.pause()
        with tree.runtime:
            time.sleep(SETTLE)
            worked = _work(setting, tree, probe, count)
            tree.pause()
            wait_for(lambda: tree.count(HELD) == 0, "the end of what was running")
        check(probe, marked=tree.count(COMPLETED) * slots)
        if not worked.completed:
            raise WrongResultError(f"no {name} of {count} completed")
        return worked


def _work(setting: Setting, tree: Tree, probe: Probe, count: int) -> Worked:
    meter = Meter(setting.dsn, [tree.runtime.pid])
    tree.release()
    wait_for(lambda: not probe.is_empty(), "the first body", every=0.002)
    first = min(filter(None, probe.moments()))
    if setting.quick:  # to the last one: nothing may be left
        wait_for(lambda: tree.left() == 0, f"{count} completed executions")
    else:
        probe.wait_until(first + SECONDS)
        if probe.is_full():
            wait_for(lambda: tree.left() == 0, f"{count} completed executions", every=0.002)
    completed, used, now = tree.count(COMPLETED), meter.read(), meter.now()
    return Worked(completed, now - first, used)


def check(probe: Probe, marked: int | None = None) -> None:
    """Raise WrongResultError unless so many bodies (None: all there are) ran exactly once."""
    times = probe.times()
    wrong = sum(1 for number in times if number > 1)
    found, wanted = sum(1 for number in times if number), len(times) if marked is None else marked
    if wrong or found != wanted:
        raise WrongResultError(f"{found} of {wanted} bodies ran, {wrong} of them more than once")
