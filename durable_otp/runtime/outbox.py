"""How a worker hands finished steps to its manager, which commits them with those of others."""

from collections.abc import Callable
from typing import Any

from durable_otp.errors import DatabaseUnreachable
from durable_otp.runtime import messages
from durable_otp.storage.batch import StepRow

MOST_UNDER_WAY = 64
"""So many steps of an execution are handed over before one waits for their commit."""

Send = Callable[[str, dict[str, Any], bytes], None]


class StepOutbox:
    """The steps of one execution that are under way; implements `batched_journal.Outbox`.

    ``wait(run)`` returns True when the manager has said that all of a run is committed, False when
    the run is to end instead.
    """

    def __init__(self, run: int, send: Send, wait: Callable[[int], bool]) -> None:
        self._run = run
        self._send = send
        self._wait = wait
        self._under_way = 0

    def put(self, row: StepRow) -> None:
        """Hand over a step's row; blocks while too many are under way."""
        fields = {"step_id": row.step_id, "is_last": row.is_last, "result": row.result}
        self._send(messages.STEP, {"run": self._run, **fields}, row.text)
        self._under_way += 1
        if self._under_way >= MOST_UNDER_WAY:
            self.flush()

    def flush(self) -> None:
        """Return when all that was put is committed; blocks.

        Raises:
            DatabaseUnreachable: The run is to end instead.
        """
        if not self._under_way:
            return
        self._send(messages.FLUSH, {"run": self._run}, b"")
        if not self._wait(self._run):
            raise DatabaseUnreachable("The manager has not committed what was handed to it.")
        self._under_way = 0
