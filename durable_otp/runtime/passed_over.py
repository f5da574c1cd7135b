"""When to look again for what a claim has passed over, because somebody held its row.

Whoever sends an event to an execution or waits for its end holds its row for a moment, and nobody
notifies the queue afterwards. A moment is short; a transaction that an application leaves open is
not, and is asked after less and less often.
"""

import math

FIRST_REST = 0.005
LONGEST_REST = 1.0


class PassedOver:
    """How long a manager rests before it looks again."""

    def __init__(self) -> None:
        self._rest = FIRST_REST

    def rest(self, *, is_anything: bool) -> float:
        """Return the seconds until the next look; infinite if nothing was passed over."""
        if not is_anything:
            self._rest = FIRST_REST
            return math.inf
        rest = self._rest
        self._rest = min(LONGEST_REST, 2 * rest)
        return rest
