"""A tree of real processes: what is restarted, what is stopped, and what is never left behind."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from durable_otp.errors import ConfigError
from durable_otp.otp import (
    ChildSpec,
    InvalidSpec,
    Killed,
    Message,
    NoProcess,
    NotSupported,
    StartFailed,
    Supervisor,
    SupervisorFlags,
    SupervisorSpec,
)
from tests.support import otp_programs as programs
from tests.support.otp_programs import Grow, PassOn, assert_gone, everyone_below
from tests.support.waiting import wait_until


def nested(name: str, *children: ChildSpec) -> ChildSpec:
    return ChildSpec(name, SupervisorSpec(SupervisorFlags(), children))


def test_a_killed_child_is_restarted_and_its_sibling_is_not(grow: Grow) -> None:
    _, story = grow(ChildSpec("a", programs.obey), ChildSpec("b", programs.obey))
    first, sibling = story.pid("a"), story.pid("b")
    os.kill(first, signal.SIGKILL)
    story.wait_for("started", "a", times=2)
    assert story.pid("a") != first
    assert story.pid("b") == sibling
    assert story.told("stopped", "a")[0].facts["reason"] == "killed"


def test_children_stop_in_reverse_order_and_nested_ones_before_their_supervisor(grow: Grow) -> None:
    inner = nested("n", ChildSpec("x", programs.obey), ChildSpec("y", programs.obey))
    supervisor, story = grow(ChildSpec("a", programs.obey), inner, ChildSpec("b", programs.obey))
    supervisor.stop()
    assert story.lines()[:5] == [
        "started a",
        "started n/x",
        "started n/y",
        "started n",
        "started b",
    ]
    assert story.lines()[5:] == [
        "stopped b",
        "stopped n/y",
        "stopped n/x",
        "stopped n",
        "stopped a",
    ]


def test_a_child_that_ignores_sigterm_is_killed_at_its_deadline(grow: Grow) -> None:
    supervisor, story = grow(ChildSpec("a", programs.ignore_term, shutdown=0.2))
    begin = time.monotonic()
    supervisor.stop()
    stopped = story.wait_for("stopped", "a")
    assert (stopped.facts["reason"], stopped.facts["by_supervisor"]) == ("killed", True)
    assert 0.2 <= time.monotonic() - begin < 3


def test_a_stopped_process_is_continued_so_that_it_sees_sigterm(grow: Grow) -> None:
    supervisor, story = grow(ChildSpec("a", programs.obey, shutdown=30))
    pid = story.pid("a")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    begin = time.monotonic()
    supervisor.stop()
    assert story.wait_for("stopped", "a").facts["reason"] == "normal"
    assert time.monotonic() - begin < 10


def test_what_a_worker_started_dies_with_it_even_in_another_session(grow: Grow) -> None:
    _, story = grow(ChildSpec("a", programs.leave_programs_behind))
    left = story.info("a")
    os.kill(story.pid("a"), signal.SIGKILL)
    assert_gone([left["grouped"], left["hidden"]])
    assert story.wait_for("orphan", "").facts["pid"] == left["hidden"]


def test_nothing_is_left_when_the_root_is_killed(grow: Grow) -> None:
    supervisor, story = grow(
        nested("n", ChildSpec("w", programs.leave_programs_behind)),
        ChildSpec("stubborn", programs.ignore_term),
    )
    everyone = everyone_below(supervisor.pid)
    assert {*story.info("n/w").values()} < {*everyone}
    os.kill(supervisor.pid, signal.SIGKILL)
    assert_gone(everyone)
    assert supervisor.wait(10) == Killed()
    with pytest.raises(NoProcess):
        supervisor.which_children()


def test_a_killed_supervisor_leaves_nothing_when_its_replacement_starts(grow: Grow) -> None:
    _, story = grow(nested("n", ChildSpec("w", programs.leave_programs_behind)))
    old = [story.pid("n/w"), *story.info("n/w").values()]
    os.kill(story.pid("n"), signal.SIGKILL)
    wait_until(lambda: len(story.told("stopped", "n")) == 1)
    story.wait_for("started", "n/w", times=2)
    assert all(programs.is_gone(pid) for pid in old)


def test_a_worker_dies_with_its_supervisor_however_busy_it_is(grow: Grow) -> None:
    supervisor, story = grow(ChildSpec("w", programs.hear_nothing))
    os.kill(supervisor.pid, signal.SIGKILL)
    assert_gone([story.pid("w")], within=1.0)


def test_a_hundred_deaths_cost_no_descriptor_and_leave_no_zombie(grow: Grow) -> None:
    supervisor, story = grow(ChildSpec("a", programs.obey), ChildSpec("b", programs.obey))
    count = psutil.Process(supervisor.pid).num_fds()
    in_child = psutil.Process(story.pid("a")).num_fds()
    for death in range(100):
        os.kill(story.pid("a"), signal.SIGKILL)
        story.wait_for("started", "a", times=death + 2)
    assert psutil.Process(supervisor.pid).num_fds() == count
    assert psutil.Process(story.pid("a")).num_fds() == in_child
    assert not [c for c in psutil.Process(supervisor.pid).children() if programs.is_gone(c.pid)]


def test_a_child_has_no_descriptor_of_its_sibling(grow: Grow) -> None:
    supervisor, story = grow(*(ChildSpec(f"w{n}", programs.obey) for n in range(5)))
    counts = {psutil.Process(story.pid(f"w{n}")).num_fds() for n in range(5)}
    assert len(counts) == 1
    ours = {str(p.readlink()) for p in Path(f"/proc/{supervisor.pid}/fd").iterdir()}
    theirs = {str(p.readlink()) for p in Path(f"/proc/{story.pid('w4')}/fd").iterdir()}
    shared = {link for link in ours & theirs if link.startswith(("socket:", "anon_inode:"))}
    assert shared == set()


def test_each_child_leads_its_group_and_carries_its_title(grow: Grow) -> None:
    _, story = grow(ChildSpec("a", programs.obey, title="durable-otp test child"))
    pid = story.pid("a")
    assert story.info("a")["pgid"] == pid
    assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == b"durable-otp test child"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("init", "no database"),
        ("return", "it ended before it was ready (normal)"),
        ("kill", "it ended before it was ready (killed from outside, perhaps out of memory)"),
        ("exit", "it ended before it was ready (SystemExit: 7 (exit code 7))"),
    ],
)
def test_a_child_that_does_not_come_up_fails_the_start(grow: Grow, kind: str, text: str) -> None:
    with pytest.raises(StartFailed) as failed:
        grow(ChildSpec("a", programs.obey), ChildSpec("b", programs.raise_at_start, (kind,)))
    assert (failed.value.child_id, failed.value.failure.text) == ("b", text)


def test_a_child_may_have_nothing_to_do(grow: Grow) -> None:
    supervisor, story = grow(ChildSpec("a", programs.raise_at_start, ("ignore",)))
    assert story.lines() == ["start_ignored a"]
    assert [c.state for c in supervisor.which_children()] == ["undefined"]


def test_a_fatal_start_failure_is_known_as_such_at_every_level(grow: Grow) -> None:
    with pytest.raises(StartFailed) as failed:
        grow(nested("n", ChildSpec("a", programs.raise_at_start, ("fatal",))))
    assert failed.value.failure.fatal
    assert failed.value.failure.cause is not None


@pytest.mark.parametrize(
    ("how", "code", "reason"),
    [
        ("sys.exit", 256, {"reason": "failed", "code": 1}),
        ("sys.exit", 83, {"reason": "failed", "code": 1}),
        ("os._exit", 84, {"reason": "failed", "code": 1}),
        ("sys.exit", 0, {"reason": "normal"}),
        ("sys.exit", 9, {"reason": "failed", "code": 9}),
        ("signal", signal.SIGSEGV, {"reason": "failed", "signal": "SIGSEGV"}),
        ("signal", signal.SIGTERM, {"reason": "shutdown"}),
        ("raise", 0, {"reason": "failed", "type": "ValueError", "text": "on purpose"}),
    ],
)
def test_the_reason_of_an_end_is_told(grow: Grow, how: str, code: int, reason: dict) -> None:
    supervisor, story = grow(ChildSpec("a", programs.exit_when_told), hooks=PassOn())
    supervisor.request("tell", {"child": "a", "how": how, "code": int(code)})
    facts = story.wait_for("stopped", "a").facts
    assert {name: facts[name] for name in reason} == reason


def test_the_tree_is_pushed_with_pids_and_restarts(grow: Grow) -> None:
    supervisor, story = grow(nested("n", ChildSpec("w", programs.obey)))
    os.kill(story.pid("n/w"), signal.SIGKILL)
    story.wait_for("started", "n/w", times=2)

    def node() -> dict | None:
        worker = supervisor.last_tree["children"][0]["children"][0]
        return worker if worker["restarts"] == 1 and worker["status"] == "running" else None

    assert wait_until(node)["pid"] == story.pid("n/w")


def test_the_hooks_answer_requests_and_push(grow: Grow) -> None:
    heard: list[Message] = []
    supervisor, _ = grow(ChildSpec("a", programs.obey), hooks=PassOn(), on_message=heard.append)
    assert supervisor.request("tell", {"child": "nobody"}) == {"sent": False}
    with pytest.raises(NotSupported, match="dance"):
        supervisor.request("dance")


def test_what_cannot_travel_is_named() -> None:
    generator = (n for n in range(3))
    supervisor = Supervisor(SupervisorFlags(), [ChildSpec("a", programs.obey, (generator,))])
    with pytest.raises(ConfigError, match="the child 'a' cannot be carried"):
        supervisor.start()


def test_a_wrong_specification_starts_nothing() -> None:
    children = [ChildSpec("a", programs.obey), ChildSpec("a", programs.obey)]
    with pytest.raises(InvalidSpec, match="id is not allowed to be 'a'"):
        Supervisor(SupervisorFlags(), children).start()
