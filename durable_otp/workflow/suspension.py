"""What a step asks for when it waits, and the signal by which it leaves its worker."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal

from durable_otp.workflow.child_call import ChildCall
from durable_otp.workflow.human_input import Question

OnTimeout = Literal["resume", "fail"]


class NoValue(Enum):
    """The type of ``NO_VALUE``."""

    NO_VALUE = "no value"

    def __repr__(self) -> str:
        return "NO_VALUE"


NO_VALUE: Final = NoValue.NO_VALUE
"""No value at all, which None is not: a wait without one raises when its time is over."""


@dataclass(frozen=True)
class WaitRequest:
    """What a step waits for: a time, events by their names, or a person's answer.

    ``kind`` and ``names`` are journaled at the wait's place in the order of calls; a re-run that
    asks something else there fails as ``definition_changed``.

    Attributes:
        kind: "sleep", "event" (one name), "any", "all", "input" or "child".
        names: What is waited for by name; empty for a sleep.
        seconds: How long a sleep lasts, or how long another wait waits; None for ever.
        at: Until when a sleep lasts, instead of ``seconds``.
        timeout_value: What the wait returns when its time is over; NO_VALUE: it raises.
        on_timeout: "fail": the execution fails when the time is over.
        question: What a person is asked.
    """

    kind: str
    names: tuple[str, ...] = ()
    seconds: float | None = None
    at: datetime | None = None
    timeout_value: Any = NO_VALUE
    on_timeout: OnTimeout = "resume"
    question: Question | None = None
    child: ChildCall | None = None
    """The execution to create, for a wait of the kind "child"."""

    def __str__(self) -> str:
        return described(self.kind, self.names)


def described(kind: str, names: tuple[str, ...]) -> str:
    """Return a wait in a few words: ``event 'paid'``, ``any of 'a', 'b'``."""
    listed = ", ".join(repr(name) for name in names)
    if kind in ("any", "all"):
        return f"{kind} of {listed}"
    return f"{kind} {listed}" if names else kind


class Suspension(BaseException):
    """Raised by the run inside a step that must wait; the run remembers it, so nothing hides it."""

    def __init__(self, request: WaitRequest) -> None:
        super().__init__(f"waiting for {request}")
        self.request = request
