"""The people of the demo: whoever answers what an execution waits for."""

from contextlib import suppress
from typing import Any

from durable_otp.client import Durable
from durable_otp.clock import Deadline
from durable_otp.errors import AlreadyFinished, InputRejected, NoPendingInput

SEEN_AT_ONCE = 50
THINKING = 0.7
LARGE_EXPENSE, SMALL_EXPENSE = 900, 40
SETTLED = {"status": "settled", "amount": 100}
REFUSED = {"status": "refused"}
OVERTAKEN = (AlreadyFinished, InputRejected, NoPendingInput)
"""A timeout or a kill may be quicker than the answer."""


class People:
    """Answers inputs and sends events, as people and other systems do, after a little while."""

    def __init__(self, client: Durable) -> None:
        self._client = client
        self._thinking: dict[str, Deadline] = {}
        self._sent: set[str] = set()
        self.answers = 0

    def act(self) -> None:
        """Answer what has been asked long enough; what nobody answers ends at its timeout."""
        for asked in self._client.list_pending_inputs(limit=SEEN_AT_ONCE):
            data = self._answer(asked.name)
            if data is not None and self._has_thought(asked.id):
                with suppress(*OVERTAKEN):
                    self._client.provide_input(asked.execution_id, asked.name, data)
                    self.answers += 1
        for wait in self._client.list_pending_events(limit=SEEN_AT_ONCE):
            if wait.id not in self._sent and self._has_thought(wait.id):
                self._sent.add(wait.id)
                self._send(wait.execution_id, wait.names)

    def _has_thought(self, wait_id: str) -> bool:
        return self._thinking.setdefault(wait_id, Deadline(THINKING)).passed

    def _answer(self, name: str) -> Any:
        turn = self.answers
        match name:
            case "expense":
                amount = LARGE_EXPENSE if turn % 2 else SMALL_EXPENSE
                return {"purpose": "a train", "amount": amount}
            case "manager":
                return "rejected" if turn % 5 == 0 else "approved"
            case "verdict" if turn % 3:
                return "published"
        return None

    def _send(self, execution_id: str, names: list[str]) -> None:
        is_friendly = self.answers % 4 != 0
        for name in names:
            payload: Any = {"approved": is_friendly}
            if name == "settlement":
                payload = SETTLED if is_friendly else REFUSED
            with suppress(*OVERTAKEN):
                self._client.send_event(execution_id, name, payload)
                self.answers += 1
