"""What processes use of the machine, as the kernel counts it (proc(5)): processor and memory.

Only a process of the same machine can see that, so a node measures its own and publishes it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.runtime.tree_view import flatten

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME, _STARTTIME, _RSS = 11, 12, 19, 21  # fields of stat behind the name, from 0


@dataclass(frozen=True)
class Measurement:
    """What a process has used up to a moment of the monotonic clock; ``born`` is of one life."""

    at: float
    born: int
    cpu_seconds: float
    rss_bytes: int
    cpu_percent: float


class Usage:
    """Measures the processes of a tree; what was measured less than ``every`` seconds ago stands.

    ``cpu_percent`` is that of the time since the measurement before, 100 for one whole processor;
    of a process that is seen for the first time, of its life so far.
    """

    def __init__(self) -> None:
        self._measured: dict[int, Measurement] = {}
        self._at = float("-inf")

    def add_to(self, root: dict[str, Any], every: float) -> None:
        """Write what they use into the nodes of a tree; None for those that have no process."""
        nodes = list(flatten(root))
        pids = {node["pid"] for node in nodes} - {None}
        is_due = monotonic() >= self._at + every
        if is_due:
            self._at = monotonic()
        self._measured = dict(self._measure(pids, anew=is_due))
        for node in nodes:
            found = self._measured.get(node["pid"])
            node["cpu_percent"] = None if found is None else found.cpu_percent
            node["rss_bytes"] = None if found is None else found.rss_bytes

    def _measure(self, pids: set[int], *, anew: bool) -> Iterator[tuple[int, Measurement]]:
        for pid in pids:
            before = self._measured.get(pid)
            found = before if before is not None and not anew else measure(pid, before)
            if found is not None:
                yield pid, found


def measure(pid: int, before: Measurement | None) -> Measurement | None:
    """Return what a process uses now; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    at, born = monotonic(), int(fields[_STARTTIME])
    used = (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS
    if before is not None and before.born == born:
        seconds, part = at - before.at, used - before.cpu_seconds
    else:
        seconds, part = at - born / _TICKS, used
    percent = round(100 * part / seconds, 1) if seconds > 0 else 0.0
    return Measurement(at, born, used, int(fields[_RSS]) * _PAGE, percent)
