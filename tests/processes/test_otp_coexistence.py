"""A host with habits of its own: it reaps all its children, ignores SIGCHLD, forks at any time."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.otp_programs import assert_gone, everyone_below
from tests.support.waiting import wait_until

SETUP = """
import json, os, signal, subprocess, sys, threading, time
from durable_otp.otp import ChildSpec, NoProcess, Supervisor, SupervisorFlags
from tests.support import otp_programs as programs
from tests.support.otp_programs import Story
from tests.support.waiting import wait_until

def tell(**facts):
    print(json.dumps(facts), flush=True)

story = Story()
supervisor = Supervisor(
    SupervisorFlags(intensity=1000),
    [ChildSpec("a", programs.obey), ChildSpec("b", programs.obey)],
    on_event=story.append,
)
"""

REAPS_ALL = """
reaped = {}

def reap(*_):
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        reaped[pid] = os.waitstatus_to_exitcode(status)

signal.signal(signal.SIGCHLD, reap)
supervisor.start()
mine = []
for code in range(5):
    pid = os.fork()
    if pid == 0:
        os._exit(code)
    mine.append(pid)
    os.kill(story.pid("a"), signal.SIGKILL)
    story.wait_for("started", "a", times=code + 2)
wait_until(lambda: set(mine) <= set(reaped))
if sys.argv[1] == "kill":
    os.kill(supervisor.pid, signal.SIGKILL)
else:
    supervisor.stop()
root = supervisor.pid
reason = str(supervisor.wait(10))
tell(
    codes=[reaped[pid] for pid in mine],
    strangers=sorted(set(reaped) - {*mine, root}),
    handler_is_mine=signal.getsignal(signal.SIGCHLD) is reap,
    reason=reason,
)
"""

IGNORES = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
supervisor.start()
os.kill(story.pid("a"), signal.SIGKILL)
story.wait_for("started", "a", times=2)
stopped = story.told("stopped", "a")[0].facts["reason"]
if sys.argv[1] == "kill":
    os.kill(supervisor.pid, signal.SIGKILL)
else:
    supervisor.stop()
tell(reason=str(supervisor.wait(10)), stopped=stopped)
"""

FORKS = """
forked = []
done = threading.Event()

def fork_on_and_on():
    while not done.is_set() and len(forked) < 500:
        pid = os.fork()
        if pid == 0:
            signal.alarm(90)  # whatever becomes of the host: thousands of these stop a machine
            signal.pause()
            os._exit(0)
        forked.append(pid)
        done.wait(0.02)

thread = threading.Thread(target=fork_on_and_on, daemon=True)
thread.start()
try:
    supervisor.start()
    os.kill(story.pid("a"), signal.SIGKILL)
    story.wait_for("started", "a", times=2)
    wait_until(lambda: len(forked) >= 5)
finally:
    done.set()
thread.join()
tell(root=supervisor.pid, forked=forked)
sys.stdin.read()
"""

FORKS_AT_ONCE = """
forked = []
begun = threading.Event()

def fork_at_once():
    begun.wait()
    for _ in range(40):
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            signal.pause()
            os._exit(0)
        forked.append(pid)

sys.addaudithook(lambda event, _: begun.set() if event == "subprocess.Popen" else None)
thread = threading.Thread(target=fork_at_once)
thread.start()
supervisor.start()
thread.join()
lasting = [pid for pid in forked if os.waitpid(pid, os.WNOHANG) == (0, 0)]
os.kill(supervisor.pid, signal.SIGKILL)
reason = str(supervisor.wait(10))
for pid in lasting:
    os.kill(pid, signal.SIGKILL)
tell(lasting=len(lasting), reason=reason)
"""

FORKED_COPY = """
supervisor.start()
pid = os.fork()
if pid == 0:
    answers = []
    try:
        supervisor.which_children()
    except NoProcess:
        answers.append("NoProcess")
    answers.append(supervisor.stop())
    tell(copy=answers)
    os._exit(0)
os.waitpid(pid, 0)
tell(active=supervisor.count_children().active)
supervisor.stop()
"""


@contextmanager
def host(script: str, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SETUP + script, *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def told(script: str, *arguments: str) -> dict:
    with host(script, *arguments) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()][-1]


ends = pytest.mark.parametrize(
    ("end", "reason"),
    [("stop", "normal"), ("kill", "killed from outside, perhaps out of memory")],
)


@ends
def test_a_host_that_reaps_all_its_children_keeps_them_and_we_keep_ours(
    end: str, reason: str
) -> None:
    assert told(REAPS_ALL, end) == {
        "codes": [0, 1, 2, 3, 4],
        "strangers": [],
        "handler_is_mine": True,
        "reason": reason,
    }


@ends
def test_a_host_may_ignore_sigchld_so_that_no_status_is_kept(end: str, reason: str) -> None:
    assert told(IGNORES, end) == {"reason": reason, "stopped": "killed"}


def test_a_host_that_forks_meanwhile_takes_its_tree_with_it_all_the_same() -> None:
    with host(FORKS) as process:
        facts = json.loads(process.stdout.readline())
        everyone = everyone_below(facts["root"])
        assert len(everyone) == 3
        process.kill()
        process.wait()
        try:
            assert_gone(everyone)
        finally:
            for pid in facts["forked"]:
                os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in everyone))


def test_a_start_does_not_wait_for_copies_that_the_host_forks_meanwhile() -> None:
    facts = told(FORKS_AT_ONCE)
    assert facts == {"lasting": 40, "reason": "killed from outside, perhaps out of memory"}


def test_a_forked_copy_of_a_host_cannot_stop_its_tree() -> None:
    with host(FORKED_COPY) as process:
        out, _ = process.communicate(timeout=60)
    assert [json.loads(line) for line in out.splitlines()] == [
        {"copy": ["NoProcess", None]},
        {"active": 2},
    ]
