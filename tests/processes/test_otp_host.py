"""The two ways to run a root: for a host, whom it does not outlive, and in the foreground."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from durable_otp.otp import ChildSpec, Normal, StartFailed, Supervisor, SupervisorFlags
from tests.support import otp_programs as programs
from tests.support.otp_programs import assert_gone, everyone_below
from tests.support.waiting import wait_until

HOST = """
import os, sys, threading, time
from durable_otp.otp import ChildSpec, Supervisor, SupervisorFlags
from tests.support import otp_programs as programs

greeting = "by value"

def mine(parent):
    parent.ready({"greeting": greeting})
    while not parent.stopping:
        parent.receive(None)

supervisor = Supervisor(SupervisorFlags(), [
    ChildSpec("mine", mine), ChildSpec("w", programs.leave_programs_behind)])
starter = threading.Thread(target=supervisor.start)
starter.start()
starter.join()
print(supervisor.pid, flush=True)
sys.stdin.read()
"""

FOREGROUND = """
import sys
from durable_otp.otp import ChildSpec, SupervisorFlags, SupervisorSpec, run_root
from tests.support import otp_programs as programs

program = getattr(programs, sys.argv[1])
spec = SupervisorSpec(SupervisorFlags(), [ChildSpec("a", program, shutdown=60)])
sys.exit(run_root(spec, title="durable-otp foreground"))
"""


def start(script: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("end", ["kill", "exit", "exit_code"])
def test_nothing_is_left_when_the_host_is_gone(end: str) -> None:
    with start(HOST) as host:
        root = int(host.stdout.readline())
        everyone = everyone_below(root)
        assert len(everyone) == 5
        if end == "kill":
            host.kill()
        else:
            host.stdin.close()
        host.wait()
    assert_gone(everyone)


def test_a_host_in_threads_is_served_and_keeps_its_signal_handlers() -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    children = [ChildSpec(f"c{n}", programs.obey) for n in range(4)]
    with Supervisor(SupervisorFlags(intensity=9), children) as supervisor:
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.append(supervisor.count_children().active))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [4] * 8
        assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
    assert supervisor.wait(0) == Normal()


def test_a_stop_that_takes_too_long_becomes_immediate() -> None:
    with Supervisor(
        SupervisorFlags(), [ChildSpec("a", programs.ignore_term, shutdown="infinity")]
    ) as supervisor:
        everyone = everyone_below(supervisor.pid)
        supervisor.stop(timeout=0.1)
        assert all(programs.is_gone(pid) for pid in everyone)


def first_child(root: int) -> int:
    def ready() -> int | None:
        children = psutil.Process(root).children()
        title = psutil.Process(root).cmdline()[0]
        return children[0].pid if children and title.startswith("durable-otp") else None

    return wait_until(ready)


def is_catching(pid: int, number: int) -> Callable[[], bool]:
    def check() -> bool:
        status = Path(f"/proc/{pid}/status").read_text()
        masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
        return bool((int(masks["SigCgt"], 16) | int(masks["SigIgn"], 16)) >> (number - 1) & 1)

    return check


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_a_foreground_root_in_order(number: int) -> None:
    with start(FOREGROUND, "obey") as root:
        child = first_child(root.pid)
        wait_until(is_catching(child, signal.SIGTERM))
        root.send_signal(number)
        assert root.wait(20) == 0
    assert programs.is_gone(child)


def test_the_second_signal_kills_what_is_left() -> None:
    with start(FOREGROUND, "stay_when_told") as root:
        child = first_child(root.pid)
        wait_until(lambda: psutil.Process(child).cmdline()[0] == "deaf")
        root.terminate()
        wait_until(lambda: psutil.Process(child).cmdline()[0] == "told")
        assert root.poll() is None
        begin = time.monotonic()
        root.terminate()
        assert root.wait(20) == 1
        assert time.monotonic() - begin < 5
    assert programs.is_gone(child)


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_foreground_root_can_be_stopped_while_it_starts(number: int) -> None:
    with start(FOREGROUND, "never_ready") as root:
        child = first_child(root.pid)
        wait_until(is_catching(child, signal.SIGTERM))
        os.kill(child, signal.SIGSTOP)
        wait_until(lambda: psutil.Process(child).status() == psutil.STATUS_STOPPED)
        root.send_signal(number)
        wait_until(lambda: psutil.Process(child).status() != psutil.STATUS_STOPPED)
        os.kill(child, signal.SIGKILL)
        assert root.wait(20) == 0


class OnlyHere:
    """Can leave this process, but not arrive in another."""

    def __reduce__(self) -> tuple:
        return int, ("not a number",)


def test_a_root_that_cannot_unpack_its_cargo_says_why() -> None:
    child = ChildSpec("a", programs.obey, (OnlyHere(),))
    with pytest.raises(StartFailed, match="ValueError: invalid literal"):
        Supervisor(SupervisorFlags(), [child]).start()
