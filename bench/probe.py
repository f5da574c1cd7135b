"""A probe in shared memory: a body says when it began, and saying so costs nobody anything.

One number per slot, CLOCK_MONOTONIC in seconds, which is the same for all processes of a machine;
beside it how often the slot was marked. Used by the peers' processes too: standard library only.
"""

import mmap
import os
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_SLOT = struct.Struct("dd")
LOOK_EVERY = 0.0002
ENVIRONMENT = "BENCH_PROBE"


class Probe:
    """So many slots; give a path to open those that another process made."""

    def __init__(self, slots: int = 0, path: str | None = None) -> None:
        if path is None:
            descriptor, self.path = tempfile.mkstemp(prefix="bench_probe_", dir="/dev/shm")
            os.ftruncate(descriptor, max(slots, 1) * _SLOT.size)
        else:
            descriptor, self.path = os.open(path, os.O_RDWR), path
        self._memory = mmap.mmap(descriptor, 0)
        self.slots = slots or len(self._memory) // _SLOT.size
        os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        Path(self.path).unlink()
        self._memory.close()

    def mark(self, slot: int) -> None:
        """Say that a body begins now; the first moment is the one that is kept."""
        began, times = _SLOT.unpack_from(self._memory, slot * _SLOT.size)
        _SLOT.pack_into(self._memory, slot * _SLOT.size, began or time.monotonic(), times + 1)

    def put(self, slot: int, number: float) -> None:
        """Keep a number in a slot instead of a moment."""
        _SLOT.pack_into(self._memory, slot * _SLOT.size, number, 1)

    def clear(self) -> None:
        """Forget every mark."""
        self._memory[:] = bytes(len(self._memory))

    def moments(self) -> Sequence[float]:
        """Return when each slot was marked; zero where it was not."""
        return [began for began, _ in _SLOT.iter_unpack(self._memory[: self.slots * _SLOT.size])]

    def times(self) -> Sequence[int]:
        """Return how often each slot was marked."""
        return [int(n) for _, n in _SLOT.iter_unpack(self._memory[: self.slots * _SLOT.size])]

    def at(self, slot: int) -> float:
        """Return when a slot was marked; zero if it was not."""
        began: float = _SLOT.unpack_from(self._memory, slot * _SLOT.size)[0]
        return began

    def wait(self, slot: int, timeout: float = 60) -> float:
        """Wait for a mark and return its moment.

        Raises:
            TimeoutError: It did not come within the timeout, in seconds.
        """
        end = time.monotonic() + timeout
        while not (moment := self.at(slot)):
            if time.monotonic() > end:
                raise TimeoutError(f"slot {slot} was not marked within {timeout:.0f} s")
            time.sleep(LOOK_EVERY)
        return moment

    def wait_all(self, timeout: float = 60, every: float = 0.01) -> None:
        """Wait until every slot is marked.

        Raises:
            TimeoutError: They were not within the timeout, in seconds.
        """
        end = time.monotonic() + timeout
        first = 0
        while True:
            while first < self.slots and self.at(first):
                first += 1
            if first == self.slots:
                return
            if time.monotonic() > end:
                marked = sum(1 for moment in self.moments() if moment)
                raise TimeoutError(f"{marked} of {self.slots} began within {timeout:.0f} s")
            time.sleep(every)
