"""Moves told to handlers of this process: a subscription that a thread listens to."""

import threading
from collections.abc import Callable
from contextlib import suppress
from logging import ERROR, WARNING

from durable_otp.errors import DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.storage.moves import MoveSubscription
from durable_otp.workflow.execution import StateMove

REST_AFTER_LOSS = 1.0

MoveHandler = Callable[[StateMove], object]


class MoveHandling:
    """Calls a handler with every move, in a thread of its own, until it is stopped.

    A handler that raises is logged and called again with the next move. When the connection is
    lost, that is logged and another is opened: what moved meanwhile is not told.
    """

    def __init__(self, subscribe: Callable[[], MoveSubscription], handler: MoveHandler) -> None:
        self._subscribe = subscribe
        self._handler = handler
        self._stopped = threading.Event()
        self._moves = subscribe()
        self._thread = threading.Thread(target=self._run, name="durable-otp moves", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Call the handler no more; blocks until a call that runs has returned."""
        self._stopped.set()
        self._moves.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                for move in self._moves:
                    self._tell(move)
            except DatabaseUnreachable as error:
                emit("moves_not_heard", level=WARNING, reason=str(error))
                self._moves.close()
            if self._moves.is_closed and not self._stopped.wait(REST_AFTER_LOSS):
                self._open_again()

    def _open_again(self) -> None:
        with suppress(DatabaseUnreachable):  # tried again after another rest
            self._moves = self._subscribe()
        if self._stopped.is_set():
            self._moves.close()

    def _tell(self, move: StateMove) -> None:
        try:
            self._handler(move)
        except Exception as error:  # noqa: BLE001 - user code must not end the listening
            reason = f"{type(error).__name__}: {error}"
            emit("move_handler_failed", level=ERROR, execution=move.execution_id, reason=reason)
