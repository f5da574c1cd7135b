"""Waiting for what others do and publish."""

from collections.abc import Callable
from threading import Event

from durable_otp.clock import Deadline

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25


def holds_within(limit: Deadline, holds: Callable[[], bool]) -> bool:
    """Wait until something holds; False when it does not before the deadline. Blocks."""
    pause = FIRST_PAUSE
    while not holds():
        if limit.passed:
            return False
        Event().wait(min(pause, limit.remaining or pause))
        pause = min(LONGEST_PAUSE, pause * 1.3)
    return True
