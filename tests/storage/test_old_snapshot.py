"""Somebody else's long transaction beside a busy queue: claims stay what they were."""

import asyncio

from bench.old_snapshot import measure, old_snapshot
from durable_otp.runtime import looking
from durable_otp.runtime.claims import DatabaseClaims
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.migrator import Migrator
from tests.support.postgres import fresh_schema


def at(seconds, share):
    return sorted(seconds)[int(len(seconds) * share)]


def is_as_before(took):
    """Return whether claims take at most three times as long as before, beside it and after.

    Not the slowest quarter: of so few claims the looks at the whole, one every twenty slow ones'
    time, are too many of it. The bench tells the 99th percentile of many more.
    """
    return all(
        at(took[phase], share) <= 3 * at(took["before"], share)
        for share in (0.5, 0.75)
        for phase in ("beside it", "after")
    )


def test_claims_beside_a_long_transaction_take_at_most_three_times_as_long(dsn):
    with fresh_schema(dsn) as schema:
        Migrator(dsn, schema).migrate()
        # What is beside this test may slow one phase of a round down, but not that of each.
        rounds = (
            asyncio.run(measure(dsn, schema, rounds=1, claims=100, meanwhile=4000))
            for _ in range(3)
        )
        assert any(is_as_before(took) for took in rounds)


def test_what_came_to_stand_before_is_claimed_all_the_same(tables, monkeypatch):
    """A higher priority, a late commit and one with an earlier time, while looks go onwards."""
    monkeypatch.setattr(looking, "SLOW_SECONDS", 0.0)  # every look counts as slow
    monkeypatch.setattr(looking, "SLOW_LOOKS", 1)
    monkeypatch.setattr(looking, "REST_PER_LOOK", 200.0)  # so that a busy machine comes in time
    monkeypatch.setattr(looking, "WORTH", 0.0)  # and going onwards as worth it

    async def story():
        database = AsyncDatabase(tables.dsn, tables.schema, role="manager", deadline=10)
        claims = DatabaseClaims(database, "default", "me")
        claims.open([("w", "1")])
        tables.add(due_in=-10)
        (first,) = (await claims.fetch(10, is_limited=False)).claims
        later = [tables.add(due_in=-100), tables.add(priority=7), tables.add(due_in=-5)]
        found = [claim.id for claim in (await claims.fetch(10, is_limited=False)).claims]
        assert found == later[2:]  # the others stand before, or where nobody has looked
        while len(found) < len(later):
            found += [claim.id for claim in (await claims.fetch(10, is_limited=False)).claims]
            await asyncio.sleep(0.01)
        assert sorted(found) == sorted(later)
        assert (await claims.fetch(10, is_limited=False)).claims == []
        await database.close()
        return first

    with old_snapshot(tables.dsn):
        assert asyncio.run(story()).priority == 0
