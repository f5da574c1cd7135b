"""Calls to a supervisor in another process: how the question and the answer travel on a link.

A call names the supervisor by its path from the one it is sent to: ``["q_mail"]`` is that child,
``[]`` the supervisor itself. Specifications travel by dill in the body, which only ever goes
between processes of one tree and its host; everything else is JSON.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import dill

from durable_otp.otp import errors
from durable_otp.otp.child_spec import ChildSpec
from durable_otp.otp.errors import NotSupported, SupervisorError
from durable_otp.otp.link import CALL, REPLY, Message

EVENT = "otp.event"
REQUEST = "otp.request"
STOP = "otp.stop"
END = "otp.end"

NAMES = frozenset(
    {
        "start_child",
        "terminate_child",
        "restart_child",
        "delete_child",
        "get_childspec",
        "which_children",
        "count_children",
    }
)


@dataclass(frozen=True)
class ChildInfo:
    """One line of ``which_children``."""

    id: str
    pid: int | None
    state: Literal["up", "undefined", "restarting"]
    type: str


@dataclass(frozen=True)
class ChildCounts:
    """The answer of ``count_children``: ``active`` are those that live."""

    specs: int
    active: int
    supervisors: int
    workers: int


@dataclass(frozen=True)
class SupervisorEvent:
    """One thing that a supervisor did or saw, in order.

    ``name``: started, start_failed, start_ignored, stopped, restarting, hung, gave_up, orphan.
    ``path``: the child's ids from the root's child downwards, joined by slashes. ``number`` counts
    the events of the whole tree from 1.
    """

    name: str
    path: str
    facts: dict[str, Any]
    number: int = 0

    def to_fields(self) -> dict[str, Any]:
        """Return the event as JSON, for a link."""
        return asdict(self)

    def below(self, parent: str) -> "SupervisorEvent":
        """Return the event as seen one level higher."""
        return SupervisorEvent(self.name, f"{parent}/{self.path}".rstrip("/"), self.facts)


@dataclass(frozen=True)
class Call:
    """One question: the supervisor's path, the function's name and its arguments."""

    number: int
    path: tuple[str, ...]
    name: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def to_message(self) -> Message:
        """Return the call as it travels."""
        fields = {"number": self.number, "path": list(self.path), "name": self.name}
        return Message(CALL, fields, dill.dumps((self.arguments, self.options), recurse=True))


def from_message(message: Message) -> Call:
    """Return the call that travelled."""
    fields = message.fields
    said = dill.loads(message.body)  # noqa: S301 - only this tree's own processes are heard
    return Call(fields["number"], tuple(fields["path"]), fields["name"], *said)


def one_level_down(message: Message, number: int) -> Message:
    """Return the call for the next supervisor on its path, its arguments untouched."""
    fields = {**message.fields, "number": number, "path": message.fields["path"][1:]}
    return Message(CALL, fields, message.body)


def relabelled(reply: Message, number: int) -> Message:
    """Return a reply from below as the reply to call ``number``."""
    return Message(REPLY, {**reply.fields, "number": number}, reply.body)


def answer(number: int, result: Any) -> Message:
    """Return the reply to call ``number``."""
    return Message(REPLY, {"number": number}, dill.dumps(result, recurse=True))


def refuse(number: int, error: SupervisorError) -> Message:
    """Return the reply that raises ``error`` at the caller."""
    return Message(REPLY, {"number": number, "error": errors.to_fields(error)})


def refusal(message: Message) -> Message:
    """Return the reply of a process that answers no calls."""
    return refuse(message.fields["number"], NotSupported(message.fields["name"]))


def result(reply: Message) -> Any:
    """Return what a reply says, or raise the error that it carries."""
    error = reply.fields.get("error")
    if error is not None:
        raise errors.from_fields(error)
    return dill.loads(reply.body)  # noqa: S301 - only this tree's own processes are heard


def portable(value: Any) -> Any:
    """Return a call's result as it may leave the process: a started child as its line."""
    if hasattr(value, "pid") and hasattr(value, "spec"):
        spec: ChildSpec = value.spec
        return ChildInfo(value.id, value.pid, "up", spec.type or "worker")
    return value
