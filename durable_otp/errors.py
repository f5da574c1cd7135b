"""Every error of this package; all derive from ``DurableError``.

A message is one sentence that names the thing, the reason and the fix. Two signals are not errors
and derive from ``BaseException``, so that no step can swallow them by accident:
``StepInterrupted`` here, and ``Suspension`` in ``workflow.wait``.
"""

import re
from collections.abc import Callable
from typing import Any

_IN_ADDRESS = re.compile(r"(?<=://)([^\s:/@]*):[^\s/@]+@")
_AS_KEY = re.compile(
    r"""\b(password|passwd|sslpassword)(\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'"&,;)]+)""", re.IGNORECASE
)


def without_passwords(text: str) -> str:
    """Return a text with the passwords of addresses and connection strings left out."""
    return _AS_KEY.sub(r"\1\2***", _IN_ADDRESS.sub(r"\1:***@", text))


def holds_password(dsn: str) -> bool:
    """Return whether a connection string holds a password."""
    return without_passwords(dsn) != dsn


class DurableError(Exception):
    """Anything that durable-otp refuses or reports."""


class DefinitionError(DurableError):
    """A workflow is defined wrongly; raised while defining or registering, never while running."""


class ConfigError(DurableError):
    """The configuration contradicts itself or names something unknown."""


class SerializationError(DurableError):
    """A value cannot be stored as JSON and read back; ``path`` names where it is."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class CodecError(DurableError):
    """A payload cannot be encoded or decoded by the codecs that are known here.

    ``shown`` says in a few words what to show in the place of a stored value.
    """

    def __init__(self, message: str, *, shown: str = "") -> None:
        super().__init__(message)
        self.shown = shown


class EncodingRefused(CodecError):  # noqa: N818 - reads as the sentence it reports
    """A codec cannot encode a payload, and trying again does not help.

    ``codec`` is its name. The message names that and the type of what it raised, and nothing else.
    """

    def __init__(self, codec: str, what: str) -> None:
        super().__init__(f"Codec {codec!r} cannot encode a value ({what}).")
        self.codec = codec


class InvalidInput(DurableError):  # noqa: N818 - the contract's name
    """The input does not fit the workflow's ``input`` type; the cause is pydantic's error."""


class NotInStepError(DurableError):
    """A function that needs a running step was called outside one."""


class Fatal(DurableError):  # noqa: N818 - the contract's name
    """Raised by a step to fail without another attempt."""


class WorkflowNotFound(DurableError):  # noqa: N818 - the contract's name
    """No workflow of this name is registered here or published in the database."""


class ExecutionNotFound(DurableError):  # noqa: N818 - the contract's name
    """No execution has this id."""


class AlreadyFinished(DurableError):  # noqa: N818 - the contract's name
    """The execution is in a final state and cannot be changed."""


class ScheduleError(DurableError):
    """A schedule is told something impossible; ``field`` names what."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class ScheduleExists(DurableError):  # noqa: N818 - the contract's name
    """There is a schedule of this name already."""


class ScheduleNotFound(DurableError):  # noqa: N818 - the contract's name
    """No schedule has this name."""


class NotRetryable(DurableError):  # noqa: N818 - the contract's name
    """The execution is in a status that a retry does not lead out of."""


class ParentFinished(DurableError):  # noqa: N818 - the contract's name
    """The execution is a child whose parent has ended; retry the parent."""


class NotForkable(DurableError):  # noqa: N818 - reads as the sentence it reports
    """The execution cannot be forked from this step, or not at all."""


class WorkflowFailed(DurableError):  # noqa: N818 - the contract's name
    """The execution ended without completing; ``error`` and ``status`` say how."""

    def __init__(self, message: str, *, error: dict[str, Any] | None, status: str) -> None:
        super().__init__(message)
        self.error = error
        self.status = status


class WaitTimeout(DurableError, TimeoutError):  # noqa: N818 - the contract's name
    """Raised inside a step by a wait whose time is over and that has no ``timeout_value``."""


class NoPendingInput(DurableError):  # noqa: N818 - the contract's name
    """The execution asks for no input of this name, or no longer."""


class InputRejected(DurableError):  # noqa: N818 - the contract's name
    """The answer does not fit what is asked; the input stays open."""


class ResultTimeout(DurableError, TimeoutError):  # noqa: N818 - the contract's name
    """The execution had not ended when the caller's timeout passed; it goes on."""


class ChildFailed(DurableError):  # noqa: N818 - the contract's name
    """Raised in a step whose called workflow did not complete; ``error`` and ``status`` say how."""

    def __init__(
        self, message: str, *, error: dict[str, Any] | None, status: str, execution_id: str
    ) -> None:
        super().__init__(message)
        self.error = error
        self.status = status
        self.execution_id = execution_id


class DatabaseUnreachable(DurableError):  # noqa: N818 - reads as the sentence it reports
    """PostgreSQL could not be reached, or the connection was lost for longer than allowed."""


class NotPermitted(DurableError):  # noqa: N818 - reads as the sentence it reports
    """The database role has not the right to do this."""


class MigrationError(DurableError):
    """The schema cannot be brought to the wanted version."""


class EmbeddedServerError(DurableError):
    """The private PostgreSQL server could not be found, made, started or stopped."""


class NodeNotFound(DurableError):  # noqa: N818 - as the names above
    """No live node has this id."""


class ProcessNotFound(DurableError):  # noqa: N818 - as the names above
    """No live node has this process, or it has ended and another may have its place."""


class NotUnique(DurableError):  # noqa: N818 - reads as the sentence it reports
    """What is named may be any of several nodes or processes, which the message lists."""


class CommandFailed(DurableError):  # noqa: N818 - reads as the sentence it reports
    """An order to a process was refused, failed, or died with its node; ``status`` says which."""

    def __init__(self, message: str, *, status: str) -> None:
        super().__init__(message)
        self.status = status


class CommandTimeout(DurableError, TimeoutError):  # noqa: N818 - as ResultTimeout
    """A node did not answer an order in time; the message says whether it may still follow it."""


class ClaimLost(DurableError):  # noqa: N818 - the fence's name in every peer
    """The lock token is no longer the row's: somebody else owns the execution."""


class StepInterrupted(BaseException):
    """Raised inside a step's body when its timeout passed or its execution was cancelled."""


def text_of(value: object, say: Callable[[object], str] = str) -> str:
    """Return what an exception says; one that fails to say it must not take its witness along.

    ``say`` may be ``repr``, for a value that is no exception.
    """
    try:
        return say(value)
    except Exception as failure:  # noqa: BLE001 - user code, which may raise anything
        name = type(value).__name__
        return f"the text of this {name} cannot be had: {type(failure).__name__} was raised instead"
