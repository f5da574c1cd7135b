"""Telling the dead from the silent, by watching their beats move. Pure.

A beat is a counter that a living process raises in the database. It is judged against this
process's own monotonic clock, over an unbroken connection: after an outage every timestamp looks
old, and nobody is called dead for that.
"""

from collections.abc import Mapping


class Pulse:
    """The beats as last seen, and since when each has not moved."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def forget(self) -> None:
        """Begin to watch anew: the connection was broken meanwhile."""
        self._seen.clear()

    def observe(self, beats: Mapping[str, int], now: float) -> None:
        """Take note of the beats there are at a moment of the monotonic clock."""
        self._seen = {
            key: self._seen[key] if self._seen.get(key, (None, 0.0))[0] == beat else (beat, now)
            for key, beat in beats.items()
        }

    def dead(self, now: float, silent_for: float) -> list[str]:
        """Return whose beat was seen and has not moved for so many seconds."""
        return [key for key, (_, since) in self._seen.items() if now - since >= silent_for]

    def living(self, now: float, silent_for: float) -> list[str]:
        """Return all others: those that move, and those not watched for long enough."""
        return [key for key, (_, since) in self._seen.items() if now - since < silent_for]
