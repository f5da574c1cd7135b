"""Which slots run: catching up, jitter, and when a schedule is given up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_otp.errors import ScheduleError
from durable_otp.workflow import slots
from durable_otp.workflow.schedule import Schedule
from durable_otp.workflow.slots import Outcome, due
from durable_otp.workflow.state import FINAL, State

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
HOURLY = Schedule(
    "hourly", "w", "0 * * * *", "UTC", None, None, enabled=True, next_run_at=NOON
)  # fmt: skip


def hours(*numbers):
    return tuple(NOON + timedelta(hours=number) for number in numbers)


def caught_up(catch_up, after, **changes):
    return due(replace(HOURLY, catch_up=catch_up, **changes), NOON + after)


def test_nothing_is_due_before_its_time_or_without_one():
    before = due(HOURLY, NOON - timedelta(microseconds=1))
    assert (before.slots, before.next_run_at) == ((), NOON)
    never = due(replace(HOURLY, next_run_at=None), NOON)
    assert (never.slots, never.next_run_at) == ((), None)


@pytest.mark.parametrize("catch_up", ["skip", "one", "all"])
def test_a_punctual_slot_runs_whatever_the_policy(catch_up):
    for late in (timedelta(0), timedelta(seconds=60)):
        found = caught_up(catch_up, late)
        assert (found.slots, found.next_run_at) == (hours(0), hours(1)[0])


@pytest.mark.parametrize(
    ("catch_up", "run"), [("skip", ()), ("one", hours(3)), ("all", hours(0, 1, 2, 3))]
)
def test_missed_slots_run_as_the_policy_says(catch_up, run):
    found = caught_up(catch_up, timedelta(hours=3, minutes=30))
    assert (found.slots, found.next_run_at) == (run, hours(4)[0])


def test_skipping_runs_a_slot_that_came_just_now_after_missed_ones():
    found = caught_up("skip", timedelta(hours=3, seconds=1))
    assert (found.slots, found.next_run_at) == (hours(3), hours(4)[0])


def test_all_are_caught_up_in_batches():
    year = replace(HOURLY, cron="* * * * *", catch_up="all")
    first = due(year, NOON + timedelta(days=365))
    assert len(first.slots) == slots.BATCH_SIZE
    assert first.next_run_at == NOON + timedelta(minutes=slots.BATCH_SIZE)
    second = due(replace(year, next_run_at=first.next_run_at), NOON + timedelta(days=365), limit=3)
    assert second.slots[0] == first.next_run_at
    assert len(second.slots) == 3


def test_runs_that_the_next_would_cancel_are_not_started():
    found = caught_up("all", timedelta(hours=3), overlap="cancel_previous")
    assert found.slots == hours(3)


@given(
    cron=st.sampled_from(["* * * * *", "*/7 3 * * *", "0 9 * * MON", "0 0 1 * *", "5 4 29 2 *"]),
    missed=st.integers(1, 60),
    late=st.integers(0, 50_000),
)
@settings(deadline=None, max_examples=50)
def test_the_one_that_is_caught_up_is_the_latest(cron, missed, late):
    schedule = replace(HOURLY, cron=cron, timezone="Europe/Berlin")
    passed = schedule.next_runs(missed + 1, NOON)
    now = min(passed[-2] + timedelta(seconds=late), passed[-1] - timedelta(microseconds=1))
    found = due(replace(schedule, next_run_at=passed[0]), now)
    assert (found.slots, found.next_run_at) == ((passed[-2],), passed[-1])


def test_a_row_with_a_wrong_cron_says_so():
    with pytest.raises(ScheduleError, match="'hourly': cron 'nonsense'"):
        due(replace(HOURLY, cron="nonsense"), NOON)


def test_jitter_is_within_its_limit_spread_and_always_the_same():
    jittered = replace(HOURLY, jitter=600.0)
    delays = [
        (slots.starts_at(jittered, each) - each).total_seconds() for each in hours(*range(50))
    ]
    assert all(0 <= delay < 600 for delay in delays)
    assert max(delays) - min(delays) > 300
    assert slots.starts_at(jittered, NOON) == slots.starts_at(replace(jittered), NOON)
    assert slots.starts_at(replace(jittered, name="other"), NOON) != slots.starts_at(jittered, NOON)
    assert slots.starts_at(HOURLY, NOON) == NOON


def after(*outcomes, schedule=HOURLY):
    return slots.after_runs(schedule, [(each, "boom") for each in outcomes], NOON)


F, OK, CANCELLED = Outcome.FAILED, Outcome.COMPLETED, Outcome.CANCELLED


def test_five_failures_in_a_row_disable_and_four_do_not():
    four = after(F, F, F, F)
    assert (four.enabled, four.consecutive_failures, four.auto_disabled_at) == (True, 4, None)
    five = after(F, schedule=four)
    assert (five.enabled, five.consecutive_failures, five.auto_disabled_at) == (False, 5, NOON)
    assert five.last_error == "boom"


def test_success_clears_the_count_and_a_cancelled_run_says_nothing():
    assert after(F, F, F, F, OK, F).consecutive_failures == 1
    assert after(F, OK).last_error is None
    assert after(F, CANCELLED, Outcome.UNKNOWN).consecutive_failures == 1


def test_a_schedule_that_somebody_disabled_is_not_disabled_for_its_failures():
    disabled = after(*[F] * 7, schedule=replace(HOURLY, enabled=False))
    assert (disabled.consecutive_failures, disabled.auto_disabled_at) == (7, None)


def test_enabling_clears_the_failures_and_begins_from_now():
    later = NOON + timedelta(days=3, minutes=1)
    again = slots.enabled(after(*[F] * 5), later)
    assert (again.enabled, again.consecutive_failures) == (True, 0)
    assert (again.last_error, again.auto_disabled_at) == (None, None)
    assert again.next_run_at == later + timedelta(minutes=59)


def test_enabling_what_is_enabled_drops_no_slot():
    assert slots.enabled(HOURLY, NOON + timedelta(days=1)).next_run_at == NOON


def test_a_long_error_is_cut():
    failed = slots.after_failure(HOURLY, "x" * 5000, NOON)
    assert len(failed.last_error) == slots.LONGEST_ERROR


def test_every_end_of_a_run_is_judged():
    assert set(slots.OUTCOMES) == FINAL
    assert {state for state, found in slots.OUTCOMES.items() if found is F} == {
        State.FAILED, State.COMPENSATED, State.COMPENSATION_FAILED,
    }  # fmt: skip
