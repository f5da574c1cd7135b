"""Who gets a shared worker process for itself after deaths in company, and who waits for one."""

import pytest

from durable_otp.runtime.apart import Seating, begins_apart, seat


@pytest.mark.parametrize(
    ("crashes", "max_crashes", "expected"),
    [
        (0, 3, False),
        (1, 3, False),
        (2, 3, True),
        (1, 2, True),
        (0, 1, False),
        (2, 100, True),
    ],
)
def test_what_died_twice_or_may_not_die_again_begins_apart(crashes, max_crashes, expected):
    assert begins_apart(crashes, max_crashes) is expected


def test_each_gets_an_empty_worker():
    assert seat(2, {"1": 3, "2": 0, "3": 0, "4": 0}, free=9) == Seating(["2", "3"], None)


def test_for_one_that_waits_the_worker_with_least_in_hand_runs_empty():
    assert seat(2, {"1": 3, "2": 0, "3": 1}, free=9) == Seating(["2"], "3")


def test_nobody_begins_who_would_be_one_too_many():
    assert seat(2, {"1": 0, "2": 0}, free=1) == Seating(["1"], "2")
    assert seat(2, {"1": 0, "2": 3}, free=0) == Seating([], None)


def test_no_worker_is_closed_for_nobody():
    assert seat(0, {"1": 3, "2": 0}, free=2) == Seating([], None)
    assert seat(1, {}, free=2) == Seating([], None)
