"""Interrupting code that runs in one of several threads of this process.

Signals reach the main thread alone, so another is interrupted by an exception that CPython raises
in it between two bytecodes (``PyThreadState_SetAsyncExc``). Inside a C call nothing is raised; an
event loop that waits is woken, so that it runs a bytecode.
"""

import asyncio
import ctypes
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType

from durable_otp.errors import StepInterrupted

_raise_in_thread = ctypes.pythonapi.PyThreadState_SetAsyncExc


class ThreadInterruption:
    """The receiving end in one thread, which runs one numbered piece of work after the other.

    ``begin`` and ``with allowed()`` are for that thread, ``interrupt`` for any other. An interrupt
    raises at most once for a piece of work, and only inside ``allowed()``.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._thread = 0
        self._run = 0
        self._interrupted = 0
        self._is_allowed = False
        self._is_thrown = False

    def begin(self, run: int) -> None:
        """Begin with a piece of work; its number is larger than any before."""
        with self._turn:
            self._thread = threading.get_ident()
            self._run = run
            self._is_allowed = self._is_thrown = False

    @property
    def is_interrupted(self) -> bool:
        """Whether the work that runs now is to end."""
        return self._interrupted == self._run

    def interrupt(self, run: int) -> None:
        """Have a piece of work end: the one that runs, or is about to."""
        with self._turn:
            self._interrupted = run
            if run != self._run or not self._is_allowed or self._is_thrown:
                return
            self._is_thrown = True
            _raise_in_thread(ctypes.c_ulong(self._thread), ctypes.py_object(StepInterrupted))
        _wake_event_loop(self._thread)

    def allowed(self) -> "ThreadInterruption":
        """Return the context manager inside which an interrupt raises."""
        return self

    def __enter__(self) -> None:
        with self._turn:
            if self.is_interrupted:
                raise StepInterrupted
            self._is_allowed = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let nothing raise any more.

        What is thrown just now may still raise here, which comes to the same: it raises out of
        the block, and never again. What was thrown and has not raised is taken back.
        """
        with self._turn:
            self._is_allowed = False
            if self._is_thrown:
                _raise_in_thread(ctypes.c_ulong(self._thread), None)


def _wake_event_loop(thread: int) -> None:
    """Have the event loop that a thread runs, if it does, look at what there is to do."""
    frame: FrameType | None = sys._current_frames().get(thread)  # noqa: SLF001 - documented, for such things
    while frame is not None:
        if frame.f_code is asyncio.BaseEventLoop.run_forever.__code__:
            with suppress(RuntimeError):  # it has been closed meanwhile
                frame.f_locals["self"].call_soon_threadsafe(_nothing)
            return
        frame = frame.f_back


def _nothing() -> None:
    """Be a bytecode."""
