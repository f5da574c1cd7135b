"""What is counted as a failure of a schedule, and that five in a row disable it."""

import pytest

from durable_otp.storage import slots
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


@pytest.fixture
def tables(clocked_tables):
    begin_a_minute(clocked_tables)
    return clocked_tables


@pytest.fixture(autouse=True)
def published(database):
    publish(database)


def test_five_failed_runs_in_a_row_disable(tables, database):
    make(tables, database)
    for number, status in enumerate(
        ("failed", "compensated", "compensation_failed", "failed", "failed"), 1
    ):
        database.run(slots.run_due, "s") if number == 1 else due_again(tables, database)
        end(tables, status, '{"type": "ValueError", "message": "no luck"}')
        assert database.run(slots.schedules_to_judge) == ["s"]
        database.run(slots.judge, "s")
        assert row_of(database).consecutive_failures == number
    after = row_of(database)
    assert (after.enabled, after.last_error) == (False, "ValueError: no luck")
    assert after.auto_disabled_at is not None
    assert database.run(slots.schedules_to_judge) == []
    assert due_again(tables, database) is None


def test_a_run_that_completes_clears_the_count(tables, database):
    make(tables, database)
    set_row(tables, consecutive_failures=4, last_error="boom")
    database.run(slots.run_due, "s")
    end(tables, "completed")
    database.run(slots.judge, "s")
    after = row_of(database)
    assert (after.consecutive_failures, after.last_error, after.enabled) == (0, None, True)


def test_runs_are_judged_in_the_order_in_which_they_ended_and_once(tables, database):
    make(tables, database, missed=2, catch_up="all")
    database.run(slots.run_due, "s")
    ids = [run["id"] for run in runs(tables)]
    for id_, status in zip(ids[::-1], ("completed", "failed", "failed"), strict=True):
        tables.sql(
            "UPDATE durable.workflow_executions SET status = %s, "
            "completed_at = clock_timestamp() WHERE id = %s",
            [status, id_],
        )
    for _ in range(2):
        database.run(slots.judge, "s")
        assert row_of(database).consecutive_failures == 2
    assert [outcome for _, outcome in taken(tables)] == ["failed", "failed", "completed"]


def test_a_run_that_was_deleted_says_nothing(tables, database):
    make(tables, database)
    database.run(slots.run_due, "s")
    tables.sql("DELETE FROM durable.workflow_executions")
    assert database.run(slots.schedules_to_judge) == ["s"]
    database.run(slots.judge, "s")
    assert [outcome for _, outcome in taken(tables)] == ["unknown"]
    assert row_of(database).consecutive_failures == 0


def test_a_workflow_that_nobody_knows_is_a_failed_start(tables, database):
    minute = make(tables, database, workflow="nobody")
    done = database.run(slots.run_due, "s")
    assert (done.started, done.failed) == (0, 1)
    after = row_of(database)
    assert after.consecutive_failures == 1
    assert "No workflow 'nobody' is published" in after.last_error
    assert after.next_run_at == minute + MINUTE
    assert after.last_run_at is None
    assert taken(tables) == [(minute, "not_started")]


def test_failed_starts_disable_too(tables, database):
    make(tables, database, missed=6, catch_up="all", workflow="nobody")
    database.run(slots.run_due, "s")
    after = row_of(database)
    assert not after.enabled
    assert after.auto_disabled_at is not None


def test_an_error_is_recorded_and_the_schedule_moves_on(tables, database):
    minute = make(tables, database)
    assert database.run(slots.fail_due, "s", "DataError: " + "x" * 3000).failed == 1
    after = row_of(database)
    assert (after.consecutive_failures, after.next_run_at) == (1, minute + MINUTE)
    assert after.last_error.startswith("DataError: x")
    assert database.run(slots.fail_due, "s", "again") is None


def test_a_row_with_a_wrong_cron_moves_on_too(tables, database):
    make(tables, database)
    set_row(tables, cron="nonsense")
    assert database.run(slots.fail_due, "s", "ScheduleError: nonsense").failed == 1
    assert row_of(database).next_run_at > this_minute(tables) + 4 * MINUTE


def test_old_slots_are_forgotten_and_open_ones_kept(tables, database):
    make(tables, database)
    for age, outcome in ((40, "completed"), (41, None), (29, "skipped")):
        tables.sql(
            "INSERT INTO durable.schedule_slots (schedule, slot, outcome) "
            "VALUES ('s', durable.now() - make_interval(days => %s), %s)",
            [age, outcome],
        )
    database.run(slots.run_due, "s")
    assert [outcome for _, outcome in taken(tables)] == [None, "skipped", None]
