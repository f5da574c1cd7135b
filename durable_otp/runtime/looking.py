"""How a manager looks at its queue: at the whole of it, or onwards from where it has looked.

While a transaction stays open, whoever began it, PostgreSQL keeps the index entries of all that is
claimed meanwhile, and each look at the whole queue passes them all. So when that has become slow,
looks go on from where the last one ended, and the whole is seen again only now and then: for what
came to stand before, which is a priority not met yet, a sleeper that is due and a late commit.
"""

from collections.abc import Sequence

from durable_otp.clock import Deadline
from durable_otp.storage.queue import Claim, Place, place_of

SLOW_SECONDS = 0.005
SLOW_LOOKS = 3
"""So many looks in a row must be slow: a busy machine makes one slow now and then."""
WORTH = 2.0
"""So many times faster must an onward look be, or it was not the queue that was slow."""
REST_PER_LOOK = 20.0
"""So many times as long as a slow look at the whole took is it not repeated: it is then one look in
a hundred or so, and what came to stand before is late by that time at most."""

LONGEST_REST = 1.0
"""In seconds, whatever a look took: on a machine that has no time it says little of the queue."""


class Looking:
    """What a manager remembers of its looks."""

    def __init__(self) -> None:
        self._places: dict[int, Place] = {}
        self._whole_seconds = 0.0
        self._slow = 0
        self._next_whole = Deadline(0)
        self.is_onwards = False
        """Whether looks go onwards because that is so much faster."""

    def places(self) -> list[Place] | None:
        """Return from where to look onwards; None to look at the whole."""
        if self._next_whole.passed or not self._places:
            return None
        return list(self._places.values())

    @property
    def whole_in(self) -> float:
        """In how many seconds the whole is to be seen again."""
        return self._next_whole.remaining or 0.0

    def saw_whole(self, claims: Sequence[Claim], seconds: float) -> None:
        """Take note of a look at the whole."""
        self._remember(claims)
        self._whole_seconds = seconds
        self._slow = self._slow + 1 if seconds > SLOW_SECONDS else 0
        is_slow = self._slow >= SLOW_LOOKS
        self.is_onwards = self.is_onwards and is_slow
        rest = min(LONGEST_REST, REST_PER_LOOK * seconds) if is_slow else 0
        self._next_whole = Deadline(rest)

    def saw_onwards(self, claims: Sequence[Claim], seconds: float) -> None:
        """Take note of a look onwards."""
        self._remember(claims)
        self.is_onwards = seconds * WORTH < self._whole_seconds
        if not self.is_onwards:
            self._next_whole = Deadline(0)

    def _remember(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            place = place_of(claim)
            self._places[claim.priority] = max(place, self._places.get(claim.priority, place))
