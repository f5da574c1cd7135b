"""The recovering siblings, round by round: what they do is told, and an empty round is none."""

from collections.abc import Iterator

import psycopg
import pytest

from durable_otp.events import Event, subscribe
from durable_otp.runtime.settings import DatabaseSettings, SiblingSettings
from durable_otp.runtime.stale_job_recovery import REST_WHEN_LEFT, StaleJobRecovery
from durable_otp.runtime.zombie_recovery import ZombieRecovery

INTERVAL = 60.0


@pytest.fixture
def told() -> Iterator[list[Event]]:
    events: list[Event] = []
    end = subscribe(events.append)
    yield events
    end()


@pytest.fixture
def settings(tables) -> SiblingSettings:
    return SiblingSettings(
        DatabaseSettings(tables.dsn, tables.schema), INTERVAL, 15.0, 300.0, 20, batch_size=2
    )


def backdate(tables, column):
    tables.sql(
        f"UPDATE durable.workflow_executions SET {column} = durable.now() - interval '1 hour'"
    )


def test_a_round_that_finds_no_zombie_tells_nothing(tables, database, settings, told):
    tables.add("waiting", due_in=None)
    assert ZombieRecovery(database, settings).run_once() == INTERVAL
    assert told == []


def test_zombies_are_told_by_their_number_and_a_full_batch_means_again_now(
    tables, database, settings, told
):
    zombies = [tables.add("waiting", due_in=None) for _ in range(3)]
    backdate(tables, "updated_at")
    sweep = ZombieRecovery(database, settings)
    assert [sweep.run_once(), sweep.run_once()] == [0.0, INTERVAL]
    assert [(event.name, event.facts) for event in told] == [
        ("zombies_recovered", {"count": 2}),
        ("zombies_recovered", {"count": 1}),
    ]
    assert {tables.status(each) for each in zombies} == {"failed"}


def test_stale_claims_are_told_by_their_number(tables, database, settings, told):
    sweep = StaleJobRecovery(database, settings)
    sweep.run_once()
    assert told == []
    stale = tables.add("running")
    backdate(tables, "locked_at")
    StaleJobRecovery(database, settings).run_once()
    assert [(event.name, event.facts) for event in told] == [
        ("stale_claims_recovered", {"count": 1})
    ]
    assert tables.status(stale) == "pending"


def test_a_stale_claim_that_was_locked_is_taken_back_when_the_lock_is_gone(
    tables, database, settings
):
    stale = tables.add("running")
    backdate(tables, "locked_at")
    sweep = StaleJobRecovery(database, settings)
    with psycopg.connect(tables.dsn) as other:
        table = f"{tables.schema}.workflow_executions"
        other.execute(f"SELECT FROM {table} WHERE id = %s FOR UPDATE".encode(), [stale])
        assert sweep.run_once() == REST_WHEN_LEFT
        assert tables.status(stale) == "running"
    assert sweep.run_once() > REST_WHEN_LEFT
    assert tables.status(stale) == "pending"


def test_more_stale_claims_than_a_batch_holds_are_taken_back_without_the_interval(
    tables, database, settings
):
    claims = [tables.add("running") for _ in range(2 * settings.batch_size + 1)]
    backdate(tables, "locked_at")
    assert StaleJobRecovery(database, settings).run_once() > REST_WHEN_LEFT
    assert {tables.status(each) for each in claims} == {"pending"}
