"""How many executions can K claimers claim in a second, B at a time, and is any claimed twice?

Ours: the statement, the connection class and the decoding that a queue manager uses, on the
schema's own table. Raw: the shortest claim of a plain table of jobs in bare psycopg.
Each pair gets a copy of one prepared database, so that all begin alike.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bench import figures, floors, summary, workload
from bench.crew import together
from bench.question import Question, Row, Rows, Setting, Table, WrongResultError
from durable_otp import Durable
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.migrator import Migrator
from durable_otp.storage.queue import fetch_jobs

SCHEMA = "durable"
KNOWN = [("noop", "1")]
PAIRS = 10
SECONDS = 1.2
PAIRED = ((4, 100), (16, 100))


def run(setting: Setting) -> Iterator[Row]:
    """Measure every cell once per pass, then the chosen ones in ten pairs."""
    rows = setting.size(200_000, 500)
    claimers = (2,) if setting.quick else (1, 2, 4, 8, 16)
    batches = (10,) if setting.quick else (1, 10, 100)
    with setting.database("claims") as template:
        prepare(template, rows)
        copies = Copies(setting.dsn, template)
        for repetition in setting.passes():
            for cell in itertools.product(claimers, batches):
                if cell not in PAIRED:
                    yield from _pair(setting, copies, cell, repetition)
        for repetition in range(0 if setting.quick else PAIRS):
            for cell in PAIRED:
                yield from _pair(setting, copies, cell, repetition)


def prepare(dsn: str, rows: int) -> None:
    """Fill ours and raw with so many due rows."""
    Migrator(dsn, SCHEMA).migrate()
    floors.prepare(dsn, rows)
    fill(dsn, rows)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def fill(dsn: str, rows: int) -> None:
    """Start so many executions as a client does: in the order of their ids and of time."""
    with Durable(dsn, schema=SCHEMA) as durable:
        durable.start_many(workload.noop, [{"slot": slot} for slot in range(rows)])


class Copies:
    """Copies of a database, made file by file."""

    def __init__(self, dsn: str, template: str) -> None:
        self._dsn = dsn
        self._template = conninfo_to_dict(template)["dbname"]
        self._place = template
        self._name = f"{self._template}_copy"

    @contextmanager
    def one(self) -> Iterator[str]:
        """Give the DSN of a fresh copy."""
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            strategy = " STRATEGY file_copy" if connection.info.server_version >= 150000 else ""
            connection.execute(
                f'CREATE DATABASE "{self._name}" TEMPLATE "{self._template}"{strategy}'.encode()
            )
            connection.execute("CHECKPOINT")
            try:
                yield self._place.replace(f"/{self._template}", f"/{self._name}", 1)
            finally:
                connection.execute(f'DROP DATABASE "{self._name}" WITH (FORCE)'.encode())


def _pair(
    setting: Setting, copies: Copies, cell: tuple[int, int], repetition: int
) -> Iterator[Row]:
    k, b = cell
    # whoever is first finds the machine as the one before left it: take turns
    order = ("raw", "ours") if repetition % 2 == 0 else ("ours", "raw")
    with copies.one() as dsn:  # each has a table of its own there
        for which in order:
            setting.progress(f"{which}: {k} claimers x {b}")
            measured = _measure(which, dsn, k, b)
            yield {"which": which, "claimers": k, "batch": b, **measured, "repetition": repetition}


def _measure(which: str, dsn: str, claimers: int, batch: int) -> Row:
    claim = {"ours": _claim_ours, "raw": _claim_raw}[which]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    outcome = together(dsn, claimers, lambda index, begin: claim(dsn, batch, index, begin))
    ids = [id_ for claimed, _ in outcome.values for id_ in claimed]
    took = [seconds for _, durations in outcome.values for seconds in durations]
    _hold_against_the_table(which, dsn, len(ids))
    if len(ids) != len(set(ids)):
        raise WrongResultError(f"{which} claimed {len(ids) - len(set(ids))} rows twice")
    return {
        "claimed": len(ids),
        "duplicates": 0,
        "rate": round(len(ids) / outcome.used.seconds),
        "p50_ms": round(1000 * summary.percentile(took, 0.5), 2),
        "p99_ms": round(1000 * summary.percentile(took, 0.99), 2),
        **outcome.used.per(len(ids)),
    }


def _hold_against_the_table(which: str, dsn: str, claimed: int) -> None:
    table = {"ours": '"durable".workflow_executions', "raw": "floor_jobs"}[which]
    query = f"SELECT count(*) FROM {table} WHERE status = 'running'"
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    if row != (claimed,):
        raise WrongResultError(f"{which} claimed {claimed} rows, but the table says {row}")


def _claim_ours(
    dsn: str, batch: int, index: int, begin: Callable[[], None]
) -> tuple[list[str], list[float]]:
    return asyncio.run(_claim_as_a_manager(dsn, batch, f"bench-{index}", begin))


async def _claim_as_a_manager(
    dsn: str, batch: int, manager: str, begin: Callable[[], None]
) -> tuple[list[str], list[float]]:
    connection = AsyncDatabase(dsn, SCHEMA, role="bench", deadline=60)
    claimed: list[str] = []
    took: list[float] = []
    await connection.run(fetch_jobs, "nothing here", 1, manager, KNOWN)
    begin()
    end = monotonic() + SECONDS
    while (started := monotonic()) < end:
        claims = await connection.run(fetch_jobs, "default", batch, manager, KNOWN)
        took.append(monotonic() - started)
        claimed += [claim.id for claim in claims]
        if not claims:
            break
    await connection.close()
    return claimed, took


def _claim_raw(
    dsn: str, batch: int, index: int, begin: Callable[[], None]
) -> tuple[list[str], list[float]]:
    who = f"bench-{index}"
    claimed: list[str] = []
    took: list[float] = []
    with floors.connect(dsn) as connection:
        floors.claim(connection, who, 0)
        floors.claim(connection, who, 0)
        begin()
        end = monotonic() + SECONDS
        while (started := monotonic()) < end:
            jobs = floors.claim(connection, who, batch)
            took.append(monotonic() - started)
            claimed += [str(job[0]) for job in jobs]
            if not jobs:
                break
    return claimed, took


def tables(rows: Rows) -> list[Table]:
    """Tell every cell."""
    head = (
        "claimers",
        "batch",
        "pairs",
        "raw claims/s",
        "ours claims/s",
        "ours / raw",
        "ours p50 / p99 ms",
        "client ms, raw / ours",
        "server ms, raw / ours",
    )
    cells = sorted(summary.distinct(rows, "claimers", "batch"))
    told = "No row was claimed twice in any of them. Pairs are measured one right after the other."
    return [Table(head, [_line(rows, k, b) for k, b in cells], told)]


def _line(rows: Rows, k: int, b: int) -> list[str]:
    raw = summary.where(rows, which="raw", claimers=k, batch=b)
    ours = summary.where(rows, which="ours", claimers=k, batch=b)
    return [
        str(k),
        str(b),
        str(len(ours)),
        summary.told(raw, "rate"),
        summary.told(ours, "rate"),
        summary.spread(summary.ratio(ours, raw, "rate")),
        f"{summary.middle(ours, 'p50_ms')} / {summary.middle(ours, 'p99_ms')}",
        f"{summary.middle(raw, 'client_ms')} / {summary.middle(ours, 'client_ms')}",
        f"{summary.middle(raw, 'server_ms')} / {summary.middle(ours, 'server_ms')}",
    ]


def picture(rows: Rows, figure: Any) -> None:
    """Draw the rate over the claimers, a panel for each batch."""
    figures.lines(
        figure,
        sorted(rows, key=lambda row: row["batch"]),
        panels=("batch", "{} at a time"),
        x=("claimers", "claimers"),
        y=("rate", "claims/s"),
        series="which",
    )


QUESTION = Question(
    name="claims",
    title="How many executions can be claimed?",
    about="K processes claim B at a time from 200,000 due rows for 1.2 s. Ours is the statement, "
    "the connection and the decoding that a queue manager uses; raw is one UPDATE ... "
    "RETURNING of a plain table of jobs with a lease and a token, in bare psycopg. Each "
    "pair has a fresh copy of the same database. A unit is one claimed row.",
    run=run,
    tables=tables,
    picture=picture,
)
