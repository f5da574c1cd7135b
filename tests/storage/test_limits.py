"""Limits of a queue over all nodes: never exceeded, whoever claims, and never left unused."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from durable_otp.storage.database import Database
from durable_otp.storage.limits import (
    Fetched,
    QueueLimits,
    all_limits,
    fetch_within_limits,
    remove_limits,
    set_limits,
)
from tests.support.tables import Tables

NO_TIME = float("inf")


@pytest.fixture
def fetch(database: Database) -> Any:
    def fetch(limit: int = 100, queue: str = "default") -> Fetched:
        return database.run(fetch_within_limits, queue, limit, "n", None)

    return fetch


def limit(database: Database, *limits: Any, by_operator: bool = False) -> None:
    database.run(set_limits, "default", QueueLimits(*limits), by_operator=by_operator)


def later(tables: Tables, seconds: float) -> None:
    tables.sql(
        "UPDATE durable.queue_limits SET refilled_at = refilled_at - make_interval(secs => %s)",
        [seconds],
    )


def test_without_limits_all_that_is_due_is_claimed(tables: Tables, fetch: Any) -> None:
    for _ in range(5):
        tables.add()
    fetched = fetch()
    assert (len(fetched.claims), fetched.more_in) == (5, None)


def test_no_more_are_in_flight_than_may_be(tables: Tables, database: Database, fetch: Any) -> None:
    limit(database, 3)
    tables.add("running")
    for _ in range(5):
        tables.add()
    tables.add("running", queue="another")
    first, second = fetch(), fetch()
    assert (len(first.claims), first.more_in) == (2, NO_TIME)
    assert (second.claims, second.more_in) == ([], NO_TIME)


def test_a_bucket_is_full_at_first_and_refills_evenly(
    tables: Tables, database: Database, fetch: Any
) -> None:
    limit(database, None, 4, 60.0)
    for _ in range(9):
        tables.add()
    assert (len(fetch(3).claims), len(fetch(3).claims), len(fetch(3).claims)) == (3, 1, 0)
    assert fetch(3).more_in == 15.0
    later(tables, 31)  # 2 of 15 seconds each, and a second that is kept
    assert len(fetch(3).claims) == 2
    later(tables, 14.5)
    assert len(fetch(3).claims) == 1
    later(tables, 3600)
    assert len(fetch(9).claims) == 2  # there were 9


def test_a_bucket_holds_no_more_than_its_count(
    tables: Tables, database: Database, fetch: Any
) -> None:
    limit(database, None, 2, 1.0)
    later(tables, 3600)
    for _ in range(5):
        tables.add()
    assert len(fetch().claims) == 2


def test_what_is_not_claimed_uses_nothing(tables: Tables, database: Database, fetch: Any) -> None:
    limit(database, None, 2, 60.0)
    assert fetch().more_in is None
    for _ in range(2):
        tables.add()
    assert len(fetch().claims) == 2


def test_many_claimers_keep_to_the_limits_together(tables: Tables) -> None:
    databases = [Database(tables.dsn, tables.schema, role=f"claimer {n}") for n in range(6)]
    limit(databases[0], 20, 13, 3600.0)
    for _ in range(60):
        tables.add()

    def claim(database: Database) -> int:
        return sum(
            len(database.run(fetch_within_limits, "default", 2, "n", None).claims)
            for _ in range(10)
        )

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(claim, databases)) == 13
    limit(databases[0], 20)
    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(claim, databases)) == 7
    for database in databases:
        database.close()


def test_what_an_operator_has_set_is_kept_against_configurations(
    tables: Tables, database: Database
) -> None:
    limit(database, 3)
    limit(database, 4)
    limit(database, 5, 2, 60.0, by_operator=True)
    limit(database, 6)
    assert database.run(all_limits) == {"default": QueueLimits(5, 2, 60.0)}
    assert database.run(remove_limits, "default")
    assert not database.run(remove_limits, "default")
    limit(database, 7)
    assert database.run(all_limits) == {"default": QueueLimits(7)}


def test_setting_the_same_rate_again_does_not_fill_the_bucket(
    tables: Tables, database: Database, fetch: Any
) -> None:
    limit(database, None, 2, 60.0)
    for _ in range(4):
        tables.add()
    assert len(fetch().claims) == 2
    limit(database, None, 2, 60.0)
    assert fetch().claims == []
    limit(database, None, 3, 60.0)
    assert len(fetch().claims) == 2
