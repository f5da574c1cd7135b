"""Where a node's commands come in from the database, and their answers go out.

What was taken and not answered is passed to the root again at every look: the root carries out an
order once, however often it hears it, and answers again. So nothing is lost with a registrar.
"""

from collections.abc import Callable
from typing import Any

from durable_otp.otp import Message
from durable_otp.runtime import messages
from durable_otp.storage.commands import Command, Status, answer, answer_stop, take
from durable_otp.storage.database import Database
from durable_otp.workflow.execution import instant_text


class CommandDesk:
    """Looks for commands when it has heard of one, and now and then; ``order`` tells the root."""

    def __init__(
        self, database: Database, node_id: str, order: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._database = database
        self._node_id = node_id
        self._order = order
        self._is_due = True
        self._answers: dict[str, dict[str, Any]] = {}

    def look_soon(self) -> None:
        """Look for commands in the next round."""
        self._is_due = True

    def take(self, message: Message) -> None:
        """Take note of an answer of the root's."""
        if message.kind == messages.ANSWER:
            self._answers[message.fields["id"]] = message.fields

    def run_once(self) -> None:
        """Write the answers there are; pass on what has come."""
        for id_, fields in tuple(self._answers.items()):
            self._database.run(answer, id_, Status(fields["status"]), fields["outcome"])
            del self._answers[id_]
        if self._is_due:
            commands = self._database.run(take, self._node_id)
            self._is_due = False
            for command in commands:
                self._order(messages.ORDER, _fields(command))

    def close(self) -> None:
        """Say the last words: what is answered, and that the node has stopped."""
        self._is_due = False
        self.run_once()
        self._database.run(answer_stop, self._node_id)


def _fields(command: Command) -> dict[str, Any]:
    started_at = command.started_at
    return {
        "id": command.id,
        "verb": command.verb,
        "target": command.target,
        "pid": command.pid,
        "started_at": None if started_at is None else instant_text(started_at),
        "seconds": command.seconds,
    }
