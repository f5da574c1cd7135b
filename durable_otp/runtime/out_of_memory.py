"""Whether the kernel kills for lack of memory, as it says itself.

The kernel counts every process that its OOM killer ends, of a memory cgroup or of the whole machine
(``oom_kill`` in /proc/vmstat, since Linux 4.13), before that process can be reaped.
"""

from pathlib import Path

COUNTERS = Path("/proc/vmstat")
NAME = "oom_kill "


class OutOfMemory:
    """Compares the kernel's count with that of the last look."""

    def __init__(self, counters: Path = COUNTERS) -> None:
        self._counters = counters
        self._seen = self._count()

    def has_struck(self) -> bool:
        """Return whether a process was killed for lack of memory since the last look."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        try:
            lines = self._counters.read_text(encoding="ascii").splitlines()
        except OSError:
            return 0  # the kernel does not say
        return sum(int(line.removeprefix(NAME)) for line in lines if line.startswith(NAME))
