"""What one attempt uses of the process it runs in, in a system call or two."""

import os
import resource
import time
from contextlib import suppress

from durable_otp.engine.journal import Usage

_FORGET_PEAK = b"5"
_NOTICED_BYTES = 1 << 20


class Meter:
    """Measures one attempt after the other. The whole process is measured: all its threads.

    The kernel keeps the highest memory of a process. It is told to begin anew when an attempt has
    raised that by more than a megabyte, and not before each, because that costs ten times as
    much as asking; an attempt that raises nothing is therefore given what was held before it. Where
    /proc does not allow it, the highest of the process's life is what an attempt is given.

    Args:
        process: What this process is called in the rows of its attempts.
    """

    def __init__(self, process: str | None = None) -> None:
        self._process = process
        self._known_peak = _peak_of(resource.getrusage(resource.RUSAGE_SELF))
        self._cpu_before = 0.0
        self._latest: Usage | None = None

    def start(self) -> None:
        """Begin with an attempt."""
        self._cpu_before = time.process_time()

    def stop(self) -> None:
        """End with it."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_seconds = used.ru_utime + used.ru_stime - self._cpu_before
        peak = _peak_of(used)
        self._latest = Usage(round(max(0.0, cpu_seconds), 6), peak, self._process)
        if peak - self._known_peak > _NOTICED_BYTES:
            _forget_peak()
            self._known_peak = _peak_of(resource.getrusage(resource.RUSAGE_SELF))

    @property
    def latest(self) -> Usage | None:
        """What the attempt used that has ended last."""
        return self._latest


class ThreadMeter(Meter):
    """Measures in a process whose threads run an attempt each: the thread, and no memory."""

    def start(self) -> None:
        """Begin with an attempt."""
        self._cpu_before = time.thread_time()

    def stop(self) -> None:
        """End with it."""
        cpu_seconds = time.thread_time() - self._cpu_before
        self._latest = Usage(round(max(0.0, cpu_seconds), 6), None, self._process)


def _peak_of(used: resource.struct_rusage) -> int:
    return used.ru_maxrss * 1024


def _forget_peak() -> None:
    with suppress(OSError):
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, _FORGET_PEAK)
        finally:
            os.close(descriptor)
