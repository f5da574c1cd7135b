"""Why a process ended, or never started, as values.

The kernel says how a process ended (a code or a signal); the link may have said more before. Both
are turned into one of OTP's reasons here, without looking at a process:

    exit 0                                   Normal                    clean
    SIGTERM, or exit 83 announced            Shutdown()                clean
    exit 84, announced with a term           Shutdown(term)            clean
    SIGKILL                                  Killed(by_supervisor)
    any other code or signal                 Failed(code | signal, type, text)

The codes 83 to 86 are the package's own; one that was not announced on the link came from user code
and counts as 1.
"""

import os
import signal as signals
from dataclasses import asdict, dataclass
from typing import Any, Literal

EX_SHUTDOWN = 83
EX_SHUTDOWN_TERM = 84
EX_INIT = 85
EX_IGNORE = 86
RESERVED = frozenset({EX_SHUTDOWN, EX_SHUTDOWN_TERM, EX_INIT, EX_IGNORE})


@dataclass(frozen=True)
class Normal:
    """The child's function returned."""

    is_clean = True

    def __str__(self) -> str:
        return "normal"


@dataclass(frozen=True)
class Shutdown:
    """The child was told to stop, or decided to; ``term`` is what it wanted to say."""

    term: Any = None
    is_clean = True

    def __str__(self) -> str:
        return "shutdown" if self.term is None else f"shutdown ({self.term})"


@dataclass(frozen=True)
class Killed:
    """SIGKILL; sent by the supervisor, or else by the kernel (out of memory?) or a person."""

    by_supervisor: bool = False
    is_clean = False

    def __str__(self) -> str:
        return "killed" if self.by_supervisor else "killed from outside, perhaps out of memory"


@dataclass(frozen=True)
class Failed:
    """Any other end: an exit code or a signal, and the exception if the child could tell."""

    code: int | None = None
    signal: str | None = None
    type: str = ""
    text: str = ""
    is_clean = False

    def __str__(self) -> str:
        how = f"exit code {self.code}" if self.signal is None else self.signal
        return f"{self.type}: {self.text} ({how})" if self.type else how


ExitReason = Normal | Shutdown | Killed | Failed

_NAMES: dict[str, type[ExitReason]] = {
    "normal": Normal,
    "shutdown": Shutdown,
    "killed": Killed,
    "failed": Failed,
}


def to_fields(reason: ExitReason) -> dict[str, Any]:
    """Return the reason as JSON, for a link or an event."""
    return {"reason": type(reason).__name__.lower(), **asdict(reason)}


def reason_from_fields(fields: dict[str, Any]) -> ExitReason:
    """Return the reason that ``to_fields`` described."""
    details = {name: value for name, value in fields.items() if name != "reason"}
    return _NAMES[fields["reason"]](**details)


def from_wait(
    how: int, status: int, *, announced: dict[str, Any] | None = None, by_supervisor: bool = False
) -> ExitReason:
    """Return the reason for what ``waitid`` told (si_code, si_status).

    ``announced`` is the child's last word on the link, if it had one; ``by_supervisor`` whether
    this supervisor had sent SIGKILL.
    """
    said = announced or {}
    if how != os.CLD_EXITED:
        return _from_signal(status, by_supervisor=by_supervisor)
    if status == 0:
        return Normal()
    if status in (EX_SHUTDOWN, EX_SHUTDOWN_TERM) and said.get("reason") == "shutdown":
        return Shutdown(said.get("term"))
    code = 1 if status in RESERVED else status
    return Failed(code=code, type=said.get("type", ""), text=said.get("text", ""))


def _from_signal(number: int, *, by_supervisor: bool) -> ExitReason:
    if number == signals.SIGTERM:
        return Shutdown()
    if number == signals.SIGKILL:
        return Killed(by_supervisor)
    try:
        return Failed(signal=signals.Signals(number).name)
    except ValueError:  # a real-time signal has no name of its own
        return Failed(signal=f"signal {number}")


def clamp(code: object) -> int:
    """Return the exit code for what user code gave to ``sys.exit``.

    An error never becomes 0 by wrapping (256 would) nor one of the reserved codes.
    """
    if code is None or code == 0:
        return 0
    if not isinstance(code, int):
        return 1
    wrapped = code & 0xFF
    return 1 if wrapped == 0 or wrapped in RESERVED else wrapped


FailureKind = Literal["init", "exited", "timeout", "child", "invalid"]


@dataclass(frozen=True)
class StartFailure:
    """Why a child did not come up.

    ``kind`` is ``init`` (it said so: ``type``, ``text``, ``fatal``), ``exited`` (it ended before
    it was ready: ``text``), ``timeout`` (``text``), ``child`` (a supervisor whose child
    ``child_id`` failed by ``cause``) or ``invalid`` (a supervisor whose specification is wrong).
    """

    kind: FailureKind
    text: str = ""
    type: str = ""
    fatal: bool = False
    child_id: str | None = None
    cause: "StartFailure | None" = None

    def __str__(self) -> str:
        if self.kind == "child":
            return f"its child {self.child_id!r} failed: {self.cause}"
        return f"{self.type}: {self.text}" if self.type else self.text

    def to_fields(self) -> dict[str, Any]:
        """Return the failure as JSON, for a link or an event."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "StartFailure":
        """Return the failure that ``to_fields`` described."""
        cause = fields.get("cause")
        return cls(**{**fields, "cause": cls.from_fields(cause) if cause else None})
