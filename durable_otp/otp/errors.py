"""What supervision refuses; one class per answer of Erlang's ``supervisor``.

Each error keeps the facts it was made from in ``args``, as JSON values, so that a supervisor in
another process can answer with it (``to_fields``) and the caller raises the same error
(``from_fields``).
"""

from typing import Any, ClassVar, Self

from durable_otp.errors import DurableError
from durable_otp.otp.exit_reason import StartFailure


class SupervisorError(DurableError):
    """Anything a supervisor refuses or fails to do."""

    template: ClassVar[str] = "{0}"

    def __str__(self) -> str:
        return self.template.format(*self.args)


class InvalidSpec(SupervisorError):  # noqa: N818 - OTP's answer, as are all names below
    """A child specification or a flag has a value that is not allowed; nothing was started."""

    template = "{0} is not allowed to be {1!r}; use {2}"

    def __init__(self, what: str, value: Any, fix: str) -> None:
        super().__init__(what, value, fix)
        self.what = what
        self.value = value


class NotFound(SupervisorError):  # noqa: N818
    """The supervisor has no child of this id."""

    template = "no child is called {0!r}; which_children() lists those that exist"


class Running(SupervisorError):  # noqa: N818
    """The child is running, and the call is for one that is not."""

    template = "the child {0!r} is running; terminate it first"


class Restarting(SupervisorError):  # noqa: N818
    """The child is between two attempts to restart it."""

    template = "the child {0!r} is being restarted; terminate it to cancel that"


class AlreadyStarted(SupervisorError):  # noqa: N818
    """A child of this id is running already; ``pid`` is its process."""

    template = "the child {0!r} is already running as process {1}; choose another id"

    def __init__(self, child_id: str, pid: int) -> None:
        super().__init__(child_id, pid)
        self.pid = pid


class AlreadyPresent(SupervisorError):  # noqa: N818
    """A child of this id is known but not running."""

    template = "the child {0!r} is already specified; restart or delete it"


class MaxChildren(SupervisorError):  # noqa: N818
    """A dynamic supervisor has as many children as it may have."""

    template = "the limit of {0} children is reached; stop one or raise max_children"


class NotSupported(SupervisorError):  # noqa: N818
    """This process is no supervisor, or one of a kind that does not know the call."""

    template = "{0} is not supported here; a dynamic supervisor has no ids, a worker no children"


class NoProcess(SupervisorError):  # noqa: N818
    """The supervisor the call was for is not running."""

    template = "the supervisor {0!r} is not running; start it first"


class StartFailed(SupervisorError):  # noqa: N818
    """A child did not come up; ``failure`` says why."""

    template = "the child {0!r} could not be started: {1}"

    def __init__(self, child_id: str, failure: StartFailure) -> None:
        super().__init__(child_id, failure)
        self.child_id = child_id
        self.failure = failure

    @classmethod
    def from_args(cls, args: list[Any]) -> Self:
        """Return the error whose failure travelled as fields."""
        return cls(args[0], StartFailure.from_fields(args[1]))


_KNOWN = {
    error.__name__: error
    for error in (
        InvalidSpec,
        NotFound,
        Running,
        Restarting,
        AlreadyStarted,
        AlreadyPresent,
        MaxChildren,
        NotSupported,
        NoProcess,
        StartFailed,
    )
}


def to_fields(error: SupervisorError) -> dict[str, Any]:
    """Return the error as JSON, for a link."""
    arguments = [a.to_fields() if isinstance(a, StartFailure) else a for a in error.args]
    return {"name": type(error).__name__, "args": arguments}


def from_fields(fields: dict[str, Any]) -> SupervisorError:
    """Return the error that ``to_fields`` described."""
    kind = _KNOWN.get(fields["name"], SupervisorError)
    if kind is StartFailed:
        return StartFailed.from_args(fields["args"])
    return kind(*fields["args"])
