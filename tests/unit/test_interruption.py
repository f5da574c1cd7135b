"""An interrupt raises inside the body it was meant for: also one that came before the body."""

import os
import signal

import pytest

from durable_otp.errors import StepInterrupted
from durable_otp.otp.interruption import SIGNAL, Interruption


class Wanted:
    """Whether an interrupt is wanted, and how often that was asked."""

    def __init__(self) -> None:
        self.now = False
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.now


@pytest.fixture
def wanted():
    return Wanted()


@pytest.fixture
def interruption(wanted, restored_signals):
    interruption = Interruption(wanted)
    interruption.install()
    return interruption


@pytest.fixture
def restored_signals():

    before = signal.getsignal(SIGNAL)
    yield
    signal.signal(SIGNAL, before)


def test_a_body_to_which_no_signal_came_is_not_asked_about(interruption, wanted):
    wanted.now = True
    with interruption.allowed():
        pass
    assert wanted.asked == 0


def test_a_signal_that_came_before_the_body_raises_in_it(interruption, wanted):
    wanted.now = True
    os.kill(os.getpid(), SIGNAL)
    assert wanted.asked == 0
    with pytest.raises(StepInterrupted), interruption.allowed():
        pytest.fail("the body ran")


def test_one_that_was_not_wanted_yet_raises_in_the_body_that_it_is_wanted_in(interruption, wanted):
    os.kill(os.getpid(), SIGNAL)
    with interruption.allowed():
        pass
    wanted.now = True
    with pytest.raises(StepInterrupted), interruption.allowed():
        pytest.fail("the body ran")
    with interruption.allowed():
        pass  # it was one interrupt


def test_one_that_was_put_off_raises_behind_it(interruption, wanted):
    reached = []
    wanted.now = True

    def body():
        with interruption.put_off():
            os.kill(os.getpid(), SIGNAL)
            reached.append("the end of what it was put off for")
        reached.append("what comes behind")

    with pytest.raises(StepInterrupted), interruption.allowed():
        body()
    assert reached == ["the end of what it was put off for"]
