"""What a step asks for when it waits, and the signal by which it leaves its worker."""

from dataclasses import dataclass
from datetime import datetime

from durable_otp.workflow.child_call import ChildCall


@dataclass(frozen=True)
class WaitRequest:
    """What a step waits for: a duration in ``seconds``, or the instant ``at``.

    ``kind`` and ``name`` are journaled at the wait's place in the order of calls; a re-run that
    asks something else there fails as ``definition_changed``.
    """

    kind: str
    name: str | None = None
    seconds: float | None = None
    at: datetime | None = None
    child: ChildCall | None = None
    """The execution to create, for a wait of the kind "child"."""


class Suspension(BaseException):
    """Raised by the run inside a step that must wait; the run remembers it, so nothing hides it."""

    def __init__(self, request: WaitRequest) -> None:
        super().__init__(f"waiting for {request.kind}")
        self.request = request
