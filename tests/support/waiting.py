"""Wait for something that happens elsewhere; the only place in the tests that pauses."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(condition: Callable[[], Value], *, timeout: float = 30.0, what: str = "") -> Value:
    """Return the first truthy answer of `condition`, asked every 10 ms, or fail after `timeout`."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain for {what or condition}: {answer!r}")
        time.sleep(0.01)
