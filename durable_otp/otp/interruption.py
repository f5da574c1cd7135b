"""Interrupting code that runs in another process's main thread, and seeing whether it was.

The supervisor sends SIGUSR1. Its handler raises `StepInterrupted`, but only inside `allowed()` and
only if the interruption is still wanted: storage code and the link are never torn apart. A handler
of Python runs between bytecodes, so code inside a C call does not take the interrupt; the
supervisor can tell by looking at what the thread has done since.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from durable_otp.errors import StepInterrupted

SIGNAL = signal.SIGUSR1
CPU_SECONDS_IN_C = 0.02
"""So much work without taking the interrupt: the interpreter is not between bytecodes."""


class Interruption:
    """The receiving end, in the process that is interrupted.

    ``is_wanted`` is asked, in the main thread, whether what runs now is what was meant; it is not
    asked outside ``allowed()``.
    """

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted
        self._allowed = False
        self._came = False
        """Whether a signal has come since the last interruption: only then is it worth asking."""

    def install(self) -> None:
        """Take over SIGUSR1; main thread only."""
        signal.signal(SIGNAL, self._handle)

    def allowed(self) -> "Interruption":
        """Return the context manager inside which an interrupt raises."""
        return self

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Let no interrupt raise inside, in the main thread; one that came raises behind it."""
        if not self._allowed or threading.current_thread() is not threading.main_thread():
            yield
            return
        self._allowed = False
        try:
            yield
        finally:
            self._allowed = True
        if self._came:
            self._raise_if_wanted()

    def __enter__(self) -> None:
        self._allowed = True
        if self._came:
            self._raise_if_wanted()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._allowed = False

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._came = True
        self._raise_if_wanted()

    def _raise_if_wanted(self) -> None:
        if self._allowed and self._is_wanted():
            self._allowed = self._came = False
            raise StepInterrupted


@dataclass(frozen=True)
class ThreadActivity:
    """What a process's main thread was doing at one moment."""

    state: str
    cpu_seconds: float


def main_thread_activity(pid: int) -> ThreadActivity | None:
    """Return what the main thread does; None when the process is gone (proc(5), schedstat)."""
    task = Path(f"/proc/{pid}/task/{pid}")
    try:
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
        nanoseconds = int((task / "schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None
    return ThreadActivity(state, nanoseconds / 1e9)


def ignores_interrupt(before: ThreadActivity, after: ThreadActivity) -> bool:
    """Return whether a thread that has not answered an interrupt is deaf rather than starved.

    Asleep in the kernel, or at work for a while without having looked: either way no bytecode is
    being run. A thread that is runnable and got no processor deserves more time.
    """
    return after.state in "SDT" or after.cpu_seconds - before.cpu_seconds > CPU_SECONDS_IN_C
