"""How durations are written, and the one form they have inside."""

from datetime import timedelta

import pytest

from durable_otp import days, hours, minutes, seconds
from durable_otp.durations import in_seconds, parse_duration


def test_there_is_a_word_for_each_unit():
    assert [seconds(2), minutes(2), hours(2), days(2)] == [
        timedelta(seconds=2),
        timedelta(seconds=120),
        timedelta(seconds=7200),
        timedelta(seconds=172_800),
    ]
    assert minutes(0.5) == timedelta(seconds=30)


def test_an_argument_is_a_timedelta_or_seconds():
    assert [in_seconds(value) for value in (minutes(1), 90, 0.25, 0)] == [60, 90, 0.25, 0]


@pytest.mark.parametrize("value", ["1m", None, True, [1]])
def test_anything_else_is_refused_by_its_name(value):
    with pytest.raises(TypeError, match="timeout must be a timedelta or a number of seconds"):
        in_seconds(value, what="timeout")


@pytest.mark.parametrize("value", [-1, timedelta(seconds=-1), float("inf"), float("nan")])
def test_a_duration_is_finite_and_not_negative(value):
    with pytest.raises(ValueError, match="zero or more seconds and finite"):
        in_seconds(value)


@pytest.mark.parametrize(
    ("text", "value"), [("500ms", 0.5), ("30s", 30), (" 1.5 m ", 90), ("2h", 7200), ("7d", 604_800)]
)
def test_a_text_has_a_unit(text, value):
    assert parse_duration(text) == value


@pytest.mark.parametrize("text", ["", "5", "1w", "-1s", "1s1s"])
def test_a_text_without_one_is_none(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
