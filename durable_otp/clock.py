"""Elapsed time, the only time Python decides by; wall time is the database's."""

import time


def monotonic() -> float:
    """Return seconds on a clock that never goes back (the start is arbitrary)."""
    return time.monotonic()


def wall_clock() -> float:
    """Return this machine's time as seconds since 1970: to be shown to people, never compared."""
    return time.time()


class Deadline:
    """A point on the monotonic clock, or never."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else monotonic() + seconds

    @property
    def remaining(self) -> float | None:
        """Seconds left, never below zero; None when there is no deadline."""
        return None if self._at is None else max(0.0, self._at - monotonic())

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self._at is not None and monotonic() >= self._at
