"""A running tree under measurement: work is put there while the queue is paused, then released."""

import os
from collections.abc import Iterator, Sequence
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


@dataclass(frozen=True)
class Drained:
    """How a prepared queue was worked off.

    Attributes:
        seconds: From the first body's beginning to the last completion that others can see.
        used: CPU from the release to the same end.
    """

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

    def put(self, name: str, inputs: Sequence[dict[str, Any]]) -> None:
        """Start executions; before anything runs, the tables are as a vacuum leaves them."""
        self.durable.start_many(workload.WORKFLOWS[name], inputs)
        self.sql('VACUUM ANALYZE "{s}".workflow_executions')
        self.sql("CHECKPOINT")

    def pause(self) -> None:
        """Have nothing claimed, by no node."""
        self.sql(
            """INSERT INTO "{s}".queues (queue, paused, updated_at) VALUES ('default', true, now())
            ON CONFLICT DO NOTHING"""
        )

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


def drain(setting: Setting, workers: int, work: tuple[str, int, int], **options: Any) -> Drained:
    """Work off so many executions of a workflow, each marking so many slots of the probe.

    Raises:
        WrongResultError: An execution did not complete, or a body did not run exactly once.
    """
    name, count, slots = work
    with Probe(count * slots) as probe, made(setting, workers, probe, **options) as tree:
        tree.put(name, [{"slot": number} for number in range(count)])
        tree.pause()
        with tree.runtime:
            meter = Meter(setting.dsn, [tree.runtime.pid])
            tree.release()
            _until_all_began(probe)
            wait_for(lambda: tree.left() == 0, f"{count} completed executions", every=0.005)
            used, ended = meter.read(), meter.now()
        check(probe)
        return Drained(ended - min(probe.moments()), used)


def check(probe: Probe) -> None:
    """Raise WrongResultError unless every body ran exactly once."""
    wrong = [slot for slot, times in enumerate(probe.times()) if times != 1]
    if wrong:
        raise WrongResultError(
            f"{len(wrong)} bodies did not run exactly once, the first is {wrong[0]}"
        )


def _until_all_began(probe: Probe) -> None:
    try:
        probe.wait_all(timeout=180)
    except TimeoutError as error:
        raise WrongResultError(str(error)) from None
