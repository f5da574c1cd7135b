"""Restarts that slow down: per child, per template, and at the root instead of giving up."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from durable_otp.otp import (
    AsyncParentLink,
    ChildSpec,
    DynamicSupervisor,
    DynamicSupervisorSpec,
    InvalidSpec,
    Normal,
    RestartBackoff,
    Restarting,
    StartFailed,
    SupervisorFlags,
    SupervisorSpec,
)
from tests.support import otp_programs as programs
from tests.support.otp_programs import Grow, Story, in_supervisor_process, until
from tests.support.waiting import wait_until

QUICK = RestartBackoff(initial=0.05, factor=2, max=0.2, jitter=0)
NEVER = RestartBackoff(initial=3600, max=3600, jitter=0)


def delays(story: Story, path: str) -> list[float]:
    return [event.facts["delay"] for event in story.told("restarting", path)]


def kill(story: Story, path: str) -> None:
    os.kill(story.pid(path), signal.SIGKILL)


def test_without_a_backoff_every_restart_is_at_once(grow: Grow) -> None:
    _, story = grow(ChildSpec("a", programs.obey))
    for death in range(3):
        kill(story, "a")
        story.wait_for("started", "a", times=death + 2)
    assert delays(story, "a") == [0, 0, 0]


def test_each_death_of_a_child_with_a_backoff_waits_longer_up_to_the_ceiling(grow: Grow) -> None:
    _, story = grow(ChildSpec("a", programs.obey, backoff=QUICK), ChildSpec("b", programs.obey))
    begin = time.monotonic()
    for death in range(4):
        kill(story, "a")
        story.wait_for("started", "a", times=death + 2)
    assert delays(story, "a") == [0.05, 0.1, 0.2, 0.2]
    assert time.monotonic() - begin >= 0.55
    kill(story, "b")
    story.wait_for("started", "b", times=2)
    assert delays(story, "b") == [0]


def test_a_child_that_lived_long_enough_begins_the_curve_anew(grow: Grow) -> None:
    forgiving = RestartBackoff(initial=0.05, factor=2, max=1, jitter=0, reset_after=0.3)
    _, story = grow(ChildSpec("a", programs.obey, backoff=forgiving))
    for death in range(2):
        kill(story, "a")
        story.wait_for("started", "a", times=death + 2)
    born = time.monotonic()
    wait_until(lambda: time.monotonic() > born + 0.35)
    kill(story, "a")
    story.wait_for("started", "a", times=4)
    assert delays(story, "a") == [0.05, 0.1, 0.05]


def test_deaths_are_counted_when_they_happen_not_when_the_restart_is_done(grow: Grow) -> None:
    slow = RestartBackoff(initial=0.3, factor=1, max=0.3, jitter=0)
    flags = SupervisorFlags(intensity=2, period=30)
    supervisor, story = grow(ChildSpec("a", programs.obey, backoff=slow), flags=flags)
    for death in range(2):
        kill(story, "a")
        story.wait_for("started", "a", times=death + 2)
    kill(story, "a")
    assert supervisor.wait(20) is not None
    assert story.lines()[-2:] == ["stopped a", "gave_up a"]


def test_a_child_that_waits_is_restarting_and_terminating_it_cancels_that(grow: Grow) -> None:
    supervisor, story = grow(ChildSpec("a", programs.obey, backoff=NEVER))
    kill(story, "a")
    story.wait_for("restarting", "a")
    assert [(c.pid, c.state) for c in supervisor.which_children()] == [(None, "restarting")]
    for call in (supervisor.restart_child, supervisor.delete_child):
        with pytest.raises(Restarting):
            call("a")
    supervisor.terminate_child("a")
    assert [c.state for c in supervisor.which_children()] == ["undefined"]
    assert supervisor.restart_child("a").state == "up"


def test_a_restart_that_was_cancelled_does_not_come_later(grow: Grow) -> None:
    soon = RestartBackoff(initial=0.3, max=0.3, jitter=0)
    later = RestartBackoff(initial=0.6, max=0.6, jitter=0)
    supervisor, story = grow(
        ChildSpec("a", programs.obey, backoff=soon), ChildSpec("b", programs.obey, backoff=later)
    )
    for child in ("a", "b"):
        kill(story, child)
        story.wait_for("restarting", child)
    supervisor.terminate_child("a")
    story.wait_for("started", "b", times=2)
    assert len(story.told("started", "a")) == 1


def test_a_stop_does_not_wait_for_a_backoff(grow: Grow) -> None:
    supervisor, story = grow(ChildSpec("a", programs.obey, backoff=NEVER))
    kill(story, "a")
    story.wait_for("restarting", "a")
    begin = time.monotonic()
    assert supervisor.stop() == Normal()
    assert time.monotonic() - begin < 10


def test_a_root_with_backoff_slows_down_instead_of_giving_up(grow: Grow, tmp_path: Path) -> None:
    flags = SupervisorFlags(intensity=1, on_exceeded="backoff", backoff=QUICK)
    counter = str(tmp_path / "starts")
    supervisor, story = grow(
        ChildSpec("a", programs.count_starts, (counter, 2)),
        ChildSpec("b", programs.obey),
        flags=flags,
    )
    kill(story, "a")
    story.wait_for("start_failed", "a", times=6)
    assert delays(story, "a")[:6] == [0, 0.05, 0.1, 0.2, 0.2, 0.2]
    kill(story, "b")
    story.wait_for("started", "b", times=2)
    assert delays(story, "b") == [0]
    supervisor.terminate_child("a")
    assert [c.state for c in supervisor.which_children() if c.id == "a"] == ["undefined"]
    assert story.told("gave_up", "a") == []


def test_a_nested_tree_that_does_not_come_up_slows_its_root_down_too(
    grow: Grow, tmp_path: Path
) -> None:
    worker = ChildSpec("w", programs.count_starts, (str(tmp_path / "starts"), 2))
    nested = ChildSpec("n", SupervisorSpec(SupervisorFlags(intensity=0), [worker]))
    _, story = grow(
        nested, flags=SupervisorFlags(intensity=0, on_exceeded="backoff", backoff=QUICK)
    )
    kill(story, "n/w")
    story.wait_for("start_failed", "n", times=3)
    assert story.told("gave_up", "n/w")
    assert delays(story, "n")[:3] == [0.05, 0.1, 0.2]


def test_a_dynamic_supervisor_obeys_its_templates_backoff(grow: Grow) -> None:
    template = ChildSpec("w", programs.obey, backoff=NEVER)
    pool = ChildSpec("pool", DynamicSupervisorSpec(template))
    supervisor, story = grow(pool)
    handle = supervisor.child("pool")
    one = handle.start_child(child_id="one")
    os.kill(one.pid, signal.SIGKILL)
    story.wait_for("stopped", "pool/one")
    assert [c.state for c in handle.which_children()] == ["restarting"]
    handle.terminate_child("one")
    assert handle.which_children() == []


async def come_back_twice(_: AsyncParentLink) -> Any:
    template = ChildSpec("w", programs.obey, backoff=QUICK)
    pool = DynamicSupervisor(template)
    await pool.start_child()
    waits = []
    for _death in range(2):
        begin = asyncio.get_running_loop().time()
        os.kill(pool.children[0].pid, signal.SIGKILL)
        await until(lambda: not pool.children)
        await until(lambda: pool.children)
        waits.append(asyncio.get_running_loop().time() - begin)
    await pool.stop()
    return waits


def test_a_dynamic_supervisors_child_comes_back_after_its_delay() -> None:
    first, second = in_supervisor_process(come_back_twice)
    assert first >= 0.05
    assert second >= 0.1


def test_a_child_that_is_not_ready_in_time_is_killed_and_fails_the_start(grow: Grow) -> None:
    with pytest.raises(StartFailed, match=r"not ready after 0\.2 s and was killed"):
        grow(ChildSpec("a", programs.never_ready, start_timeout=0.2))


def test_a_restart_that_is_not_ready_in_time_counts_as_a_failure(
    grow: Grow, tmp_path: Path
) -> None:
    child = ChildSpec("a", programs.hang_from, (str(tmp_path / "starts"), 2), start_timeout=0.2)
    supervisor, story = grow(child, flags=SupervisorFlags(intensity=2, period=60))
    kill(story, "a")
    assert supervisor.wait(20) is not None
    kinds = [event.facts["failure"]["kind"] for event in story.told("start_failed", "a")]
    assert kinds == ["timeout", "timeout"]
    assert story.told("gave_up", "a")


@pytest.mark.parametrize("field", ["start_timeout", "watchdog"])
@pytest.mark.parametrize("value", [0, -1, True, "1"])
def test_times_are_checked_before_anything_starts(field: str, value: Any) -> None:
    child = ChildSpec("a", programs.obey, **{field: value})
    with pytest.raises(InvalidSpec, match=f"^{field} is not allowed"):
        SupervisorSpec(SupervisorFlags(), [child]).check()
