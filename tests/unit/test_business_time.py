"""The instants people mean, in their zone, over weekends and over changes of the clocks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_otp.workflow.business_time import end_of_day, next_business_day, next_weekday
from durable_otp.workflow.current import entering

SATURDAY = datetime(2026, 3, 7, 12, tzinfo=UTC)
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def test_the_next_business_day_is_after_today_and_after_the_weekend():
    friday = SATURDAY - timedelta(days=1)
    assert next_business_day(now=friday) == datetime(2026, 3, 9, 9, tzinfo=UTC)
    assert next_business_day(now=SATURDAY) == datetime(2026, 3, 9, 9, tzinfo=UTC)
    assert next_business_day(8, now=friday - timedelta(days=1)) == datetime(
        2026, 3, 6, 8, tzinfo=UTC
    )


def test_today_is_the_zones_today():
    late = datetime(2026, 3, 5, 23, 30, tzinfo=UTC)  # Friday already in Tokyo
    assert next_business_day(now=late, timezone="Asia/Tokyo") == datetime(2026, 3, 9, tzinfo=UTC)
    assert next_business_day(now=late) == datetime(2026, 3, 6, 9, tzinfo=UTC)


def test_the_same_weekday_is_a_week_ahead():
    assert next_weekday("saturday", now=SATURDAY) == datetime(2026, 3, 14, 9, tzinfo=UTC)
    assert next_weekday(" Sunday ", now=SATURDAY) == datetime(2026, 3, 8, 9, tzinfo=UTC)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)), st.sampled_from(DAYS))  # noqa: DTZ001
def test_the_next_weekday_is_one_to_seven_days_ahead(moment, day):
    now = moment.replace(tzinfo=UTC)
    found = next_weekday(day, 0, now=now)
    assert DAYS[found.weekday()] == day
    assert 1 <= (found.date() - now.date()).days <= 7


def test_the_end_of_the_day_is_that_of_the_zone():
    found = end_of_day("America/New_York", now=datetime(2026, 3, 8, 4, 30, tzinfo=UTC))
    assert found == datetime(2026, 3, 8, 4, 59, 59, tzinfo=UTC)
    assert end_of_day(now=SATURDAY) == datetime(2026, 3, 7, 23, 59, 59, tzinfo=UTC)


def test_a_wall_time_that_does_not_exist_is_the_first_instant_after_the_gap():
    found = next_weekday("sunday", 2, "America/New_York", now=SATURDAY)
    assert found == datetime(2026, 3, 8, 7, tzinfo=UTC)  # 03:00 EDT
    lord_howe = next_weekday(
        "sunday", 2, "Australia/Lord_Howe", now=datetime(2026, 10, 3, tzinfo=UTC)
    )
    assert lord_howe == datetime(2026, 10, 3, 15, 30, tzinfo=UTC)  # the clocks skip half an hour


def test_a_wall_time_that_comes_twice_is_the_first_of_the_two():
    now = datetime(2026, 10, 31, 12, tzinfo=UTC)
    found = next_weekday("sunday", 1, "America/New_York", now=now)
    assert found.astimezone(UTC) == datetime(2026, 11, 1, 5, tzinfo=UTC)


class Run:
    context = None

    def now(self):
        return SATURDAY

    def wait(self, request):
        raise AssertionError(request)


def test_now_is_the_databases_inside_a_step_and_the_hosts_outside():
    with entering(Run()):
        assert next_business_day() == datetime(2026, 3, 9, 9, tzinfo=UTC)
    assert timedelta() <= next_business_day() - datetime.now(UTC) < timedelta(days=5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: next_weekday("someday"), "someday"),
        (lambda: next_business_day(24), "0 to 23"),
        (lambda: next_business_day(True), "0 to 23"),
        (lambda: end_of_day("Mars/Olympus"), "time zone"),
        (lambda: end_of_day("/etc/passwd"), "time zone"),
        (lambda: end_of_day(now=datetime(2026, 1, 1)), "aware"),  # noqa: DTZ001
    ],
)
def test_nonsense_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
