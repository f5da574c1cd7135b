"""A probe in shared memory: a body says when it began, and saying so costs nobody anything.

One number per slot, CLOCK_MONOTONIC in seconds, which is the same for all processes of a machine;
beside it how often the slot was marked. Used by the peers' processes too: standard library only.
"""

import mmap
import os
import struct
import time
from collections.abc import Sequence
from typing import Self

_SLOT = struct.Struct("dd")
LOOK_EVERY = 0.0002
ENVIRONMENT = "BENCH_PROBE"


class Probe:
    """So many slots; give a path to open those that another process made."""

    def __init__(self, slots: int = 0, path: str | None = None) -> None:
        if path is None:  # a file without a name, which goes with this process however that ends
            self._descriptor = os.memfd_create("bench_probe")
            os.ftruncate(self._descriptor, max(slots, 1) * _SLOT.size)
            self.path = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        else:
            self._descriptor, self.path = os.open(path, os.O_RDWR), path
        self._memory = mmap.mmap(self._descriptor, 0)
        self.slots = slots or len(self._memory) // _SLOT.size
        self._nothing = bytes(len(self._memory))
        self._full_up_to = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.close()
        os.close(self._descriptor)

    def mark(self, slot: int) -> None:
        """Say that a body begins now; the first moment is the one that is kept."""
        began, times = _SLOT.unpack_from(self._memory, slot * _SLOT.size)
        _SLOT.pack_into(self._memory, slot * _SLOT.size, began or time.monotonic(), times + 1)

    def put(self, slot: int, number: float) -> None:
        """Keep a number in a slot instead of a moment."""
        _SLOT.pack_into(self._memory, slot * _SLOT.size, number, 1)

    def clear(self) -> None:
        """Forget every mark."""
        self._memory[:] = self._nothing
        self._full_up_to = 0

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

    def marks(self) -> int:
        """Return how many slots are marked."""
        return sum(1 for moment in self.moments() if moment)

    def is_empty(self) -> bool:
        """Whether no slot is marked; cheap, for those who wait for the first."""
        return self._memory[:] == self._nothing

    def is_full(self) -> bool:
        """Whether every slot is marked; cheap when asked again and again."""
        while self._full_up_to < self.slots and self.at(self._full_up_to):
            self._full_up_to += 1
        return self._full_up_to == self.slots

    def wait_until(self, moment: float) -> None:
        """Wait for a moment of the clock, or until every slot is marked."""
        while (left := moment - time.monotonic()) > 0 and not self.is_full():
            time.sleep(min(left, LOOK_EVERY * 10))
