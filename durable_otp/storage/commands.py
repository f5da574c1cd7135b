"""What operators order single processes to do, and the answers.

A command names a process by its place in the tree, and which life of it is meant by pid and start:
one that has been replaced meanwhile is left alone.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from durable_otp.storage.operation import Operation
from durable_otp.storage.processes import Process
from durable_otp.storage.statements import Statement


class Verb(StrEnum):
    """What a process may be ordered to do."""

    RESTART = "restart"
    STOP = "stop"
    KILL = "kill"
    STACKS = "stacks"


class Status(StrEnum):
    """Where a command stands."""

    REQUESTED = "requested"
    ACCEPTED = "accepted"
    DONE = "done"
    REFUSED = "refused"
    GONE = "gone"
    FAILED = "failed"
    EXPIRED = "expired"
    UNKNOWN = "unknown"

    @property
    def is_open(self) -> bool:
        """Whether there is an answer to wait for."""
        return self in (Status.REQUESTED, Status.ACCEPTED)


@dataclass(frozen=True)
class Command:
    """A command as its node takes it; ``seconds`` until whoever placed it stops waiting."""

    id: str
    verb: str
    target: str
    pid: int | None
    started_at: datetime | None
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What became of a command: a sentence, or the text that was asked for."""

    status: Status
    outcome: str | None


def place(id_: str, verb: Verb, process: Process, seconds: float) -> Operation[bool]:
    """Order a process to do something within so many seconds; False: its node does not live."""
    parameters = {
        "id": id_,
        "node_id": process.node,
        "verb": verb,
        "target": process.path,
        "pid": process.pid,
        "started_at": process.started_at,
        "seconds": seconds,
    }
    return bool((yield Statement("place_command", parameters)))


def take(node_id: str) -> Operation[list[Command]]:
    """Return what a node has been ordered and has not answered; it is the node's to answer now."""
    rows = yield Statement("take_commands", {"node_id": node_id})
    return [Command(**row) for row in rows]


def answer(id_: str, status: Status, outcome: str) -> Operation[None]:
    """Say what became of a command that was taken; a second answer changes nothing."""
    text = outcome.replace("\0", "")
    yield Statement("answer_command", {"id": id_, "status": status, "outcome": text})


def answer_stop(node_id: str) -> Operation[None]:
    """Say that a node has stopped, to whoever ordered that."""
    yield Statement("answer_stop", {"node_id": node_id})


def answer_to(id_: str) -> Operation[Answer]:
    """Return where a command stands."""
    rows = yield Statement("command_answer", {"id": id_})
    if not rows:
        return Answer(Status.UNKNOWN, "The command's record was removed.")
    return Answer(Status(rows[0]["status"]), rows[0]["outcome"])


def withdraw(id_: str) -> Operation[bool]:
    """Take a command back that nobody has taken; False: somebody has."""
    return bool((yield Statement("withdraw_command", {"id": id_})))
