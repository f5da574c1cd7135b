"""Claims that come back, zombies that end, sleepers that wake."""

from datetime import datetime, timedelta

import pytest

from durable_otp.storage import queue
from durable_otp.workflow.execution import QueueStats
from tests.support.tables import heard

NO_LOCK = {"lock_token": None, "locked_by": None, "locked_at": None}


def backdate(tables, id_, column="locked_at", by="1 hour"):
    tables.sql(
        f"UPDATE durable.workflow_executions SET {column} = {column} - %s::interval WHERE id = %s",
        [by, id_],
    )


def lock_of(row):
    return {name: row[name] for name in NO_LOCK}


def test_a_stale_claim_goes_back_and_is_counted(tables, database):
    stale, fresh = tables.add("running", current_step="b"), tables.add("running")
    tables.add_step(stale, 3)
    backdate(tables, stale)
    with tables.listen("queue") as listener:
        assert database.run(queue.recover_stale_locks, 300).count == 1
        assert heard(listener) == ["default"]
    row = tables.row(stale)
    assert (row["status"], row["interruptions"], row["interruption_position"]) == ("pending", 1, 3)
    assert (row["crashes"], row["current_step"], row["begun"]) == (0, "b", None)
    assert lock_of(row) == NO_LOCK
    assert tables.status(fresh) == "running"
    assert database.run(queue.recover_stale_locks, 300).count == 0


def test_a_recovered_execution_is_claimed_under_another_token(tables, database):
    id_ = tables.add()
    (first,) = database.run(queue.fetch_jobs, "default", 1, "dead", None)
    backdate(tables, id_)
    database.run(queue.recover_stale_locks, 300)
    (second,) = database.run(queue.fetch_jobs, "default", 1, "alive", None)
    assert second.lock_token != first.lock_token
    assert second.alone
    assert database.run(queue.ack, id_, first.lock_token).settled == "fenced"
    assert database.run(queue.heartbeat_many, [(id_, first.lock_token)]) == {id_: "fenced"}
    assert tables.status(id_) == "running"


@pytest.mark.parametrize("lost", ["stale", "with its holder"])
def test_who_loses_its_claim_keeps_its_turn_once(tables, database, lost):
    id_ = tables.add("running", due_in=-7200, locked_by="dead")
    due = tables.row(id_)["scheduled_at"]
    for interruptions in (1, 2):
        backdate(tables, id_)
        if lost == "stale":
            database.run(queue.recover_stale_locks, 300)
        else:
            database.run(queue.recover_claims, ["dead"])
        row = tables.row(id_)
        assert row["interruptions"] == interruptions
        assert (row["scheduled_at"] == due) is (interruptions == 1)
        database.run(queue.fetch_jobs, "default", 1, "dead", None)


def test_what_is_given_back_uncounted_keeps_its_turn_however_often(tables, database):
    id_ = tables.add("running", due_in=-7200, locked_by="dead", interruptions=3)
    due = tables.row(id_)["scheduled_at"]
    database.run(queue.recover_claims, ["dead"], counted=False)
    assert (tables.row(id_)["scheduled_at"], tables.row(id_)["interruptions"]) == (due, 3)


def test_the_last_interruption_is_final_and_says_so(tables, database):
    id_ = tables.add("running", interruptions=19, watched=True)
    other = tables.add("running", interruptions=18)
    for each in (id_, other):
        backdate(tables, each)
    with tables.listen("done") as listener:
        assert database.run(queue.recover_stale_locks, 300).count == 2
        assert heard(listener) == [id_]
    row = tables.row(id_)
    assert (row["status"], row["interruptions"]) == ("failed", 20)
    assert row["error"] == {
        "type": "interrupted_too_often",
        "message": "The claim was lost 20 times with its manager or node.",
    }
    assert row["completed_at"] is not None
    assert tables.status(other) == "pending"


def test_a_stale_compensation_goes_back_and_keeps_its_status_however_often(tables, database):
    (id_,) = [tables.add("compensating", lock_token="00000000-0000-4000-8000-000000000001")]
    tables.sql("UPDATE durable.workflow_executions SET interruptions = 40")
    backdate(tables, id_)
    assert database.run(queue.recover_stale_locks, 300).count == 1
    row = tables.row(id_)
    assert (row["status"], row["interruptions"]) == ("compensating", 41)
    assert lock_of(row) == NO_LOCK
    assert row["error"] is None
    assert [c.id for c in database.run(queue.fetch_jobs, "default", 1, "n", None)] == [id_]


def test_claims_of_holders_known_to_be_alive_are_left_alone(tables, database):
    id_ = tables.add("running", locked_by="alive")
    backdate(tables, id_)
    assert database.run(queue.recover_stale_locks, 300, live=["alive"]).count == 0
    assert database.run(queue.recover_stale_locks, 300, live=["other"]).count == 1


def test_recovering_takes_a_batch_at_a_time(tables, database):
    for _ in range(5):
        backdate(tables, tables.add("running"))
    counts = [database.run(queue.recover_stale_locks, 300, batch_size=2).count for _ in range(4)]
    assert counts == [2, 2, 1, 0]


def test_the_adapter_recovers_all_of_it(tables, adapter, monkeypatch):
    monkeypatch.setattr(queue, "BATCH_SIZE", 1000)
    tables.sql(
        """INSERT INTO durable.workflow_executions
               (id, workflow, version, status, inserted_at, updated_at, locked_at, locked_by,
                lock_token)
           SELECT gen_random_uuid(), 'w', '1', 'running', now(), now(), now() - interval '1 h',
                  'dead', gen_random_uuid()
           FROM generate_series(1, 2300)"""
    )
    assert adapter.recover_stale_locks(300) == 2300
    assert adapter.get_stats("default") == QueueStats("default", pending=2300)


def test_the_claims_of_the_dead_come_back_at_once(tables, database):
    dead = [tables.add("running", locked_by=name) for name in ("dead1", "dead2")]
    alive = tables.add("running", locked_by="alive")
    kept = tables.add(
        "running", locked_by="dead1", lock_token="00000000-0000-4000-8000-00000000000a"
    )
    kept_token = "00000000-0000-4000-8000-00000000000a"
    assert database.run(queue.recover_claims, ["dead1", "dead2"], kept=[kept_token]).count == 2
    assert [tables.status(id_) for id_ in (*dead, alive, kept)] == [
        "pending",
        "pending",
        "running",
        "running",
    ]
    assert [tables.row(id_)["interruptions"] for id_ in (*dead, alive)] == [1, 1, 0]


def test_claims_given_back_uncounted_leave_no_trace(tables, database):
    id_ = tables.add("running", interruptions=19, interruption_position=4)
    assert database.run(queue.recover_claims, ["somebody"], counted=False).count == 1
    row = tables.row(id_)
    assert (row["status"], row["interruptions"]) == ("pending", 19)
    assert row["interruption_position"] == 4


def test_a_zombie_ends_as_failed(tables, database):
    zombie, watched = (
        tables.add("waiting", due_in=None),
        tables.add("waiting", due_in=None, watched=True),
    )
    for id_ in (zombie, watched):
        backdate(tables, id_, "updated_at")
    with tables.listen("done") as listener:
        assert database.run(queue.recover_zombie_workflows, 300).count == 2
        assert heard(listener) == [watched]
    row = tables.row(zombie)
    assert (row["status"], row["error"]["type"]) == ("failed", "zombie_detected")
    assert row["completed_at"] is not None
    assert row["error"]["message"]


def test_what_can_still_wake_is_no_zombie(tables, database):
    young = tables.add("waiting", due_in=None)
    asked, asleep = tables.add("waiting", due_in=None), tables.add("waiting", due_in=-9999)
    others = [tables.add(status) for status in ("running", "completed", "compensating")]
    others.append(tables.add("pending", due_in=-9999))
    tables.add_wait(asked)
    for id_ in (asked, asleep, *others):
        backdate(tables, id_, "updated_at")
    before = [tables.row(id_) for id_ in (young, asked, asleep, *others)]
    assert database.run(queue.recover_zombie_workflows, 300).count == 0
    assert [tables.row(id_) for id_ in (young, asked, asleep, *others)] == before


@pytest.mark.parametrize("status", ["answered", "timed_out", "cancelled"])
def test_a_wait_that_is_over_keeps_nobody_from_being_a_zombie(tables, database, status):
    id_ = tables.add("waiting", due_in=None)
    tables.add_wait(id_, status=status)
    tables.add_step(id_, 1)
    backdate(tables, id_, "updated_at")
    assert database.run(queue.recover_zombie_workflows, 300).count == 1


def test_sleepers_wake_when_they_are_due_longest_due_first(tables, database):
    later, first = tables.add("waiting", due_in=-1), tables.add("waiting", due_in=-60, queue="q")
    asleep, unscheduled = tables.add("waiting", due_in=60), tables.add("waiting", due_in=None)
    with tables.listen("queue") as listener:
        assert database.run(queue.wake_sleeping_workflows, 1) == 1
        assert heard(listener) == ["q"]
    assert (tables.status(first), tables.status(later)) == ("pending", "waiting")
    assert database.run(queue.wake_sleeping_workflows, 100) == 1
    assert database.run(queue.wake_sleeping_workflows, 100) == 0
    assert [tables.status(id_) for id_ in (later, asleep, unscheduled)] == [
        "pending",
        "waiting",
        "waiting",
    ]
    assert tables.row(first)["scheduled_at"] is not None


def test_the_next_wake_is_the_earliest_sleeper(tables, database):
    assert database.run(queue.next_wake) is None
    tables.add("waiting", due_in=None)
    tables.add(due_in=5)
    assert database.run(queue.next_wake) is None
    tables.add("waiting", due_in=120)
    tables.add("waiting", due_in=60)
    assert 50 < database.run(queue.next_wake) <= 60


def test_the_next_due_is_the_queue_s_earliest_future_row_of_any_priority(tables, database):
    def seconds():
        return database.run(queue.next_due, "default", None).seconds

    assert database.run(queue.next_due, "default", None) == (None, False)
    tables.add()
    tables.add("waiting", due_in=5)
    tables.add(queue="other", due_in=5)
    assert seconds() is None
    tables.add(due_in=300, priority=5)
    assert 290 < seconds() <= 300
    tables.add("compensating", due_in=60, priority=-5)
    assert 50 < seconds() <= 60


def test_what_is_due_and_could_be_claimed_was_passed_over(tables, database):
    def passed_over(*workflows):
        return database.run(queue.next_due, "default", workflows or None).passed_over

    tables.add(queue="other")
    tables.add(due_in=5)
    tables.add("running")
    assert not passed_over()
    tables.add(workflow="unknown")
    assert not passed_over(("w", "1"))
    tables.add(priority=-5)
    assert passed_over()
    assert passed_over(("w", "1"))
    database.run(queue.fetch_jobs, "default", 5, "n", None)
    assert not passed_over()


def test_stats_of_all_queues(tables, database):
    tables.add(queue="a")
    tables.add("running", queue="a")
    tables.add("waiting", queue="b")
    assert database.run(queue.all_stats) == {
        "a": QueueStats("a", pending=1, running=1),
        "b": QueueStats("b", waiting=1),
    }


def test_a_heartbeat_carries_the_step_that_has_begun(tables, database):
    id_ = tables.add()
    (claim,) = database.run(queue.fetch_jobs, "default", 1, "n", None)
    held = [(id_, claim.lock_token)]
    report = '{"path": "a", "name": "a", "visit": 1, "attempt": 1, "seconds": 90}'
    assert database.run(queue.heartbeat_many, held, {id_: report}) == {id_: "ok"}
    row = tables.row(id_)
    started_at = datetime.fromisoformat(row["begun"].pop("started_at"))
    assert row["begun"] == {"path": "a", "name": "a", "visit": 1, "attempt": 1}
    assert row["locked_at"] - started_at == timedelta(seconds=90)
    assert database.run(queue.heartbeat_many, held) == {id_: "ok"}
    assert tables.row(id_)["begun"]["path"] == "a", "a heartbeat without a report erased the last"
