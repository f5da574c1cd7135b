"""What the kernel and the interpreter do to supervisors, and what is done about it.

Each fact of part 2 of the semantics, and the test that shows it (here, unless a file is named):

* exit codes are clamped, reserved ones are ours, reasons map: ``test_the_reason_of_an_end_is_told``
  in test_otp_tree, ``test_exit_codes_are_clamped`` in unit/test_otp_exit_reason
* a child ends by ``os._exit``: ``test_no_exit_hook_and_no_thread_delays_an_end``
* signals are blocked round the fork:
  ``test_a_signal_at_birth_never_runs_the_parents_handler``,
  ``test_a_stop_that_comes_at_birth_is_not_lost``
* the wake-up descriptor is the child's own, and is in the wait:
  ``test_a_child_has_a_wakeup_descriptor_of_its_own``,
  ``test_a_signal_just_before_the_wait_ends_the_wait``
* supervisors fork from one thread: ``test_supervisors_have_one_thread``
* death is noticed by pidfd: ``test_a_death_is_noticed_while_a_grandchild_holds_every_descriptor``
* a group is killed before its leader is reaped:
  ``test_a_group_is_killed_before_its_leader_is_reaped``
* PDEATHSIG and its race: ``test_a_child_whose_parent_died_at_its_birth_does_not_live``,
  ``test_a_worker_dies_with_its_supervisor_however_busy_it_is`` in test_otp_tree; it follows the
  thread, so a root watches its host: ``test_nothing_is_left_when_the_host_is_gone`` in
  test_otp_host
* a lifeline is not inherited by siblings: ``test_a_child_has_no_descriptor_of_its_sibling`` in
  test_otp_tree
* groups shield from Ctrl-C: ``test_ctrl_c_reaches_the_root_alone``
* subreaper: ``test_who_hides_in_another_session_is_adopted_killed_and_noted_once``
* PID 1 reaps everything: test_otp_pid_one
* a killed supervisor's orphans are cleared first:
  ``test_nothing_of_a_killed_supervisor_lives_when_its_replacement_starts``,
  ``test_the_orphans_of_a_killed_supervisor_are_gone_before_its_replacement_starts``
* SIGCONT after SIGTERM: ``test_a_stopped_process_is_continued_so_that_it_sees_sigterm`` in
  test_otp_tree; deadlines are the supervisor's: ``test_a_deadlock_in_c_is_killed_at_the_deadline``
* a stop interrupts a start, a second one kills: test_otp_host
* signals that our starter blocked are heard: ``test_a_mask_of_the_host_is_not_inherited``
* a host keeps its children, handlers and forks: test_otp_coexistence
"""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from durable_otp.otp import ChildSpec, Normal, Supervisor, SupervisorFlags, SupervisorSpec
from tests.support import otp_births as births
from tests.support import otp_programs as programs
from tests.support.otp_programs import Grow, assert_gone, in_supervisor_process
from tests.support.waiting import wait_until


def test_no_exit_hook_and_no_thread_delays_an_end(grow: Grow, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    child = ChildSpec("a", births.end_with_a_mess, (str(marker),), restart="temporary")
    _, story = grow(child)
    assert story.wait_for("stopped", "a").facts["reason"] == "normal"
    assert not marker.exists()


def test_a_signal_at_birth_never_runs_the_parents_handler() -> None:
    at_birth = partial(births.signal_before_the_first_act, number=signal.SIGHUP)
    assert in_supervisor_process(at_birth) == ["StartFailure", "SIGHUP"]


def test_a_stop_that_comes_at_birth_is_not_lost() -> None:
    at_birth = partial(births.signal_before_the_first_act, number=signal.SIGTERM)
    assert in_supervisor_process(at_birth) == ["Ready", "normal"]


def test_a_child_has_a_wakeup_descriptor_of_its_own(grow: Grow) -> None:
    child = ChildSpec("a", births.show_the_wakeup_descriptor, restart="temporary")
    _, story = grow(child)
    assert story.info("a") == {"own": True, "threads": 1}


def test_a_child_collects_its_garbage_though_its_root_did_not_while_importing(grow: Grow) -> None:
    _, story = grow(ChildSpec("a", births.show_the_collector))
    assert story.info("a") == {"collects": True}


def test_a_signal_just_before_the_wait_ends_the_wait(grow: Grow) -> None:
    child = ChildSpec("a", births.race_a_signal_into_the_wait, restart="temporary")
    _, story = grow(child)
    assert story.wait_for("stopped", "a").facts["reason"] == "normal"


def test_supervisors_have_one_thread(grow: Grow) -> None:
    inner = SupervisorSpec(SupervisorFlags(), [ChildSpec("w", programs.obey)])
    supervisor, story = grow(ChildSpec("n", inner))
    pids = (supervisor.pid, story.pid("n"), story.pid("n/w"))
    assert [psutil.Process(pid).num_threads() for pid in pids] == [1, 1, 1]


def test_a_death_is_noticed_while_a_grandchild_holds_every_descriptor(grow: Grow) -> None:
    child = ChildSpec("a", births.die_with_a_grandchild_that_keeps_everything, restart="temporary")
    _, story = grow(child)
    story.wait_for("stopped", "a")
    orphan = story.wait_for("orphan", "").facts["pid"]
    assert story.lines().index("stopped a") > 0
    assert_gone([orphan])


def test_a_group_is_killed_before_its_leader_is_reaped() -> None:
    in_order, seen = in_supervisor_process(births.order_of_a_burial)
    assert in_order, seen


LOSE_THE_PARENT = """
import asyncio, sys
from tests.support import otp_births as births

asyncio.run(births.lose_the_parent_at_birth(*sys.argv[1:]))
"""


def test_a_child_whose_parent_died_at_its_birth_does_not_live(tmp_path: Path) -> None:
    newborn, marker = tmp_path / "newborn", tmp_path / "marker"
    command = [sys.executable, "-c", LOSE_THE_PARENT, str(newborn), str(marker)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == -signal.SIGKILL
    wait_until(lambda: newborn.exists() and newborn.read_text())
    wait_until(lambda: programs.is_gone(int(newborn.read_text())))
    assert not marker.exists()


def test_who_hides_in_another_session_is_adopted_killed_and_noted_once() -> None:
    assert in_supervisor_process(births.adopt) == [True, True]


def test_the_orphans_of_a_killed_supervisor_are_gone_before_its_replacement_starts(
    grow: Grow,
) -> None:
    stubborn = ChildSpec("s", programs.ignore_term, shutdown=0.1)
    worker = ChildSpec("w", programs.leave_programs_behind)
    deep = ChildSpec("m", SupervisorSpec(SupervisorFlags(), [stubborn, worker]))
    _, story = grow(ChildSpec("n", SupervisorSpec(SupervisorFlags(), [deep])))
    old = [story.pid("n/m"), story.pid("n/m/s"), story.pid("n/m/w"), *story.info("n/m/w").values()]
    os.kill(story.pid("n"), signal.SIGKILL)
    story.wait_for("started", "n/m/s", times=2)
    assert [pid for pid in old if not programs.is_gone(pid)] == []
    lines = story.lines()
    again = len(lines) - 1 - lines[::-1].index("started n/m/s")
    assert max(map(lines.index, ("stopped n", "orphan ", "restarting n"))) < again


def test_nothing_of_a_killed_supervisor_lives_when_its_replacement_starts(
    grow: Grow, tmp_path: Path
) -> None:
    program = (births.hide_one_that_dies_slowly, (str(tmp_path / "pid"),))
    _, story = grow(ChildSpec("n", *program, type="supervisor"))
    os.kill(story.pid("n"), signal.SIGKILL)
    story.wait_for("started", "n", times=2)
    orphan = story.wait_for("orphan", "").facts["pid"]
    assert story.info("n") == {"old": orphan, "alive": False}


def hang_in_c(parent: Any) -> None:
    from tests.processes.test_otp_watchdog import deadlock_in_c

    parent.ready()
    deadlock_in_c()


def test_a_deadlock_in_c_is_killed_at_the_deadline(grow: Grow) -> None:
    supervisor, story = grow(ChildSpec("a", hang_in_c, shutdown=0.3))
    begin = time.monotonic()
    assert supervisor.stop() == Normal()
    assert 0.3 <= time.monotonic() - begin < 5
    assert story.told("stopped", "a")[0].facts["by_supervisor"]


FOREGROUND = """
import sys
from durable_otp.otp import ChildSpec, SupervisorFlags, SupervisorSpec, run_root
from tests.support import otp_programs as programs

children = [ChildSpec("a", programs.note_signals, (sys.argv[1],))]
sys.exit(run_root(SupervisorSpec(SupervisorFlags(), children)))
"""


def test_ctrl_c_reaches_the_root_alone(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, str(notes)],
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    ) as root:
        wait_until(lambda: notes.exists() and "ready" in notes.read_text())
        os.killpg(root.pid, signal.SIGINT)
        assert root.wait(20) == 0
    assert notes.read_text().split() == ["ready", "stopping"]


def test_a_mask_of_the_host_is_not_inherited() -> None:
    supervisor = Supervisor(SupervisorFlags(), [ChildSpec("a", programs.obey)])

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD, signal.SIGINT])
        supervisor.start()

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    os.kill(supervisor.pid, signal.SIGTERM)
    assert supervisor.wait(20) == Normal()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_a_root_that_has_a_host_stops_the_tree_in_order(
    grow: Grow, number: int
) -> None:
    supervisor, story = grow(ChildSpec("a", programs.obey), ChildSpec("b", programs.obey))
    os.kill(supervisor.pid, number)
    assert supervisor.wait(20) == Normal()
    assert story.lines()[2:] == ["stopped b", "stopped a"]
