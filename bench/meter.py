"""CPU time of the server and of process trees, which is what a busy machine spares.

Read from /proc. Used by the peers' processes too: standard library and psycopg only.
"""

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Used:
    """What was used between two moments.

    Attributes:
        seconds: Of the clock.
        server: CPU seconds of PostgreSQL's processes; None where they cannot be seen.
        client: CPU seconds of the measured processes.
    """

    seconds: float
    server: float | None
    client: float

    def per(self, count: int) -> dict[str, float | None]:
        """Return CPU milliseconds for one of so many."""
        return {
            "client_ms": round(1000 * self.client / max(count, 1), 4),
            "server_ms": None
            if self.server is None
            else round(1000 * self.server / max(count, 1), 4),
        }


class Meter:
    """Counts from now on: the server's processes, and trees of processes given by their roots."""

    def __init__(self, dsn: str, trees: Iterable[int] = ()) -> None:
        self._postmaster = postmaster(dsn)
        self._trees = list(trees)
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._started = time.monotonic()
        self._server = self._server_now()
        self._client = sum(map(cpu_of_tree, self._trees))

    def read(self) -> Used:
        """Return what was used since."""
        server = self._server_now()
        return Used(
            seconds=time.monotonic() - self._started,
            server=None if server is None or self._server is None else server - self._server,
            client=sum(map(cpu_of_tree, self._trees)) - self._client,
        )

    @staticmethod
    def now() -> float:
        """Return the moment on the clock of the probe."""
        return time.monotonic()

    def _server_now(self) -> float | None:
        return None if self._postmaster is None else cpu_of_tree(self._postmaster)


def postmaster(dsn: str) -> int | None:
    """Return the pid of a server on this machine; None where it is not to be found."""
    with psycopg.connect(dsn) as connection, suppress(OSError, ValueError, psycopg.Error):
        row = connection.execute("SHOW data_directory").fetchone()
        pid = int(Path(row[0], "postmaster.pid").read_text().split()[0]) if row else 0
        if pid and Path(f"/proc/{pid}").exists():
            return pid
    return None


def cpu_of_tree(pid: int) -> float:
    """Return the CPU seconds of a process, of its descendants, and of those it has buried."""
    return sum(_ticks(each) for each in tree_of(pid)) / _TICK


def tree_of(pid: int) -> Sequence[int]:
    """Return a process and its descendants."""
    found, seen = [pid], 0
    while seen < len(found):
        found += _children(found[seen])
        seen += 1
    return found


def shared_out_memory(pid: int) -> float:
    """Return a process's memory in MiB, its shared pages divided by their users (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} shows no PSS")


def title_of(pid: int) -> str:
    """Return how a process is shown by ps."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, Path(task, "children").read_text().split())
    return found


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0  # it ended, and is counted with its parent from now on
    return sum(map(int, fields[11:15]))
