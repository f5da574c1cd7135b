"""The scheduler's transactions: one run per slot, whatever comes between."""

import threading
from datetime import timedelta

import psycopg
import pytest

from durable_otp.storage import schedules, slots
from durable_otp.storage.database import Database
from durable_otp.storage.executions import NewExecution, Start
from tests.support.schedules import (
    MINUTE,
    begin_a_minute,
    due_again,
    end,
    make,
    publish,
    row_of,
    runs,
    set_row,
    taken,
    this_minute,
)
from tests.support.tables import heard


@pytest.fixture
def tables(clocked_tables):
    begin_a_minute(clocked_tables)
    return clocked_tables


@pytest.fixture(autouse=True)
def published(database):
    publish(database)


def test_a_due_slot_starts_the_newest_version_with_the_schedule_s_input(tables, database):
    minute = make(tables, database, input={"a": 1})
    with tables.listen("queue") as listener:
        done = database.run(slots.run_due, "s")
        assert heard(listener) == ["shop"]
    assert (done.started, done.skipped, done.failed) == (1, 0, 0)
    (run,) = runs(tables)
    assert (run["workflow"], run["version"], run["queue"]) == ("w", "3", "shop")
    assert (run["priority"], run["input"], run["scheduled_at"]) == (7, {"a": 1}, minute)
    assert run["deadline_at"] - run["inserted_at"] == timedelta(seconds=60)
    after = row_of(database)
    assert after.next_run_at == minute + MINUTE
    assert after.last_run_at is not None
    assert database.run(slots.run_due, "s") is None


def test_the_schedule_s_queue_comes_before_the_workflow_s_and_no_input_is_none(tables, database):
    make(tables, database, queue="slow")
    database.run(slots.run_due, "s")
    (run,) = runs(tables)
    assert (run["queue"], run["input"]) == ("slow", None)


def test_only_enabled_schedules_whose_time_has_come_are_due(tables, database):
    make(tables, database, "late", missed=2)
    make(tables, database, "now")
    make(tables, database, "off", enabled=False)
    make(tables, database, "never")
    set_row(tables, "never", next_run_at=None)
    make(tables, database, "later")
    set_row(tables, "later", next_run_at=this_minute(tables) + 5 * MINUTE)
    assert database.run(slots.due_schedules, 10) == ["late", "now"]
    assert database.run(slots.due_schedules, 1) == ["late"]
    for name in ("off", "never", "later"):
        assert database.run(slots.run_due, name) is None
    for name in ("late", "now"):
        database.run(schedules.delete, name)
    assert 200 < database.run(slots.next_slot) < 300


def test_a_slot_that_is_taken_is_not_run_again_though_the_schedule_was_set_back(tables, database):
    make(tables, database)
    slot = row_of(database).next_run_at
    database.run(slots.run_due, "s")
    set_row(tables, next_run_at=slot)
    again = database.run(slots.run_due, "s")
    assert again.started == 0
    assert len(runs(tables)) == 1
    assert row_of(database).next_run_at > slot


def test_many_schedulers_make_one_run_of_each_slot(tables, database):
    missed = 40
    make(tables, database, missed=missed, catch_up="all")
    expected = [row_of(database).next_run_at + n * MINUTE for n in range(missed + 1)]
    begin = threading.Barrier(6)

    def schedule():
        own = Database(tables.dsn, tables.schema, role="test")
        begin.wait()
        for number in range(60):
            set_row_of_own(own, expected[number % len(expected)])
            own.run(slots.run_due, "s")
        own.close()

    def set_row_of_own(own, slot):  # each sets it back, so only the slot's key can decide
        own.connection().execute(
            f"UPDATE {tables.schema}.scheduled_workflows SET next_run_at = %s".encode(), [slot]
        )

    threads = [threading.Thread(target=schedule) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    started = [run["scheduled_at"] for run in runs(tables)]
    assert started == expected


def test_a_scheduler_passes_over_what_another_is_at(tables, database):
    make(tables, database)
    with psycopg.connect(tables.dsn) as other:
        other.execute(f"SELECT FROM {tables.schema}.scheduled_workflows FOR UPDATE".encode())
        assert database.run(slots.run_due, "s") is None
        assert database.run(slots.judge, "s") is None
    assert database.run(slots.run_due, "s").started == 1


def test_the_slot_the_run_and_the_next_slot_are_written_together_or_not_at_all(tables, database):
    make(tables, database)
    before = row_of(database)
    tables.sql(
        "CREATE FUNCTION durable.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''refused''; END'"
    )
    tables.sql(
        "CREATE TRIGGER refuse BEFORE UPDATE ON durable.scheduled_workflows "
        "FOR EACH ROW EXECUTE FUNCTION durable.refuse()"
    )
    try:
        with pytest.raises(psycopg.errors.RaiseException):
            database.run(slots.run_due, "s")
        assert (runs(tables), taken(tables), row_of(database)) == ([], [], before)
    finally:
        tables.sql("DROP FUNCTION durable.refuse() CASCADE")
    assert database.run(slots.run_due, "s").started == 1


@pytest.mark.parametrize(("catch_up", "count"), [("skip", 1), ("one", 1), ("all", 4)])
def test_missed_slots_are_caught_up(tables, database, catch_up, count):
    minute = make(tables, database, missed=3, catch_up=catch_up)
    database.run(slots.run_due, "s")
    assert [run["scheduled_at"] for run in runs(tables)] == [
        minute - n * MINUTE for n in reversed(range(count))
    ]


def test_catching_up_with_all_is_done_in_batches(tables, database):
    make(tables, database, missed=250, catch_up="all")
    counts = []
    while done := database.run(slots.run_due, "s"):
        counts.append(done.started)
    assert counts[:2] == [100, 100]
    assert sum(counts) == len(runs(tables)) == 251


def test_a_run_begins_within_the_jitter_after_its_slot(tables, database):
    minute = make(tables, database, jitter=3600)
    database.run(slots.run_due, "s")
    (run,) = runs(tables)
    assert minute < run["scheduled_at"] < minute + timedelta(hours=1)


# overlap


def test_overlapping_runs_are_allowed_by_default(tables, database):
    make(tables, database)
    database.run(slots.run_due, "s")
    assert due_again(tables, database).started == 1
    assert [run["status"] for run in runs(tables)] == ["pending", "pending"]


def test_a_slot_is_skipped_and_recorded_while_a_run_goes_on(tables, database):
    make(tables, database, overlap="skip")
    database.run(slots.run_due, "s")
    last_run = row_of(database).last_run_at
    for status in ("pending", "waiting"):
        tables.sql("UPDATE durable.workflow_executions SET status = %s", [status])
        done = due_again(tables, database)
        assert (done.started, done.skipped) == (0, 1)
    assert [outcome for _, outcome in taken(tables)] == [None, "skipped", "skipped"]
    assert row_of(database).last_run_at == last_run
    end(tables, "failed")
    assert due_again(tables, database).started == 1


def test_of_missed_slots_that_would_overlap_the_first_runs(tables, database):
    make(tables, database, missed=3, catch_up="all", overlap="skip")
    done = database.run(slots.run_due, "s")
    assert (done.started, done.skipped) == (1, 3)
    assert [outcome for _, outcome in taken(tables)] == [None, "skipped", "skipped", "skipped"]


def test_a_triggered_run_overlaps_like_any_other(tables, database):
    make(tables, database, overlap="skip")
    database.run(schedules.trigger, "s", Start("w", "3", "q", 0), NewExecution(None))
    assert database.run(slots.run_due, "s").skipped == 1


def test_the_previous_run_is_cancelled_with_its_children(tables, database):
    make(tables, database, overlap="cancel_previous")
    database.run(slots.run_due, "s")
    (first,) = runs(tables)
    child = tables.add("waiting", due_in=60, parent_id=first["id"])
    done = due_again(tables, database)
    assert done.started == 1
    cancelled = tables.row(str(first["id"]))
    assert (cancelled["status"], tables.status(child)) == ("cancelled", "cancelled")
    assert cancelled["error"] == {
        "type": "cancelled", "message": "Schedule 's' came to its next slot.",
    }  # fmt: skip
    database.run(slots.judge, "s")
    assert row_of(database).consecutive_failures == 0


def test_what_undoes_itself_is_not_cancelled(tables, database):
    make(tables, database, overlap="cancel_previous")
    database.run(slots.run_due, "s")
    tables.sql("UPDATE durable.workflow_executions SET status = 'compensating'")
    assert due_again(tables, database).started == 1
    assert sorted(run["status"] for run in runs(tables)) == ["compensating", "pending"]
