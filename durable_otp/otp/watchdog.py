"""Noticing a child that is alive and does nothing: a deadlock, or a C call that never returns.

Whatever such a child's specification calls its ``watchdog`` is how long it may be silent. Every
message is a sign of life; ``ParentLink.receive`` sends one by itself while it waits, and a child
that computes for long calls ``beat``.
"""

import asyncio
from collections.abc import Callable

from durable_otp.clock import monotonic


class Watchdog:
    """Calls ``hung`` once when nothing was heard for so many seconds, in an event loop.

    ``listen`` is called before: it may ``beat``, for what was said in time and not yet heard.
    """

    def __init__(
        self, seconds: float, *, listen: Callable[[], object], hung: Callable[[], None]
    ) -> None:
        self._seconds = seconds
        self._listen = listen
        self._hung = hung
        self._heard = monotonic()
        self._arm(seconds)

    def beat(self) -> None:
        """Note a sign of life."""
        self._heard = monotonic()

    def cancel(self) -> None:
        """Watch no longer."""
        self._timer.cancel()

    def _arm(self, seconds: float) -> None:
        self._due = monotonic() + seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._listen()
        if monotonic() - self._due > self._seconds / 2:  # this process was not running either
            self.beat()
        left = self._heard + self._seconds - monotonic()
        if left > 0:
            self._arm(left)
        else:
            self._hung()
