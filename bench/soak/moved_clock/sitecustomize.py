"""For a node whose clock is moved: libfaketime 0.9.10 has `time.sleep` fail (EINVAL).

It mends a moved wall clock into the deadline of every `clock_nanosleep`, also of those that count
by the monotonic clock, which it was told to leave alone. `select` has no such trouble.
"""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
