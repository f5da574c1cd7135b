"""Claiming: what is claimed, in which order, by whom, and never twice."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from durable_otp.storage import queue
from durable_otp.storage.database import Database


@pytest.fixture
def claim(database):
    def claim(limit=10, name="default", workflows=None):
        return database.run(queue.fetch_jobs, name, limit, "me", workflows)

    return claim


def test_a_claim_is_running_locked_and_under_a_fresh_token(tables, claim):
    id_ = tables.add(input={"a": 1})
    (claimed,) = claim()
    row = tables.row(id_)
    assert (claimed.id, claimed.input) == (id_, '{"a": 1}')
    assert (row["status"], row["locked_by"]) == ("running", "me")
    assert str(row["lock_token"]) == claimed.lock_token
    assert row["locked_at"] == row["started_at"] == row["updated_at"]
    assert row["scheduled_at"] == claimed.scheduled_at
    assert claim() == []


def test_a_claim_has_the_columns_of_its_statement_in_their_order(tables, database):
    tables.add()
    (row,) = database.run(_one_claim)
    assert tuple(row) == queue.Claim._fields


def _one_claim():
    claims = queue.fetch_jobs("default", 1, "me", None)
    return (yield next(claims))


def test_every_claim_has_a_token_of_its_own(tables, claim):
    for _ in range(20):
        tables.add()
    assert len({claimed.lock_token for claimed in claim(20)}) == 20


def test_order_is_priority_then_due_time_then_id(tables, claim):
    same = [str(number) * 8 + "-0000-4000-8000-000000000000" for number in (3, 1, 2)]
    late = tables.add(due_in=-60, priority=0)
    later = tables.add(due_in=-50, priority=0)
    high = tables.add(due_in=-1, priority=50)
    low = tables.add(due_in=-9999, priority=-3)
    instant = tables.sql("SELECT now() - interval '1 min' AS at")[0]["at"]
    for id_ in same:
        tables.add(id=id_, priority=7, scheduled_at=instant, due_in=None)
    assert [each.id for each in claim()] == [high, *sorted(same), late, later, low]


def test_the_limit_takes_from_the_front_over_all_priorities(tables, claim):
    ids = [tables.add(priority=-number, due_in=-number) for number in range(6)]
    assert [each.id for each in claim(2)] == ids[:2]
    assert [each.id for each in claim(3)] == ids[2:5]
    assert [each.id for each in claim(3)] == ids[5:]


def test_what_was_started_without_a_time_does_not_beat_what_was_due_before(tables, claim):
    first = tables.add(due_in=-5)
    second = tables.add(due_in=0)
    assert [each.id for each in claim()] == [first, second]


def test_only_what_is_due_free_and_of_the_queue_is_claimed(tables, claim):
    tables.add(due_in=60)
    tables.add(queue="other")
    tables.add("running")
    tables.add("waiting", due_in=-5)
    for status in ("completed", "failed", "cancelled", "compensated", "compensation_failed"):
        tables.add(status)
    tables.add("compensating", lock_token="00000000-0000-4000-8000-000000000009")
    assert claim() == []
    assert [each.queue for each in claim(name="other")] == ["other"]


def test_a_compensating_row_that_nobody_holds_is_claimed_and_keeps_its_status(tables, claim):
    id_ = tables.add("compensating", crashes=2, current_step="charge")
    (claimed,) = claim()
    assert (claimed.id, claimed.is_plain) == (id_, False)
    assert (claimed.crashes, claimed.current_step) == (2, "charge")
    row = tables.row(id_)
    assert row["status"] == "compensating"
    assert str(row["lock_token"]) == claimed.lock_token
    assert claim() == []


def test_only_workflows_the_claimer_knows_are_claimed_and_others_stay_untouched(tables, claim):
    known = tables.add(workflow="a", version="2")
    others = [
        tables.add(workflow="a", version="1", priority=9),
        tables.add(workflow="b", version="2", priority=9),
    ]
    before = [tables.row(id_) for id_ in others]
    assert [each.id for each in claim(workflows=[("a", "2"), ("b", "1")])] == [known]
    assert claim(workflows=[]) == []
    assert [tables.row(id_) for id_ in others] == before


def test_unknown_workflows_in_front_do_not_take_up_the_limit(tables, claim):
    for _ in range(10):
        tables.add(workflow="unknown", priority=9, due_in=-60)
        tables.add(workflow="unknown", due_in=-60)
    known = tables.add()
    assert [each.id for each in claim(1, workflows=[("w", "1")])] == [known]


def test_a_resume_is_told_from_a_first_run(tables, claim, database):
    resumed = tables.add()
    (first,) = claim()
    database.run(queue.reschedule, resumed, first.scheduled_at, first.lock_token)
    fresh = tables.add(priority=1)
    assert not first.begun_before
    assert [(each.id, each.begun_before) for each in claim()] == [(fresh, False), (resumed, True)]


def test_an_interrupted_execution_runs_alone_until_it_completes_a_step(tables, claim):
    interrupted = {"interruptions": 1, "interruption_position": 1}
    stuck, moved = tables.add(priority=1, **interrupted), tables.add(**interrupted)
    tables.add_step(stuck, 1)
    tables.add_step(moved, 1)
    tables.add_step(moved, 2)
    assert [(each.id, each.alone) for each in claim()] == [(stuck, True), (moved, False)]


def test_started_at_is_the_first_claim(tables, claim, database):
    id_ = tables.add()
    (first,) = claim()
    started = tables.row(id_)["started_at"]
    now = tables.sql("SELECT now() AS now")[0]["now"]
    database.run(queue.reschedule, id_, now, first.lock_token)
    (second,) = claim()
    assert tables.row(id_)["started_at"] == started
    assert second.lock_token != first.lock_token


def test_a_limit_is_kept_when_rows_are_joined_in_any_way(tables):
    """A claim whose inner LIMIT is run again per row claims more than it was asked for."""
    for number in range(30):
        tables.add(priority=number % 3)
    for setting in ("hashjoin", "mergejoin", "nestloop", "material"):
        database = Database(tables.dsn, tables.schema, role="test")
        database.connection().execute(f"SET enable_{setting} = off".encode())
        if setting == "mergejoin":
            database.connection().execute("SET enable_hashjoin = off")
        assert len(database.run(queue.fetch_jobs, "default", 4, "me", None)) == 4
        database.close()
    (held,) = tables.sql(
        "SELECT count(*) AS n FROM durable.workflow_executions WHERE status = 'running'"
    )
    assert held["n"] == 16


def test_a_row_locked_by_another_transaction_is_skipped_and_not_waited_for(tables, claim):
    locked, free = tables.add(priority=1), tables.add()
    with psycopg.connect(tables.dsn) as other:
        other.execute(
            f"SELECT FROM {tables.schema}.workflow_executions WHERE id = %s FOR UPDATE", [locked]
        )
        assert [each.id for each in claim()] == [free]
    assert [each.id for each in claim()] == [locked]


def test_many_claimers_never_share_and_leave_nothing(tables):
    ids = {tables.add(priority=number % 3, due_in=-number) for number in range(240)}
    start = threading.Barrier(8)

    def work(number: int) -> list[str]:
        database = Database(tables.dsn, tables.schema, role=f"claimer {number}")
        mine: list[str] = []
        start.wait()
        try:
            while claims := database.run(queue.fetch_jobs, "default", 7, f"n{number}", None):
                mine += [claim.id for claim in claims]
                for claim in claims:
                    assert database.run(queue.ack, claim.id, claim.lock_token).settled == "ok"
        finally:
            database.close()
        return mine

    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(work, range(8)))
    together = [id_ for mine in claimed for id_ in mine]
    assert len(together) == len(set(together)), "two claimers got the same execution"
    left = set(ids) - set(together)
    assert all(tables.status(id_) == "pending" for id_ in left)
    assert len(left) <= 7 * 8  # whoever found all locked went home early; nothing is lost


def test_heartbeats_release_and_claims_at_once_do_not_deadlock(tables):
    for _ in range(60):
        tables.add()
    start = threading.Barrier(4)

    def churn(number: int) -> int:
        database = Database(tables.dsn, tables.schema, role=f"churn {number}")
        start.wait()
        done = 0
        try:
            for _ in range(15):
                claims = database.run(queue.fetch_jobs, "default", 10, f"n{number}", None)
                held = [(claim.id, claim.lock_token) for claim in claims]
                database.run(queue.heartbeat_many, held[::-1])
                database.run(queue.recover_claims, [f"n{number}"], counted=False)
                done += len(held)
        finally:
            database.close()
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(churn, range(4))) > 0
    (row,) = tables.sql(
        "SELECT count(*) AS n, sum(interruptions) AS counted FROM durable.workflow_executions "
        "WHERE status = 'pending'"
    )
    assert (row["n"], row["counted"]) == (60, 0)
