"""How a command ends: the exit codes, and which error means which."""

from durable_otp.cli.screen import one_line
from durable_otp.errors import (
    ConfigError,
    DefinitionError,
    DurableError,
    ExecutionNotFound,
    InputRejected,
    InvalidInput,
    NodeNotFound,
    NoPendingInput,
    NotUnique,
    ProcessNotFound,
    ScheduleError,
    ScheduleExists,
    ScheduleNotFound,
    SerializationError,
    WorkflowNotFound,
    without_passwords,
)

FAILED = 1
USAGE = 2
NOT_FOUND = 3
AMBIGUOUS = 4
FOUND_SOMETHING = 5
INTERRUPTED = 130
EXIT_CODES = {
    0: "done",
    FAILED: "failed: the database is unreachable, an execution failed, a stop was forced",
    USAGE: "usage, a malformed id, a wrong configuration",
    NOT_FOUND: "not found",
    AMBIGUOUS: "ambiguous; the ids are listed",
    FOUND_SOMETHING: "a check found something",
    INTERRUPTED: "Ctrl-C",
}

_MISTAKES = (
    ConfigError,
    DefinitionError,
    InputRejected,
    InvalidInput,
    ScheduleError,
    ScheduleExists,
    SerializationError,
    ValueError,
)
_UNKNOWN = (
    ExecutionNotFound,
    NodeNotFound,
    NoPendingInput,
    ProcessNotFound,
    ScheduleNotFound,
    WorkflowNotFound,
)


class UsageMistake(DurableError):  # noqa: N818 - reads as the sentence it reports
    """An argument is not what it should be."""


class NothingFound(DurableError):  # noqa: N818 - reads as the sentence it reports
    """What was named does not exist."""


class AmbiguousId(DurableError):  # noqa: N818 - reads as the sentence it reports
    """More than one id begins like this."""


class CheckFailed(DurableError):  # noqa: N818 - reads as the sentence it reports
    """A check found something."""


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error means."""
    if isinstance(error, (UsageMistake, *_MISTAKES)):
        return USAGE
    if isinstance(error, (NothingFound, *_UNKNOWN)):
        return NOT_FOUND
    if isinstance(error, (AmbiguousId, NotUnique)):
        return AMBIGUOUS
    return FOUND_SOMETHING if isinstance(error, CheckFailed) else FAILED


def sentence(error: BaseException) -> str:
    """Return an error as one line."""
    text = without_passwords(one_line(" ".join(str(error).split())))
    if isinstance(error, DurableError | ValueError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
