"""Processes that nobody supervises any more: adopted, killed, reaped.

A supervisor process is a subreaper, so a descendant whose parent ended becomes its child. A child
that it did not start is such an orphan (a program that a worker's code left behind, however it hid
itself), and is killed with its process group.
"""

import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable

from durable_otp.clock import Deadline
from durable_otp.otp import linux


class Orphanage:
    """The adopted children of this process: ``sweep`` whenever one may have come.

    ``on_orphan(pid, program's name)`` is called once for each, except for those of a group that was
    killed with its leader: they did not hide, and are only late.
    """

    def __init__(self) -> None:
        self.on_orphan: Callable[[int, str], None] | None = None
        self._condemned: set[int] = set()
        self._killed_groups: deque[int] = deque(maxlen=64)
        self.spared: set[int] = set()

    def reset(self) -> None:
        """Begin anew, in a process that was just forked."""
        self.on_orphan = None
        self._condemned = set()
        self._killed_groups.clear()
        self.spared = set()

    def spare(self, pids: Iterable[int]) -> None:
        """Let these live, although nobody here started them; they are reaped when they end."""
        self.spared |= set(pids)

    def group_killed(self, group: int) -> None:
        """Note that everything in this process group has been sent SIGKILL."""
        self._killed_groups.append(group)

    def sweep(self, known: set[int]) -> int:
        """Kill every child that is not in ``known`` and reap; return how many have not ended yet.

        Those whom a reaped one leaves behind are adopted by then, and dealt with likewise.
        """
        self.spared -= {pid for pid in self.spared if _reap(pid)}
        while unknown := set(linux.child_pids()) - known - self.spared:
            self._condemned &= unknown
            for pid in unknown - self._condemned:
                self._condemn(pid, known)
            ended = {pid for pid in unknown if _reap(pid)}
            self._condemned -= ended
            if not ended:
                break
        return len(unknown)

    def _condemn(self, pid: int, known: set[int]) -> None:
        self._condemned.add(pid)
        name = linux.process_name(pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            group = os.getpgid(pid)
            os.kill(pid, signal.SIGKILL)
            if group in self._killed_groups:
                return
            if group not in known and group != os.getpgrp():
                os.killpg(group, signal.SIGKILL)
        if self.on_orphan is not None:
            self.on_orphan(pid, name)


def _reap(pid: int) -> bool:
    """Reap the child if it has ended; return whether it is gone."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def bury_all(seconds: float, spared: Iterable[int] = ()) -> None:
    """Kill and reap every child of this process, adopted ones included; blocks until done.

    For a process that ends at once. It waits at most ``seconds`` for what cannot be killed.
    """
    orphanage = Orphanage()
    orphanage.spare(spared)
    deadline = Deadline(seconds)
    while orphanage.sweep(set()) and not deadline.passed:
        signal.sigtimedwait([signal.SIGCHLD], 0.01)
