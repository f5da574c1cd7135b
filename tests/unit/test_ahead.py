"""How many executions are handed ahead: many while they are short, none after a long one."""

from durable_otp.runtime.ahead import LONGEST_WAIT_SECONDS, MOST, Ahead

SHORT = LONGEST_WAIT_SECONDS / 100


def after(*seconds: float) -> int:
    ahead = Ahead()
    for each in seconds:
        ahead.observe(each)
    return ahead.count


def test_nothing_is_handed_ahead_before_anything_is_known() -> None:
    assert Ahead().count == 0


def test_short_executions_are_handed_ahead_up_to_the_most() -> None:
    assert 0 < after(*[SHORT] * 10) <= MOST
    assert after(*[SHORT] * 100) == MOST
    assert after(*[0.0] * 1000) == MOST


def test_one_long_execution_ends_that_at_once() -> None:
    assert after(*[SHORT] * 100, LONGEST_WAIT_SECONDS * 1.01) == 0
    assert after(*[SHORT] * 100, 3600.0) == 0


def test_an_hour_is_forgotten_as_soon_as_a_second() -> None:
    later = [SHORT] * 12
    assert after(3600.0, *later) == after(1.0, *later) > 0


def test_what_is_handed_ahead_should_begin_in_time() -> None:
    for share in (2, 3, 10):
        seconds = LONGEST_WAIT_SECONDS / share
        assert after(*[seconds] * 200) * seconds <= LONGEST_WAIT_SECONDS
