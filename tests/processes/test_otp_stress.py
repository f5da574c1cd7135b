"""Trees started, stopped and killed in quantity leave nothing behind, wherever one looks."""

import gc
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import pytest

from durable_otp.otp import ChildSpec, Normal, Supervisor, SupervisorFlags, SupervisorSpec
from tests.support import otp_programs as programs
from tests.support.otp_programs import Grow
from tests.support.waiting import wait_until

MEGABYTE = 1 << 20
PYTHONS = ("sem.mp-", "psm_", "pym-")
"""How names begin that Python, and the libraries of processes we use, give in `/dev/shm`."""
slow = pytest.mark.slow


@dataclass(frozen=True)
class Holdings:
    """What a process holds: descriptors, threads, unreaped children, memory."""

    descriptors: int
    threads: int
    zombies: int
    memory: int

    @classmethod
    def of(cls, pid: int) -> Self:
        process = psutil.Process(pid)
        zombies = sum(programs.is_gone(child.pid) for child in process.children())
        memory = process.memory_full_info().uss
        return cls(process.num_fds(), process.num_threads(), zombies, memory)

    def assert_no_more_than(self, before: Self, megabytes: float) -> None:
        counts = (self.descriptors, self.threads, self.zombies)
        assert counts == (before.descriptors, before.threads, before.zombies)
        assert self.memory - before.memory < megabytes * MEGABYTE


def shared_memory() -> set[str]:
    """Return the names of Python's shared memory and semaphores; servers and browsers have more."""
    return {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(PYTHONS)}


def small_tree() -> Supervisor:
    inner = SupervisorSpec(SupervisorFlags(), [ChildSpec("w", programs.obey)])
    return Supervisor(SupervisorFlags(), [ChildSpec("a", programs.obey), ChildSpec("n", inner)])


def start_and_stop(times: int, ends: list[object]) -> None:
    for _ in range(times):
        with small_tree() as supervisor:
            everyone = programs.everyone_below(supervisor.pid)
        left = [pid for pid in everyone if not programs.is_gone(pid)]
        ends.append((supervisor.wait(0), len(everyone), left))


@pytest.mark.parametrize(
    ("starters", "times"),
    [(10, 5), pytest.param(10, 50, marks=[slow, pytest.mark.timeout(1200)])],
)
def test_ten_threads_start_and_stop_trees(starters: int, times: int) -> None:
    ends: list[object] = []
    start_and_stop(2, ends)  # what is imported and cached at the first use is no leak
    gc.collect()
    before, shared = Holdings.of(os.getpid()), shared_memory()
    threads = [threading.Thread(target=start_and_stop, args=(times, ends)) for _ in range(starters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [(Normal(), 4, [])] * (2 + starters * times)
    gc.collect()
    Holdings.of(os.getpid()).assert_no_more_than(before, megabytes=8)
    wait_until(lambda: shared_memory() <= shared)  # what a test beside this one holds for a moment


@pytest.mark.parametrize(
    "deaths", [100, pytest.param(1000, marks=[slow, pytest.mark.timeout(600)])]
)
def test_children_killed_in_quantity_cost_nothing(grow: Grow, deaths: int) -> None:
    flags = SupervisorFlags(intensity=10**6)
    inner = SupervisorSpec(flags, [ChildSpec("w", programs.obey), ChildSpec("v", programs.obey)])
    supervisor, story = grow(ChildSpec("n", inner), flags=flags)
    who = (os.getpid(), supervisor.pid, story.pid("n"))

    def kill(times: int) -> None:
        done = len(story.told("started", "n/w"))
        for death in range(times):
            os.kill(story.pid("n/w"), signal.SIGKILL)
            story.wait_for("started", "n/w", times=done + death + 1)

    kill(30)
    in_child = psutil.Process(story.pid("n/w")).num_fds()
    before, shared = [Holdings.of(pid) for pid in who], shared_memory()
    kill(deaths)
    for pid, holdings in zip(who, before, strict=True):
        wait_until(lambda pid=pid, n=holdings.zombies: Holdings.of(pid).zombies == n)
        Holdings.of(pid).assert_no_more_than(holdings, megabytes=4)
    assert psutil.Process(story.pid("n/w")).num_fds() == in_child
    assert story.pid("n") == who[2]
    wait_until(lambda: shared_memory() <= shared)  # what a test beside this one holds for a moment
