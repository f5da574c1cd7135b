"""What becomes of claims when hundreds of nodes claim from one queue of one database?

Every claimer is a connection of its own that executes the statement of a queue manager and decodes
its rows; a few processes hold them all, for what is asked is what PostgreSQL makes of the crowd.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import psycopg

from bench import claims, figures, summary
from bench.crew import together
from bench.question import Question, Row, Rows, Setting, Table, WrongResultError
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.migrator import Migrator
from durable_otp.storage.queue import fetch_jobs

CLAIMERS = (10, 50, 100, 200, 400)
BATCH = 10
ROWS = 120_000
SECONDS = 4.0
PROCESSES = 2
KEPT_FREE = 20
"""Connections of the server that are left to others."""
PACES = {"at once": 0.0, "after 1 s": 1.0}
"""How long a claimer rests after each claim, as one whose workers run what was claimed."""

Claimed = tuple[int, list[str], list[float]]
"""One claimer's number, the ids it was given, and how long each claim took in seconds."""


def run(setting: Setting) -> Iterator[Row]:
    """Measure every number of claimers that the server has connections for."""
    room = connections_left(setting.dsn)
    for repetition in setting.passes():
        for claimers in (4,) if setting.quick else CLAIMERS:
            for pace, rest in PACES.items():
                cell = {"claimers": claimers, "pace": pace, "repetition": repetition}
                if claimers > room:
                    yield {**cell, "skipped": f"the server has {room} connections left"}
                    continue
                setting.progress(f"{claimers} claimers, again {pace}")
                with setting.database("crowd") as dsn:
                    yield {**cell, **_measured(setting, dsn, claimers, rest)}


def connections_left(dsn: str) -> int:
    """Return how many connections a crowd may open on a server."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT current_setting('max_connections')::integer - count(*) "
            "FROM pg_stat_activity WHERE backend_type = 'client backend'"
        ).fetchone()
    return int(row[0]) - KEPT_FREE if row else 0


def _measured(setting: Setting, dsn: str, claimers: int, rest: float) -> Row:
    Migrator(dsn, claims.SCHEMA).migrate()
    claims.fill(dsn, setting.size(ROWS, 400))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    processes = min(PROCESSES, claimers)
    seconds = 1.5 if setting.quick else SECONDS

    def member(index: int, begin: Callable[[], None]) -> list[Claimed]:
        numbers = range(index, claimers, processes)
        return asyncio.run(_claim_together(dsn, numbers, (seconds, rest), begin))

    outcome = together(dsn, processes, member)
    found: list[Claimed] = [each for value in outcome.values for each in value]
    ids = [id_ for _, claimed, _ in found for id_ in claimed]
    if len(ids) != len(set(ids)):
        raise WrongResultError(f"{len(ids) - len(set(ids))} rows were claimed twice")
    took = [each for _, _, durations in found for each in durations]
    shares = sorted(len(claimed) for _, claimed, _ in found)
    return {
        "claimed": len(ids),
        "rate": round(len(ids) / outcome.used.seconds),
        "p50_ms": round(1000 * summary.percentile(took, 0.5), 2),
        "p99_ms": round(1000 * summary.percentile(took, 0.99), 2),
        "least": shares[0],
        "fair": round(len(ids) / claimers, 1),
        "most": shares[-1],
        **outcome.used.per(len(ids)),
    }


async def _claim_together(
    dsn: str, numbers: range, times: tuple[float, float], begin: Callable[[], None]
) -> list[Claimed]:
    databases = [AsyncDatabase(dsn, claims.SCHEMA, role="bench", deadline=60) for _ in numbers]
    for database in databases:
        for _ in range(6):  # until the statement is prepared
            await database.run(fetch_jobs, "nothing here", 1, "bench", claims.KNOWN)
    begin()
    found = await asyncio.gather(
        *(
            _claim(number, database, times)
            for number, database in zip(numbers, databases, strict=True)
        )
    )
    for database in databases:
        await database.close()
    return found


async def _claim(number: int, database: AsyncDatabase, times: tuple[float, float]) -> Claimed:
    seconds, rest = times
    ids: list[str] = []
    took: list[float] = []
    end = monotonic() + seconds
    await asyncio.sleep(random.random() * rest)  # nodes are not started in one moment
    while (started := monotonic()) < end:
        found = await database.run(fetch_jobs, "default", BATCH, f"bench {number}", claims.KNOWN)
        took.append(monotonic() - started)
        ids += [claim.id for claim in found]
        if not found:
            break
        await asyncio.sleep(rest)
    return number, ids, took


def tables(rows: Rows) -> list[Table]:
    """Tell every crowd."""
    measured = [row for row in rows if "skipped" not in row]
    skipped = sorted(
        {f"{row['claimers']} not measured: {row['skipped']}." for row in rows if "skipped" in row}
    )
    head = (
        "claimers", "again", "claims/s", "p50 / p99 ms", "least / fair / most rows",
        "client ms", "server ms",
    )  # fmt: skip
    told = " ".join(["No row was claimed twice.", *skipped])
    cells = summary.distinct(measured, "claimers", "pace")
    return [Table(head, [_line(measured, *cell) for cell in cells], told)]


def _line(rows: Rows, claimers: int, pace: str) -> list[str]:
    found = summary.where(rows, claimers=claimers, pace=pace)
    return [
        str(claimers),
        pace,
        summary.told(found, "rate"),
        f"{summary.middle(found, 'p50_ms')} / {summary.middle(found, 'p99_ms')}",
        " / ".join(summary.middle(found, key) for key in ("least", "fair", "most")),
        summary.middle(found, "client_ms"),
        summary.middle(found, "server_ms"),
    ]


def picture(rows: Rows, figure: Any) -> None:
    """Draw the rate over the claimers, for each pace."""
    figures.lines(
        figure,
        [row for row in rows if "skipped" not in row],
        x=("claimers", "claimers"),
        y=("rate", "claims/s"),
        series="pace",
    )


QUESTION = Question(
    name="crowd",
    title="What becomes of claims when hundreds of nodes claim?",
    about="So many connections, each as a node's queue manager, claim 10 at a time from 120,000 "
    "due rows of one queue for 4 s: each again at once, and each again after a second, as nodes do "
    "whose workers run meanwhile. The claimers live in two processes. Shares are the rows that a "
    "claimer was given. A unit is one claimed row.",
    run=run,
    tables=tables,
    picture=picture,
    long=True,
)
