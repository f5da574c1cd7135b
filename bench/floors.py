"""The floors: the least that PostgreSQL and psycopg ask for, without an engine.

Jobs in one table with a lease and a token, claimed by one statement; a step row and a completion,
committed per job or per batch; a fenced checkpoint per step; INSERT and COPY; LISTEN and claim.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import psycopg
from psycopg.types.json import Jsonb

from bench.crew import Together, together
from bench.probe import Probe
from bench.question import WrongResultError

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Job: TypeAlias = tuple[int, int, Any]  # id, token, payload

STEPS = 5
TABLES = """
CREATE TABLE floor_jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue text NOT NULL DEFAULT 'default',
    status text NOT NULL DEFAULT 'pending', priority int NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL DEFAULT now(), payload jsonb NOT NULL DEFAULT '{}',
    locked_by text, locked_until timestamptz, attempt int NOT NULL DEFAULT 0,
    token bigint NOT NULL DEFAULT 0, finished_at timestamptz);
CREATE INDEX floor_jobs_ready ON floor_jobs (queue, priority DESC, run_at, id)
    WHERE status = 'pending';
CREATE INDEX floor_jobs_leased ON floor_jobs (locked_until) WHERE status = 'running';
CREATE TABLE floor_steps (
    job_id bigint NOT NULL, seq int NOT NULL, name text NOT NULL, output jsonb,
    done_at timestamptz DEFAULT now(), PRIMARY KEY (job_id, seq));
CREATE TABLE floor_executions (
    id uuid PRIMARY KEY, status text NOT NULL DEFAULT 'running', lock_token uuid, context jsonb,
    completed_at timestamptz) WITH (fillfactor = 70);
CREATE TABLE floor_checkpoints (
    execution_id uuid NOT NULL, seq int NOT NULL, step text NOT NULL, output jsonb, cursor text,
    completed_at timestamptz DEFAULT now(), PRIMARY KEY (execution_id, seq));
"""
FILL = """
INSERT INTO floor_jobs (payload)
SELECT jsonb_build_object('slot', n) FROM generate_series(0, %s - 1) n
"""
CLAIM = """
UPDATE floor_jobs SET status = 'running', locked_by = %s, locked_until = now() + interval '30 s',
    attempt = attempt + 1, token = token + 1
WHERE id IN (SELECT id FROM floor_jobs
             WHERE queue = 'default' AND status = 'pending' AND run_at <= now()
             ORDER BY priority DESC, run_at, id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id, token, payload
"""
STEP = "INSERT INTO floor_steps (job_id, seq, name, output) VALUES (%s, 1, 'only', '{}')"
STEP_MANY = """
INSERT INTO floor_steps (job_id, seq, name, output)
SELECT id, 1, 'only', '{}' FROM unnest(%s::bigint[]) AS done (id)
"""
DONE = """
UPDATE floor_jobs SET status = 'done', finished_at = now(), locked_by = NULL
WHERE id = %s AND token = %s AND status = 'running'
"""
DONE_MANY = """
UPDATE floor_jobs j SET status = 'done', finished_at = now(), locked_by = NULL
FROM unnest(%s::bigint[], %s::bigint[]) AS done (id, token)
WHERE j.id = done.id AND j.token = done.token AND j.status = 'running'
"""
CHECKPOINT = """
WITH held AS (
    SELECT FROM floor_executions WHERE id = %(id)s AND lock_token = %(id)s FOR SHARE)
INSERT INTO floor_checkpoints (execution_id, seq, step, output, cursor)
SELECT %(id)s, %(seq)s, %(step)s, %(output)s::jsonb, %(cursor)s FROM held
"""
LAST_CHECKPOINT = """
WITH held AS (
    UPDATE floor_executions SET status = 'completed', lock_token = NULL,
        context = %(output)s::jsonb, completed_at = now()
    WHERE id = %(id)s AND lock_token = %(id)s RETURNING 1)
INSERT INTO floor_checkpoints (execution_id, seq, step, output, cursor)
SELECT %(id)s, %(seq)s, %(step)s, %(output)s::jsonb, %(cursor)s FROM held
"""
OUTPUT = '{"charge_id": 12345, "ok": true}'
INSERT = "INSERT INTO floor_jobs (payload) VALUES (%s)"
INSERT_MANY = "INSERT INTO floor_jobs (payload) SELECT * FROM unnest(%s::jsonb[])"
NOTIFY = "SELECT pg_notify('floor_jobs', '')"


def connect(dsn: str) -> Connection:
    """Return a connection that commits each statement and prepares what it repeats."""
    return psycopg.connect(dsn, autocommit=True, prepare_threshold=1)


def prepare(dsn: str, jobs: int = 0) -> None:
    """Make the tables, with so many jobs, as a vacuum leaves them."""
    with connect(dsn) as connection:
        connection.execute(TABLES)
        refill(connection, jobs)


def refill(connection: Connection, jobs: int) -> None:
    """Put the tables back to so many pending jobs and nothing else."""
    connection.execute("TRUNCATE floor_jobs, floor_steps RESTART IDENTITY")
    connection.execute(FILL, (jobs,))
    connection.execute("VACUUM ANALYZE floor_jobs, floor_steps")
    connection.execute("CHECKPOINT")


def claim(connection: Connection, who: str, batch: int) -> list[Any]:
    """Claim up to so many jobs, as (id, token, payload)."""
    return connection.execute(CLAIM, (who, batch)).fetchall()


def end_each(connection: Connection, jobs: Sequence[Any]) -> None:
    """Store a step and complete, in a transaction per job; the statements travel together."""
    with connection.pipeline() as pipeline:
        for job in jobs:
            connection.execute("BEGIN")
            connection.execute(STEP, job[:1])
            connection.execute(DONE, job[:2])
            connection.execute("COMMIT")
            pipeline.sync()


def end_batch(connection: Connection, jobs: Sequence[Any]) -> None:
    """Store the steps and complete all, in one transaction."""
    ids, tokens = [job[0] for job in jobs], [job[1] for job in jobs]
    with connection.pipeline(), connection.transaction():
        connection.execute(STEP_MANY, (ids,))
        connection.execute(DONE_MANY, (ids, tokens))


def executions(
    dsn: str, workers: int, batch: int, seconds: float, end: Callable[..., None]
) -> tuple[int, Together]:
    """Run no-op jobs for so long; return how many.

    Raises:
        WrongResultError: The tables say another number.
    """

    def work(index: int, begin: Callable[[], None]) -> int:
        done = 0
        with connect(dsn) as connection:
            claim(connection, "nobody", 0)
            claim(connection, "nobody", 0)
            begin()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                jobs = claim(connection, f"worker{index}", batch)
                if not jobs:
                    break
                end(connection, jobs)
                done += len(jobs)
        return done

    outcome = together(dsn, workers, work)
    done = sum(outcome.values)
    with connect(dsn) as connection:
        found = connection.execute(
            "SELECT (SELECT count(*) FROM floor_jobs WHERE status = 'done' AND attempt = 1), "
            "(SELECT count(*) FROM floor_steps)"
        ).fetchone()
    if found != (done, done):
        raise WrongResultError(f"{done} jobs ended, but the tables say {found}")
    return done, outcome


def checkpoints(dsn: str, workers: int, count: int, seconds: float) -> tuple[int, Together]:
    """Run up to so many executions of five steps for so long, one committed statement per step.

    Returns how many executions.

    Raises:
        WrongResultError: A checkpoint is missing.
    """
    with connect(dsn) as connection:
        connection.execute("TRUNCATE floor_executions, floor_checkpoints")
        connection.execute(
            "INSERT INTO floor_executions (id, lock_token) "
            "SELECT id, id FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) ids",
            (count,),
        )
        connection.execute("ANALYZE floor_executions")
        connection.execute("CHECKPOINT")
        rows = connection.execute("SELECT id::text FROM floor_executions").fetchall()
    ids = [row[0] for row in rows]

    def work(index: int, begin: Callable[[], None]) -> int:
        done = 0
        with connect(dsn) as connection:
            begin()
            until = time.monotonic() + seconds
            for id_ in ids[index::workers]:
                _run_five(connection, id_)
                done += 1
                if time.monotonic() > until:
                    break
        return done

    outcome = together(dsn, workers, work)
    done = sum(outcome.values)
    with connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM floor_checkpoints").fetchone()
    if row != (done * STEPS,):
        raise WrongResultError(f"{row} checkpoints, not {done * STEPS}")
    return done, outcome


def _run_five(connection: Connection, id_: str) -> None:
    for seq in range(STEPS):
        last = seq == STEPS - 1
        given = {
            "id": id_,
            "seq": seq,
            "step": f"step{seq}",
            "output": OUTPUT,
            "cursor": None if last else f"step{seq + 1}",
        }
        connection.execute(LAST_CHECKPOINT if last else CHECKPOINT, given, prepare=True)


def payloads(count: int) -> Iterator[Jsonb]:
    """Return the payloads of so many jobs."""
    return (Jsonb({"slot": number}) for number in range(count))


def insert_each(connection: Connection, count: int, *, notify: bool) -> None:
    """Enqueue one after another, each committed; with a NOTIFY in the same transaction."""
    for payload in payloads(count):
        insert_one(connection, payload, notify=notify)


def insert_one(connection: Connection, payload: Jsonb, *, notify: bool) -> None:
    """Enqueue one job, committed when this returns."""
    if not notify:
        connection.execute(INSERT, (payload,))
        return
    with connection.pipeline():  # one round trip and one transaction
        connection.execute(INSERT, (payload,))
        connection.execute(NOTIFY)


def insert_many(connection: Connection, count: int) -> None:
    """Enqueue in one statement per 1,000."""
    for first in range(0, count, 1000):
        chunk = [Jsonb({"slot": number}) for number in range(first, min(first + 1000, count))]
        connection.execute(INSERT_MANY, (chunk,))


def copy(connection: Connection, count: int) -> None:
    """Enqueue all in one COPY."""
    with connection.cursor().copy("COPY floor_jobs (payload) FROM STDIN") as sink:
        for payload in payloads(count):
            sink.write_row((payload,))


def listen(dsn: str, probe_path: str) -> None:
    """Claim when notified and mark each job's slot, for ever: a worker with nothing around it."""
    probe = Probe(path=probe_path)
    with connect(dsn) as connection, connect(dsn) as listening:
        listening.execute("LISTEN floor_jobs")
        while True:
            while jobs := claim(connection, "listener", 10):
                for _, _, payload in jobs:
                    probe.mark(payload["slot"])
                end_batch(connection, jobs)
            for _ in listening.notifies(timeout=5, stop_after=1):
                pass
