"""How many executions a worker is handed ahead of the one it runs. Pure.

Short ones cost more to hand over than to run, so several go at once; a long one keeps those behind
it waiting, so none do. What was handed ahead can be taken back as long as it has not begun.
"""

MOST = 64
LONGEST_WAIT_SECONDS = 0.05
"""What is handed ahead should be begun within this time, by what the last ones took."""
LONGEST_REMEMBERED_SECONDS = 2 * LONGEST_WAIT_SECONDS
WEIGHT = 0.2


class Ahead:
    """Follows how long the executions of a queue take: up at once, down slowly."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._seconds = LONGEST_REMEMBERED_SECONDS

    def observe(self, seconds: float) -> None:
        """Take note of how long one took."""
        seconds = min(seconds, LONGEST_REMEMBERED_SECONDS)
        self._seconds = max(seconds, self._seconds + WEIGHT * (seconds - self._seconds))

    def too_long(self) -> None:
        """Take note of one that runs so long that nothing should wait behind it."""
        self._seconds = LONGEST_REMEMBERED_SECONDS

    @property
    def count(self) -> int:
        """How many to hand a worker beside the one it runs."""
        if self._seconds <= 0:
            return self._most
        return min(self._most, int(LONGEST_WAIT_SECONDS / self._seconds))
