"""Retry decides from its fields, the attempt, the exception and a draw; nothing else."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_otp.errors import DefinitionError, Fatal, SerializationError, StepInterrupted
from durable_otp.workflow.retry import Retry
from durable_otp.workflow.suspension import Suspension, WaitRequest


@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        (Retry(), [2, 4, 8, 16, 30, 30]),
        (Retry(backoff="linear", base=2), [2, 4, 6]),
        (Retry(backoff="constant", base=timedelta(minutes=1)), [30, 30]),
        (Retry(backoff="constant", base=0), [0, 0]),
        (Retry(base=0.1, max_backoff=timedelta(seconds=1)), [0.2, 0.4, 0.8, 1]),
    ],
)
def test_the_delay_grows_as_said_and_stops_at_the_longest(retry, delays):
    assert [retry.delay(n, 0.5) for n in range(1, len(delays) + 1)] == pytest.approx(delays)


def test_the_jitter_is_a_quarter_either_way():
    assert [Retry().delay(1, draw) for draw in (0.0, 0.5, 1.0)] == [1.5, 2.0, 2.5]
    assert Retry(jitter=0).delay(1, 0.0) == 2.0


@given(st.integers(1, 10**9), st.floats(0, 1), st.sampled_from(["exponential", "linear"]))
def test_a_delay_is_finite_whatever_the_attempt(attempt, draw, backoff):
    assert 0 <= Retry(backoff=backoff, base=1e300).delay(attempt, draw) <= 37.5


def test_attempts_end_with_max_attempts():
    retry = Retry(max_attempts=3)
    assert [retry.allows(ValueError(), n) for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert not Retry().allows(ValueError(), 1)


@pytest.mark.parametrize(
    ("retry", "exception", "allowed"),
    [
        (Retry(5), Fatal("x"), False),
        (Retry(5, retry_on=Fatal), Fatal("x"), False),
        (Retry(5, retry_on=(SerializationError,)), SerializationError("x"), False),
        (Retry(5, retry_on=KeyError), ValueError(), False),
        (Retry(5, retry_on=(KeyError, ValueError)), ValueError(), True),
        (Retry(5, retry_on=LookupError), KeyError(), True),
        (Retry(5, give_up_on=ValueError), UnicodeError(), False),
        (Retry(5, give_up_on=(KeyError, ValueError)), TypeError(), True),
        (Retry(5), StepInterrupted(), True),
        (Retry(5, retry_on=ValueError), StepInterrupted(), False),
        (Retry(5, give_up_on=TimeoutError), StepInterrupted(), False),
        (Retry(5), KeyboardInterrupt(), False),
        (Retry(5), Suspension(WaitRequest("sleep")), False),
    ],
)
def test_only_what_may_end_differently_is_retried(retry, exception, allowed):
    assert retry.allows(exception, 1) is allowed


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": True},
        {"max_attempts": 1.5},
        {"max_attempts": None},
        {"backoff": "fibonacci"},
        {"base": -1},
        {"base": "1s"},
        {"max_backoff": float("inf")},
        {"jitter": 1.5},
        {"jitter": float("nan")},
        {"jitter": True},
        {"retry_on": ValueError("x")},
        {"retry_on": [ValueError]},
        {"give_up_on": (ValueError, int)},
        {"retry_on": BaseException},
    ],
)
def test_a_wrong_policy_is_one_sentence(options):
    with pytest.raises(DefinitionError) as refused:
        Retry(**options)
    assert next(iter(options)) in str(refused.value)
    assert str(refused.value).endswith(".")


def test_the_description_is_json():
    assert Retry(3, give_up_on=KeyError).description() == {
        "max_attempts": 3,
        "backoff": "exponential",
        "base": 1.0,
        "max_backoff": 30.0,
        "jitter": 0.25,
        "retry_on": ["builtins.Exception"],
        "give_up_on": ["builtins.KeyError"],
    }
