"""Durations and sizes are read as they are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_otp.config.quantities import read_duration, read_size, show_duration, show_size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "500ms"),
        (1, "1s"),
        (90, "90s"),
        (300, "5m"),
        (86400, "1d"),
        (0, "0s"),
        (1.5, "1500ms"),
    ],
)
def test_a_duration_is_shown_in_the_largest_unit_without_a_fraction(seconds, text):
    assert show_duration(seconds) == text
    assert read_duration(text) == seconds


@given(st.integers(1, 10**9))
def test_what_is_shown_is_read_back(amount):
    assert read_duration(show_duration(amount / 1000)) == pytest.approx(amount / 1000)
    assert read_size(show_size(amount)) == amount


@pytest.mark.parametrize(
    ("text", "size"), [("64KB", 65536), ("1MB", 1048576), (" 2 GB ", 2**31), (5, 5)]
)
def test_a_size_is_in_powers_of_1024(text, size):
    assert read_size(text) == size
