"""Who may begin an execution that was handed out ahead: its worker, or nobody any more.

A manager hands a worker several executions, and for each of them puts a permit into a pipe. The
worker takes a permit before it begins; the manager takes back what has not been begun by reading
the same pipe. The kernel gives every permit to one of them.
"""

import os
import struct
from collections.abc import Iterable

_PERMIT = struct.Struct("!Q")
_CHUNK = _PERMIT.size * 512


class Permits:
    """The permits of one worker's place, made by its manager before it forks the worker."""

    def __init__(self) -> None:
        self._taking, self._granting = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._taken = 0

    def grant(self, runs: Iterable[int]) -> None:
        """Let these runs be begun, in this order; their numbers only grow."""
        os.write(self._granting, b"".join(map(_PERMIT.pack, runs)))

    def take_back(self) -> set[int]:
        """Return the runs that have not been begun, and from now on never will be."""
        found = bytearray()
        while data := self._read(_CHUNK):
            found += data
        return {run for (run,) in _PERMIT.iter_unpack(found)}

    def take(self, run: int) -> bool:
        """Return whether this run may be begun; the worker asks for each, in their order."""
        while self._taken < run:
            permit = self._read(_PERMIT.size)
            if not permit:
                return False
            (self._taken,) = _PERMIT.unpack(permit)
        return self._taken == run

    def close(self) -> None:
        """Close both ends, as far as this process is concerned."""
        os.close(self._taking)
        os.close(self._granting)

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._taking, size)
        except BlockingIOError:
            return b""
