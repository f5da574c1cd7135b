"""A child that hangs is made to show where, and is killed; one that works or waits is not."""

import ctypes
import os
import signal
import time
from typing import Any

import pytest

from durable_otp.otp import ChildSpec, DynamicSupervisorSpec, SupervisorFlags, SupervisorSpec
from tests.support import otp_programs as programs
from tests.support.otp_programs import Grow, PassOn
from tests.support.waiting import wait_until

WATCH = 0.5


def deadlock_in_c() -> None:
    """Wait for a lock that this thread holds, inside C and holding the interpreter's own."""
    library = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(128)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


def hang_when_told(parent: Any, deaf: bool) -> None:
    if deaf:
        signal.signal(signal.SIGABRT, signal.SIG_IGN)
    parent.ready()
    while not parent.stopping:
        if parent.receive(None) is not None:
            deadlock_in_c()


def work_for(parent: Any, seconds: float, beating: bool) -> None:
    parent.ready()
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        if beating:
            parent.beat()
    parent.send("done")
    programs.wait_for_the_stop(parent)


def tell(supervisor: Any, child: str) -> None:
    assert supervisor.request("tell", {"child": child}) == {"sent": True}


def test_a_hung_child_shows_its_stack_and_is_restarted(grow: Grow, capfd: Any) -> None:
    child = ChildSpec("a", hang_when_told, (False,), watchdog=WATCH)
    supervisor, story = grow(child, hooks=PassOn())
    tell(supervisor, "a")
    told = time.monotonic()
    hung = story.wait_for("hung", "a")
    assert time.monotonic() - told >= WATCH / 2
    stopped = story.wait_for("stopped", "a")
    assert hung.facts == {"pid": stopped.facts["pid"], "watchdog": WATCH}
    assert (stopped.facts["reason"], stopped.facts["signal"]) == ("failed", "SIGABRT")
    story.wait_for("started", "a", times=2)
    shown = capfd.readouterr().err
    assert "Fatal Python error: Aborted" in shown
    assert "in deadlock_in_c" in shown
    assert "in hang_when_told" in shown


def test_a_hung_child_that_ignores_the_abort_is_killed(grow: Grow) -> None:
    child = ChildSpec("a", hang_when_told, (True,), watchdog=WATCH)
    supervisor, story = grow(child, hooks=PassOn())
    tell(supervisor, "a")
    story.wait_for("hung", "a")
    seen = time.monotonic()
    stopped = story.wait_for("stopped", "a")
    assert 1.5 < time.monotonic() - seen < 6
    assert (stopped.facts["reason"], stopped.facts["by_supervisor"]) == ("killed", True)


def test_a_stopped_child_is_continued_to_show_its_stack(grow: Grow, capfd: Any) -> None:
    _, story = grow(ChildSpec("a", programs.obey, watchdog=WATCH))
    os.kill(story.pid("a"), signal.SIGSTOP)
    assert story.wait_for("stopped", "a").facts["signal"] == "SIGABRT"
    assert "in receive" in capfd.readouterr().err


def test_a_child_that_waits_is_not_hung(grow: Grow) -> None:
    _, story = grow(ChildSpec("a", programs.obey, watchdog=0.2))
    pid, begin = story.pid("a"), time.monotonic()
    wait_until(lambda: time.monotonic() > begin + 1.0)
    assert (story.lines(), story.pid("a")) == (["started a"], pid)


@pytest.mark.parametrize("beating", [True, False])
def test_a_child_that_works_for_long_beats(grow: Grow, beating: bool) -> None:
    heard: list[Any] = []
    child = ChildSpec("a", work_for, (4 * WATCH, beating), watchdog=WATCH)
    _, story = grow(child, hooks=PassOn(), on_message=heard.append)
    wait_until(lambda: any(m.kind == "from_child" for m in heard) or story.told("hung", "a"))
    assert bool(story.told("hung", "a")) == (not beating)


def test_without_a_watchdog_a_child_may_hang(grow: Grow) -> None:
    supervisor, story = grow(ChildSpec("a", hang_when_told, (False,), shutdown=0.2), hooks=PassOn())
    tell(supervisor, "a")
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() > begin + 2 * WATCH)
    assert story.lines() == ["started a"]
    supervisor.stop()
    assert story.told("stopped", "a")[0].facts["reason"] == "killed"


def test_a_supervisor_whose_loop_turns_is_not_hung_and_one_that_is_stopped_is(grow: Grow) -> None:
    inner = SupervisorSpec(SupervisorFlags(), [ChildSpec("w", programs.obey)])
    _, story = grow(ChildSpec("n", inner, watchdog=WATCH))
    old, begin = story.pid("n/w"), time.monotonic()
    wait_until(lambda: time.monotonic() > begin + 3 * WATCH)
    assert not story.told("hung", "n")
    os.kill(story.pid("n"), signal.SIGSTOP)
    story.wait_for("hung", "n")
    story.wait_for("started", "n", times=2)
    assert programs.is_gone(old)


def test_a_dynamic_supervisor_watches_its_children_too(grow: Grow) -> None:
    template = ChildSpec("w", programs.obey, watchdog=WATCH, restart="temporary")
    supervisor, story = grow(ChildSpec("pool", DynamicSupervisorSpec(template)))
    child = supervisor.child("pool").start_child(child_id="one")
    os.kill(child.pid, signal.SIGSTOP)
    story.wait_for("hung", "pool/one")
    story.wait_for("stopped", "pool/one")
