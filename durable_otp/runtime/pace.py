"""How often a step's progress is passed on: often enough for its deadline, and no oftener."""

from durable_otp.clock import Deadline

REPORTS_PER_DEADLINE = 10


class Pace:
    """The pace for one run of a body; ``deadline`` in seconds, None when nobody wants to know."""

    def __init__(self, deadline: float | None) -> None:
        self._between = None if deadline is None else deadline / REPORTS_PER_DEADLINE
        self._next = Deadline(0.0)

    def is_due(self) -> bool:
        """Return whether to pass this one on, and count it if so."""
        if self._between is None or not self._next.passed:
            return False
        self._next = Deadline(self._between)
        return True
