"""What does somebody else's long transaction cost a busy queue? ``python -m bench.old_snapshot``.

A manager's claims, one execution each, in rounds: without such a transaction, beside one while
thousands are claimed, and after its end. Each round has all three, so that they share the machine's
moods; only their ratios mean anything.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import psycopg

from bench.setting import conditions, database, milliseconds, schema
from durable_otp import Durable
from durable_otp.runtime.claims import DatabaseClaims
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.nodes import ManagerId
from durable_otp.storage.queue import next_due

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- old snapshot: begin -->", "<!-- old snapshot: end -->"
PHASES = ("before", "beside it", "after")
FILL = """INSERT INTO "{s}".workflow_executions
    (id, workflow, version, scheduled_at, inserted_at, updated_at)
SELECT gen_random_uuid(), 'w', '1', now(), now(), now() FROM generate_series(1, {count})"""
FINISH = """UPDATE "{s}".workflow_executions SET status = 'completed', completed_at = now(),
    lock_token = NULL, locked_by = NULL, locked_at = NULL WHERE status = 'running'"""


class Queue:
    """A queue under measurement, as its manager claims from it."""

    def __init__(self, dsn: str, name: str) -> None:
        self._sql = psycopg.connect(dsn, autocommit=True)
        self._name = name
        self._database = AsyncDatabase(dsn, name, role="manager default claims", deadline=60)
        self._claims = DatabaseClaims(self._database, "default", ManagerId("m", "n", "default").id)
        self._claims.open([("w", "1")])

    async def work_off(self, count: int) -> None:
        """Claim and finish so many, by the hundred."""
        self._run(FILL, count)
        for _ in range(count // 100):
            await self._claims.fetch(100, is_limited=False)
            self._run(FINISH)

    async def claim(self, count: int) -> list[float]:
        """Return what so many claims took, each of all that is there, which is one execution.

        As a manager does it: what comes back short is followed by a look ahead.
        """
        took = []
        for number in range(count):
            self._run(FILL, 1)
            started = monotonic()
            fetched = await self._claims.fetch(2, is_limited=False)
            if fetched.more_in is None:
                await self._database.run(next_due, "default", [("w", "1")])
            took.append(monotonic() - started)
            if len(fetched.claims) != 1:
                raise RuntimeError(f"one execution was there, {len(fetched.claims)} were claimed")
            if number % 20 == 0:
                self._run(FINISH)
        self._run(FINISH)
        return took

    def tidy(self) -> None:
        """Bring the tables to where autovacuum would."""
        self._run('VACUUM ANALYZE "{s}".workflow_executions')

    async def close(self) -> None:
        """Close both connections."""
        self._sql.close()
        await self._database.close()

    def _run(self, statement: str, count: int = 0) -> None:
        self._sql.execute(statement.format(s=self._name, count=count).encode())


@contextmanager
def old_snapshot(dsn: str) -> Iterator[None]:
    """Hold a snapshot, as a dump or a forgotten terminal does."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT txid_current()")
        yield


async def measure(
    dsn: str, name: str, *, rounds: int, claims: int, meanwhile: int
) -> dict[str, list[float]]:
    """Return what claims took by phase; ``meanwhile`` are claimed while the transaction is open."""
    queue = Queue(dsn, name)
    took: dict[str, list[float]] = {phase: [] for phase in PHASES}
    try:
        await queue.claim(50)
        for _ in range(rounds):
            queue.tidy()
            took["before"] += await queue.claim(claims)
            with old_snapshot(dsn):
                await queue.work_off(meanwhile)
                took["beside it"] += await queue.claim(claims)
            took["after"] += await queue.claim(claims)
    finally:
        await queue.close()
    return took


def main() -> int:
    """Measure; print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.old_snapshot", description=__doc__)
    parser.add_argument("--dsn", help="without it, a private server with fsync on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--claims", type=int, default=400)
    parser.add_argument("--meanwhile", type=int, default=20_000)
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    options = parser.parse_args()
    with database(options.dsn) as dsn, schema(dsn) as name:
        with Durable(dsn, schema=name) as durable:
            durable.migrate()
        given = {key: getattr(options, key) for key in ("rounds", "claims", "meanwhile")}
        took = asyncio.run(measure(dsn, name, **given))
        at = conditions(dsn)
    text = _table(took, given, at)
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    return 0


def _table(took: dict[str, list[float]], given: dict[str, int], at: dict[str, object]) -> str:
    first = milliseconds(took["before"])
    said = (
        f"`python -m bench.old_snapshot`: {given['rounds']} rounds of {given['claims']} claims a "
        f"phase, {given['meanwhile']} executions claimed beside the transaction in each. "
        f"PostgreSQL {at['server_version']}, {at['cores']} cores, load {at['load']}, "
        f"commit {at['commit']}."
    )
    lines = [
        said,
        "",
        "| claims | p50 ms | p99 ms | p50, of before | p99, of before |",
        "| --- | --- | --- | --- | --- |",
    ]
    for phase in PHASES:
        it = milliseconds(took[phase])
        ratios = [f"{it[key] / first[key]:.2f}" for key in ("p50_ms", "p99_ms")]
        lines.append(f"| {phase} | {it['p50_ms']} | {it['p99_ms']} | {ratios[0]} | {ratios[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
