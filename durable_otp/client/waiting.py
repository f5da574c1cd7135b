"""The client's calls about what executions wait for: events, and answers of people."""

from typing import Any

from durable_otp.storage import waits
from durable_otp.storage.pool import PooledDatabase
from durable_otp.workflow.human_input import PendingInput
from durable_otp.workflow.json_form import canonical
from durable_otp.workflow.mailbox import Event, PendingEvent
from durable_otp.workflow.wait import check_wait_name


class WaitingCalls:
    """A part of ``Durable``."""

    _database: PooledDatabase
    _max_payload: int

    def send_event(self, id: str, name: str, payload: Any = None) -> None:  # noqa: A002 - the contract's name
        """Send an event to an execution; it is kept until a wait consumes it.

        Args:
            id: The execution's.
            name: What a wait waits for; 1 to 200 printable characters.
            payload: Anything with a JSON form.

        Raises:
            AlreadyFinished: The execution has ended, or is compensating.
            ExecutionNotFound: There is none with this id.
            SerializationError: The payload has no JSON form.
            TypeError: The name is no text.
            ValueError: The name is empty, too long or not printable.
        """
        sent = waits.Sent(
            check_wait_name(name, "An event's name"),
            canonical(payload, what="payload", max_bytes=self._max_payload),
        )
        self._database.run(waits.send_event, id, sent)

    def provide_input(self, id: str, name: str, data: Any) -> None:  # noqa: A002 - the contract's name
        """Answer an input that an execution asks for.

        Args:
            id: The execution's.
            name: The input's.
            data: The answer; it must fit the input's type, choices and fields.

        Raises:
            InputRejected: It does not fit; the input stays open.
            NoPendingInput: The execution asks for no such input, or no longer.
            ExecutionNotFound: There is none with this id.
            SerializationError: The answer has no JSON form.
        """
        answer = canonical(data, what="data", max_bytes=self._max_payload)
        self._database.run(waits.provide_input, id, waits.Sent(name, answer))

    def list_pending_inputs(
        self, execution_id: str | None = None, limit: int = 50
    ) -> list[PendingInput]:
        """Return open inputs, of one execution or of all, the first to time out first.

        Raises:
            ValueError: The limit is not a whole number of at least 1.
        """
        return self._database.run(waits.list_pending_inputs, execution_id, limit)

    def list_pending_events(
        self, execution_id: str | None = None, limit: int = 50
    ) -> list[PendingEvent]:
        """Return open waits for events, of one execution or of all, the first to time out first.

        Raises:
            ValueError: The limit is not a whole number of at least 1.
        """
        return self._database.run(waits.list_pending_events, execution_id, limit)

    def list_events(self, id: str) -> list[Event]:  # noqa: A002 - the contract's name
        """Return the events that were sent to an execution, consumed or not, as they came.

        Raises:
            ExecutionNotFound: There is none with this id.
        """
        return self._database.run(waits.list_events, id)
