"""A worker's standard output and error: one file in memory, made by its manager.

The worker stores its part of it with each attempt; when the worker dies, the manager still has the
file and stores the rest, to the last byte.
"""

import contextlib
import io
import logging
import os
import sys
from typing import Any

from durable_otp.engine.log_capture import RecordLines, bounded, entries
from durable_otp.otp import linux

STANDARD = (1, 2)
TRIMMED_FROM = 1 << 20


class OutputFile:
    """The manager's side: an anonymous file that lives as long as it is open here."""

    def __init__(self, name: str) -> None:
        self.descriptor = os.memfd_create(f"durable-otp {name}")

    def entries(self, max_log: int) -> list[dict[str, Any]]:
        """Return what the attempt has written as log entries."""
        return entries_of(self.descriptor, max_log)

    def trim(self, max_log: int) -> None:
        """Give back the memory of what will not be kept: a step may print for hours.

        Only of much, for a worker that begins anew at this very moment would lose its first lines.
        """
        size = _size(self.descriptor)
        if size > max(TRIMMED_FROM, 2 * max_log):
            linux.forget_beginning(self.descriptor, size - max_log)

    def clear(self) -> None:
        """Forget what was written; the worker that wrote it is gone or idle."""
        os.ftruncate(self.descriptor, 0)

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.descriptor)


class Output:
    """The worker's side: descriptors 1 and 2 go to the manager's file."""

    def __init__(self, manager: int, descriptor: int, max_log: int) -> None:
        path = f"/proc/{manager}/fd/{descriptor}"
        file = os.open(path, os.O_RDWR | os.O_APPEND)  # its own opening: all writes go to the end
        self._file = os.dup(file) if file <= STANDARD[-1] else file
        self._max_log = max_log
        self._streams = (unbuffered(self._file), unbuffered(self._file))
        self._connect()
        log_to(RecordLines(self._streams[1]))

    def start(self) -> None:
        """Begin an attempt's part: what is in the file is stored already.

        What an earlier step did to the standard streams is undone: it is no concern of this one's.
        """
        self._connect()
        if _size(self._file):
            os.ftruncate(self._file, 0)

    def captured(self) -> list[dict[str, Any]]:
        """Return what the attempt has written so far, as log entries."""
        for stream in (sys.stdout, sys.stderr):
            if stream not in self._streams:  # which keep nothing back
                with contextlib.suppress(Exception):  # whatever the step has put in their place
                    stream.flush()
        return entries_of(self._file, self._max_log)

    def _connect(self) -> None:
        out, err = self._streams
        if out.closed or err.closed:
            self._streams = (unbuffered(self._file), unbuffered(self._file))
        sys.stdout, sys.stderr = self._streams
        for standard in STANDARD:
            os.dup2(self._file, standard)


def log_to(handler: logging.Handler) -> None:
    """Have everything that is logged in this process go to one handler."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    if root.level in (logging.NOTSET, logging.WARNING):
        root.setLevel(logging.INFO)
    events = logging.getLogger("durable_otp")
    events.handlers[:] = []
    events.propagate = True


def unbuffered(descriptor: int) -> io.TextIOWrapper:
    """Return a text stream whose every write is in the file at once, whatever happens next."""
    raw = os.fdopen(descriptor, "wb", buffering=0, closefd=False)
    return io.TextIOWrapper(raw, errors="backslashreplace", write_through=True)


def _size(descriptor: int) -> int:
    return os.lseek(descriptor, 0, os.SEEK_END)  # cheaper than fstat; writes append anyway


def entries_of(descriptor: int, max_log: int) -> list[dict[str, Any]]:
    """Return what an attempt has written to a file as log entries, at most so many bytes."""
    size = _size(descriptor)
    if not size:
        return []
    before = max(0, size - max_log)
    return entries(bounded(os.pread(descriptor, size - before, before), max_log, before))
