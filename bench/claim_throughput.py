"""How many executions can K claimers claim in a second, B at a time, and is any claimed twice?

Ours: the statement, the connection class and the decoding that a queue manager uses, on the
schema's own table. Raw: the shortest claim of a plain five-column table in bare psycopg, in the
same run on the same server, as the floor.

    python -m bench.claim_throughput [--rows 200000] [--seconds 3] [--claimers 1,2,4,8,16]
"""

import argparse
import asyncio
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from time import monotonic
from typing import Any

import psycopg

from bench.setting import conditions, database, milliseconds, note, say, schema
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.migrator import Migrator
from durable_otp.storage.queue import fetch_jobs

FILL = """
INSERT INTO "{schema}".workflow_executions
    (id, workflow, version, input, scheduled_at, inserted_at, updated_at)
SELECT gen_random_uuid(), 'noop', '1', '{{}}', now(), now(), now() FROM generate_series(1, {rows})
"""
RAW_TABLE = """
CREATE TABLE "{schema}".raw_jobs (
    id bigint PRIMARY KEY, queue text NOT NULL, status text NOT NULL, run_at timestamptz NOT NULL,
    token uuid);
CREATE INDEX raw_ready ON "{schema}".raw_jobs (queue, run_at, id) WHERE status = 'pending'
"""
RAW_FILL = """
INSERT INTO "{schema}".raw_jobs
SELECT n, 'default', 'pending', now(), NULL FROM generate_series(1, {rows}) n
"""
RAW_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id FROM "{schema}".raw_jobs
    WHERE queue = 'default' AND status = 'pending' AND run_at <= now()
    ORDER BY run_at, id LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE "{schema}".raw_jobs j SET status = 'running', token = gen_random_uuid()
FROM due WHERE j.id = due.id RETURNING j.id, j.token
"""


@dataclass(frozen=True)
class Task:
    """What one claimer does."""

    dsn: str
    schema: str
    batch: int
    seconds: float


def claim_ours(task: Task, ready: Barrier) -> tuple[list[str], list[float]]:
    """Claim as a manager does."""
    return asyncio.run(_claim_ours(task, ready))


async def _claim_ours(task: Task, ready: Barrier) -> tuple[list[str], list[float]]:
    connection = AsyncDatabase(task.dsn, task.schema, role="bench", deadline=60)
    await connection.run(fetch_jobs, "nothing here", 1, "bench", [("noop", "1")])
    claimed: list[str] = []
    took: list[float] = []
    ready.wait()
    end = monotonic() + task.seconds
    while (started := monotonic()) < end:
        claims = await connection.run(fetch_jobs, "default", task.batch, "bench", [("noop", "1")])
        took.append(monotonic() - started)
        claimed += [claim.id for claim in claims]
        if not claims:
            break
    await connection.close()
    return claimed, took


def claim_raw(task: Task, ready: Barrier) -> tuple[list[str], list[float]]:
    """Claim with as little as possible."""
    claimed: list[str] = []
    took: list[float] = []
    statement = RAW_CLAIM.format(schema=task.schema)
    with psycopg.connect(task.dsn, autocommit=True, prepare_threshold=1) as connection:
        connection.execute(statement, (0,))
        ready.wait()
        end = monotonic() + task.seconds
        while (started := monotonic()) < end:
            rows = connection.execute(statement, (task.batch,)).fetchall()
            took.append(monotonic() - started)
            claimed += [str(row[0]) for row in rows]
            if not rows:
                break
    return claimed, took


CLAIMERS: dict[str, Callable[[Task, Barrier], tuple[list[str], list[float]]]] = {
    "ours": claim_ours,
    "raw": claim_raw,
}


def _claimer(which: str, task: Task, ready: Barrier, results: Any) -> None:
    results.put(CLAIMERS[which](task, ready))


def measure(which: str, claimers: int, task: Task) -> dict[str, Any]:
    """Let so many claimers claim at once; return the rate, and how many were claimed twice."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(claimers + 1), context.Queue()
    processes = [
        context.Process(target=_claimer, args=(which, task, ready, results))
        for _ in range(claimers)
    ]
    for process in processes:
        process.start()
    ready.wait()
    started = monotonic()
    parts = [results.get() for _ in processes]
    elapsed = min(monotonic() - started, task.seconds)
    for process in processes:
        process.join()
    ids = [id_ for claimed, _ in parts for id_ in claimed]
    return {
        "bench": "claim_throughput",
        "which": which,
        "claimers": claimers,
        "batch": task.batch,
        "claimed": len(ids),
        "claims_per_s": round(len(ids) / elapsed),
        "duplicates": len(ids) - len(set(ids)),
        **milliseconds([seconds for _, took in parts for seconds in took]),
    }


def fill(dsn: str, name: str, rows: int) -> None:
    """Put the table back to so many pending rows and nothing else."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'TRUNCATE "{name}".workflow_executions CASCADE')
        connection.execute(f'TRUNCATE "{name}".raw_jobs')
        connection.execute(FILL.format(schema=name, rows=rows))
        connection.execute(RAW_FILL.format(schema=name, rows=rows))
        connection.execute(f'VACUUM ANALYZE "{name}".workflow_executions, "{name}".raw_jobs')
        connection.execute("CHECKPOINT")


def main() -> None:
    """Measure every combination and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--claimers", default="1,2,4,8,16")
    parser.add_argument("--batches", default="1,10,100")
    options = parser.parse_args()
    with database(options.dsn) as dsn, schema(dsn) as name:
        say({"bench": "conditions", **conditions(dsn), "rows": options.rows})
        Migrator(dsn, name).migrate()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(RAW_TABLE.format(schema=name))
        for claimers in (int(n) for n in options.claimers.split(",")):
            for batch in (int(n) for n in options.batches.split(",")):
                fill(dsn, name, options.rows)
                for which in ("raw", "ours"):
                    note(f"{which}: {claimers} claimers x {batch}")
                    say(measure(which, claimers, Task(dsn, name, batch, options.seconds)))


if __name__ == "__main__":
    main()
