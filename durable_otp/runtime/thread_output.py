"""The output of executions that share a worker process: each thread's in a file of its own.

Python's streams and logging write to the file of the context they are used in. What nobody in
Python writes (C code, subprocesses with an inherited descriptor), and threads outside a step's
context, goes where the worker's manager writes: it is nobody's.
"""

import io
import logging
import os
import sys
from contextvars import ContextVar
from typing import Any, TextIO, cast

from durable_otp.engine.log_capture import RecordLines
from durable_otp.runtime.output import STANDARD, entries_of, log_to, unbuffered

_file: ContextVar[io.TextIOWrapper | None] = ContextVar("durable_otp_output", default=None)


class StreamOfContext(io.TextIOBase):
    """Stands for ``sys.stdout`` or ``sys.stderr``: writes to the file of whoever writes."""

    def __init__(self, nobodys: io.TextIOWrapper) -> None:
        super().__init__()
        self._nobodys = nobodys

    def _its(self) -> io.TextIOWrapper:
        return _file.get() or self._nobodys

    @property
    def buffer(self) -> Any:
        """The stream of bytes below."""
        return self._its().buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """How text becomes bytes."""
        return self._its().encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What becomes of text that cannot."""
        return self._its().errors

    def write(self, text: str) -> int:
        """Write text; it is in the file at once."""
        return self._its().write(text)

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def fileno(self) -> int:
        """Return the file's descriptor: a subprocess that is given this stream writes there."""
        return self._its().fileno()

    def flush(self) -> None:
        """Do nothing: nothing is kept back."""

    def close(self) -> None:
        """Do nothing: it is the neighbours' stream too."""


class _RecordLines(RecordLines):
    """Writes log records without a lock.

    Each thread has its file, and an interrupt must not leave a lock behind.
    """

    def __init__(self, stream: TextIO, nobodys: TextIO) -> None:
        super().__init__(stream)
        self._nobodys = nobodys

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a record, unless a filter says no."""
        passed: Any = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; nobody's as a line for people."""
        if _file.get() is None:
            self._nobodys.write(f"{record.levelname} {record.name}: {self.format(record)}\n")
        else:
            super().emit(record)


class SharedStreams:
    """The standard streams of the process: made once, before its threads."""

    def __init__(self) -> None:
        out, err = (unbuffered(standard) for standard in STANDARD)
        self._streams = StreamOfContext(out), StreamOfContext(err)
        self.restore()
        log_to(_RecordLines(cast("TextIO", self._streams[1]), err))

    def restore(self) -> None:
        """Undo what a step has done to the standard streams."""
        sys.stdout, sys.stderr = self._streams


class ThreadOutput:
    """One thread's side of its file; implements `worker.Capture`."""

    def __init__(self, streams: SharedStreams, manager: int, descriptor: int, max_log: int) -> None:
        self._streams = streams
        path = f"/proc/{manager}/fd/{descriptor}"
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        self._text = unbuffered(self._descriptor)
        self._max_log = max_log

    def start(self) -> None:
        """Begin an attempt's part: what is in the file is stored already."""
        if self._text.closed:
            self._text = unbuffered(self._descriptor)
        _file.set(self._text)
        self._streams.restore()
        if os.lseek(self._descriptor, 0, os.SEEK_END):
            os.ftruncate(self._descriptor, 0)

    def captured(self) -> list[dict[str, Any]]:
        """Return what the attempt has written so far, as log entries."""
        return entries_of(self._descriptor, self._max_log)
