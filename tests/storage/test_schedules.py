"""Schedules in the database: as operators and workflows write them."""

from datetime import datetime, timedelta

import pytest

from durable_otp.errors import ScheduleError, ScheduleExists, ScheduleNotFound
from durable_otp.storage import schedules
from durable_otp.storage.executions import NewExecution, Start
from durable_otp.storage.operation import Wish
from durable_otp.workflow.schedule import ScheduleSettings
from tests.support.tables import heard

HOW = Start("w", "1", "default", 0)


def told(name="nightly", cron="0 3 * * *", **options):
    return ScheduleSettings(name, "w", cron, **options)


def now_of(tables) -> datetime:
    (row,) = tables.sql("SELECT durable.now() AS now")
    return row["now"]


def set_row(tables, **columns):
    pairs = ", ".join(f"{name} = %({name})s" for name in columns)
    tables.sql(f"UPDATE durable.scheduled_workflows SET {pairs}", columns)


def test_a_created_schedule_has_everything_and_its_next_slot(tables, database):
    options = {"timezone": "Asia/Tokyo", "input": {"a": [1, None]}, "queue": "slow", "jitter": 2.5}
    made = database.run(
        schedules.create, told(catch_up="all", overlap="skip", enabled=False, **options)
    )
    assert database.run(schedules.get, "nightly") == made
    assert made.input == {"a": [1, None]}
    assert (made.queue, made.jitter, made.enabled) == ("slow", 2.5, False)
    assert (made.catch_up, made.overlap, made.consecutive_failures) == ("all", "skip", 0)
    assert made.next_runs(1, now_of(tables)) == [made.next_run_at]


def test_a_name_is_taken_once(database):
    database.run(schedules.create, told())
    with pytest.raises(ScheduleExists, match="'nightly' already"):
        database.run(schedules.create, told(cron="0 4 * * *"))
    assert database.run(schedules.get, "nightly").cron == "0 3 * * *"


def test_schedulers_are_told_of_what_is_due_earlier(tables, database):
    with tables.listen("schedule") as listener:
        database.run(schedules.create, told())
        database.run(schedules.update, "nightly", {"cron": "0 2 * * *"})
        database.run(schedules.enable, "nightly")
        assert heard(listener) == ["nightly"] * 3
        database.run(schedules.declare, [told(), told("other")])
        assert sorted(heard(listener)) == ["nightly", "other"]
        database.run(schedules.declare, [told(), told("other")])
        assert heard(listener) == []


def test_all_are_listed_by_name(database):
    for name in ("b", "c", "a"):
        database.run(schedules.create, told(name))
    assert [each.name for each in database.run(schedules.every)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "call",
    [
        lambda name: (schedules.get, name),
        lambda name: (schedules.update, name, {"cron": "0 1 * * *"}),
        lambda name: (schedules.enable, name),
        lambda name: (schedules.disable, name),
        lambda name: (schedules.delete, name),
        lambda name: (schedules.trigger, name, HOW, NewExecution(None)),
    ],
)
@pytest.mark.parametrize("name", ["nothing", "", "a\0b", "\ud800", None])
def test_what_does_not_exist_is_not_found(tables, database, call, name):
    with pytest.raises(ScheduleNotFound, match="There is no schedule"):
        database.run(*call(name))
    assert tables.sql("SELECT id FROM durable.workflow_executions") == []


@pytest.mark.parametrize("change", [{"cron": "30 4 * * *"}, {"timezone": "Asia/Tokyo"}])
def test_another_cron_or_timezone_has_another_next_slot(tables, database, change):
    before = database.run(schedules.create, told())
    changed = database.run(schedules.update, "nightly", change)
    assert changed.next_run_at != before.next_run_at
    assert changed.next_runs(1, now_of(tables)) == [changed.next_run_at]
    assert database.run(schedules.get, "nightly") == changed


def test_other_changes_keep_the_next_slot(tables, database):
    database.run(schedules.create, told())
    set_row(tables, next_run_at=now_of(tables) - timedelta(days=2))
    before = database.run(schedules.get, "nightly")
    changes = {"input": None, "queue": "q", "overlap": "skip", "catch_up": "all", "jitter": 9}
    changed = database.run(schedules.update, "nightly", changes)
    assert changed.next_run_at == before.next_run_at
    assert (changed.queue, changed.overlap, changed.catch_up, changed.jitter) == (
        "q", "skip", "all", 9.0,
    )  # fmt: skip


def test_a_wrong_change_changes_nothing(database):
    before = database.run(schedules.create, told())
    with pytest.raises(ScheduleError, match="never due"):
        database.run(schedules.update, "nightly", {"queue": "q", "cron": "0 0 31 2 *"})
    assert database.run(schedules.get, "nightly") == before


def test_enabling_begins_from_now_and_forgets_failures(tables, database):
    database.run(schedules.create, told())
    long_ago = now_of(tables) - timedelta(days=9)
    set_row(tables, enabled=False, next_run_at=long_ago, consecutive_failures=5, last_error="boom",
            auto_disabled_at=long_ago)  # fmt: skip
    again = database.run(schedules.enable, "nightly")
    assert again.next_run_at > now_of(tables)
    assert (again.enabled, again.consecutive_failures) == (True, 0)
    assert (again.last_error, again.auto_disabled_at) == (None, None)


def test_enabled_by_an_update_is_enabled_likewise(tables, database):
    database.run(schedules.create, told())
    set_row(tables, enabled=False, consecutive_failures=5, next_run_at=now_of(tables))
    again = database.run(schedules.update, "nightly", {"enabled": True})
    assert (again.enabled, again.consecutive_failures) == (True, 0)
    assert again.next_run_at > now_of(tables)


def test_disabling_only_says_that_nothing_runs(database):
    before = database.run(schedules.create, told())
    disabled = database.run(schedules.disable, "nightly")
    assert (disabled.enabled, disabled.next_run_at) == (False, before.next_run_at)
    assert database.run(schedules.get, "nightly") == disabled


def test_what_is_deleted_is_gone_with_its_slots_and_its_runs_go_on(tables, database):
    database.run(schedules.create, told())
    id_ = database.run(schedules.trigger, "nightly", HOW, NewExecution(None))
    database.run(schedules.delete, "nightly")
    assert database.run(schedules.every) == []
    assert tables.sql("SELECT schedule FROM durable.schedule_slots") == []
    assert tables.status(id_) == "pending"


def test_a_trigger_starts_one_run_however_often_it_is_repeated(tables, database):
    before = database.run(schedules.create, told(enabled=False))
    new = NewExecution('{"x": 1}')
    ids = {database.run(schedules.trigger, "nightly", HOW, new) for _ in range(3)}
    assert ids == {new.id}
    assert tables.row(new.id)["input"] == {"x": 1}
    (slot,) = tables.sql("SELECT slot, execution_id::text FROM durable.schedule_slots")
    assert slot["execution_id"] == new.id
    assert slot["slot"].microsecond != 0
    after = database.run(schedules.get, "nightly")
    assert after.last_run_at is not None
    assert (after.next_run_at, after.enabled) == (before.next_run_at, False)


def test_a_declared_schedule_is_created_then_updated(tables, database):
    assert database.run(schedules.declare, [told(input={"a": 1}), told("other")]) == 2
    assert database.run(schedules.declare, [told(input={"a": 1}), told("other")]) == 0
    assert database.run(schedules.declare, []) == 0
    assert database.run(schedules.declare, [told(input={"a": 2}), told("other")]) == 1
    assert database.run(schedules.get, "nightly").input == {"a": 2}


def test_declaring_keeps_what_operators_set_and_what_has_happened(tables, database):
    database.run(schedules.declare, [told()])
    then = now_of(tables) - timedelta(days=1)
    set_row(tables, enabled=False, last_run_at=then, next_run_at=then, consecutive_failures=3)
    database.run(schedules.declare, [told(queue="q", enabled=True)])
    kept = database.run(schedules.get, "nightly")
    assert (kept.queue, kept.enabled, kept.consecutive_failures) == ("q", False, 3)
    assert (kept.last_run_at, kept.next_run_at) == (then, then)


@pytest.mark.parametrize("change", [{"cron": "0 5 * * *"}, {"timezone": "Asia/Tokyo"}])
def test_declaring_another_cron_or_timezone_computes_the_next_slot(tables, database, change):
    database.run(schedules.declare, [told()])
    set_row(tables, next_run_at=now_of(tables) - timedelta(days=1))
    database.run(schedules.declare, [told(**change)])
    changed = database.run(schedules.get, "nightly")
    assert changed.next_runs(1, now_of(tables)) == [changed.next_run_at]


def test_a_repeated_create_takes_the_same_schedule_for_its_own(database):
    created = database.run(schedules.create, told(), Wish())
    with pytest.raises(ScheduleExists):
        database.run(schedules.create, told(), Wish())
    assert database.run(schedules.create, told(), Wish(is_repeated=True)) == created
    with pytest.raises(ScheduleExists):
        database.run(schedules.create, told(cron="0 4 * * *"), Wish(is_repeated=True))
    database.run(schedules.delete, "nightly", Wish())
    database.run(schedules.delete, "nightly", Wish(is_repeated=True))
    with pytest.raises(ScheduleNotFound):
        database.run(schedules.delete, "nightly", Wish())
