"""Where a worker writes which attempt it has begun, for its manager to read when it wants to know.

A few bytes of shared memory that both have: no message, nobody is woken, and what a killed worker
wrote last is still there. A writer that is overtaken by its reader is told by the checksum.
"""

import mmap
import struct
from typing import Any
from zlib import crc32

from pydantic_core import from_json, to_json

from durable_otp.runtime.messages import BegunReport

SIZE = 8192
_HEAD = struct.Struct("!II")  # length, checksum
_LOOKS = 3


class Slate:
    """Made by a manager before it forks the worker; the worker writes, the manager reads."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SIZE)

    def write(self, fields: dict[str, Any]) -> bool:
        """Write a report over the one before; False when it is too long to be written."""
        report = to_json(fields)
        end = _HEAD.size + len(report)
        if end > SIZE:
            return False
        self._memory[:end] = _HEAD.pack(len(report), crc32(report)) + report
        return True

    def read(self) -> BegunReport | None:
        """Return the report; None when there is none, or when it is being written just now."""
        for _ in range(_LOOKS):
            length, checksum = _HEAD.unpack_from(self._memory)
            report = self._memory[_HEAD.size : min(SIZE, _HEAD.size + length)]
            if length and crc32(report) == checksum:
                return BegunReport(**from_json(report))
        return None

    def close(self) -> None:
        """Give the memory back, as far as this process is concerned."""
        self._memory.close()
