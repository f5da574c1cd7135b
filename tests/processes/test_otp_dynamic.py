"""A dynamic supervisor inside a supervisor process, as a queue manager has one."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from durable_otp.otp import (
    AsyncParentLink,
    Child,
    ChildSpec,
    DynamicSupervisor,
    DynamicSupervisorSpec,
    ExitReason,
    MaxChildren,
    Message,
    NoProcess,
    NotFound,
    NotSupported,
    StartFailed,
    SupervisorEvent,
    process,
)
from tests.support import otp_programs as programs
from tests.support.otp_programs import Grow, in_supervisor_process, until

OBEY = ChildSpec("w", programs.obey)


def echo(parent: Any, *extra: Any) -> None:
    parent.ready({"extra": list(extra)})
    while not parent.stopping:
        message = parent.receive(None)
        if message is not None:
            parent.send("echo", {"kind": message.kind, **message.fields}, message.body * 2)


async def talk(_: AsyncParentLink) -> Any:
    heard: list[Message] = []
    pool = DynamicSupervisor(ChildSpec("w", echo, (1,)), on_message=lambda _, m: heard.append(m))
    child = await pool.start_child(2)
    child.send("job", {"n": 7}, b"\x00" * 3_000_000)
    await until(lambda: heard)
    await pool.stop()
    return [child.info, heard[0].kind, heard[0].fields, len(heard[0].body)]


def test_extra_arguments_and_messages_reach_the_child_and_come_back() -> None:
    expected = [{"extra": [1, 2]}, "echo", {"kind": "job", "n": 7}, 6_000_000]
    assert in_supervisor_process(talk) == expected


async def charge_nothing(_: AsyncParentLink) -> Any:
    deaths: list[str] = []

    def on_exit(child: Child, reason: ExitReason) -> bool:
        deaths.append(str(reason))
        return False

    pool = DynamicSupervisor(OBEY, intensity=1, on_exit=on_exit)
    await asyncio.gather(*(pool.start_child() for _ in range(3)))
    for death in range(6):
        victim = pool.children[0]
        os.kill(victim.pid, signal.SIGKILL)
        await until(lambda n=death: len(deaths) == n + 1 and len(pool.children) == 3)
    seen = [pool.exceeded.is_set(), len(deaths)]
    await pool.stop()
    return [*seen, len(deaths)]


def test_a_death_that_is_not_charged_is_restarted_for_ever() -> None:
    assert in_supervisor_process(charge_nothing) == [False, 6, 9]


async def charge_all(_: AsyncParentLink) -> Any:
    pool = DynamicSupervisor(OBEY, intensity=2)
    await pool.start_child()
    for _ in range(3):
        child = await until(lambda: pool.children and pool.children[0])
        child.signal(signal.SIGKILL)
        await child.exited
    await asyncio.wait_for(pool.exceeded.wait(), 10)
    return len(pool.children)


def test_one_death_too_many_is_noted_and_not_restarted() -> None:
    assert in_supervisor_process(charge_all) == 0


async def stop_together(_: AsyncParentLink) -> Any:
    pool = DynamicSupervisor(ChildSpec("w", programs.ignore_term, shutdown=0.4))
    await asyncio.gather(*(pool.start_child() for _ in range(5)))
    pids = [child.pid for child in pool.children]
    begin = time.monotonic()
    await pool.stop()
    return [time.monotonic() - begin, [programs.is_gone(pid) for pid in pids]]


def test_all_share_one_deadline() -> None:
    seconds, gone = in_supervisor_process(stop_together)
    assert 0.4 <= seconds < 1.2
    assert all(gone)


async def refuse(_: AsyncParentLink) -> Any:
    pool = DynamicSupervisor(OBEY, max_children=1)
    child = await pool.start_child()
    answers = []
    for attempt in (pool.start_child, lambda: pool.terminate_child(child)):
        try:
            answers.append(str(await attempt()))
        except MaxChildren as error:
            answers.append(str(error))
    for late in (lambda: pool.terminate_child(child), pool.stop, pool.start_child):
        try:
            await late()
        except (NotFound, NoProcess) as error:
            answers.append(type(error).__name__)
    return answers


def test_refusals() -> None:
    assert in_supervisor_process(refuse) == [
        "the limit of 1 children is reached; stop one or raise max_children",
        "normal",
        "NotFound",
        "NoProcess",
    ]


async def fail_to_start(_: AsyncParentLink) -> Any:
    pool = DynamicSupervisor(ChildSpec("w", programs.raise_at_start))
    try:
        await pool.start_child("init")
    except StartFailed as error:
        return [error.failure.text, len(pool.children), await pool.start_child("ignore")]


def test_a_failed_start_leaves_nothing_and_an_ignored_one_neither() -> None:
    assert in_supervisor_process(fail_to_start) == ["no database", 0, None]


async def foreign_socket(_: AsyncParentLink) -> Any:
    ours, theirs = os.pipe()
    pool = DynamicSupervisor(ChildSpec("w", programs.obey))
    before = await pool.start_child()
    process.close_in_children(lambda: [ours, theirs])
    after = await pool.start_child()
    counts = [psutil.Process(child.pid).num_fds() for child in (before, after)]
    await pool.stop()
    return counts[0] - counts[1]


def test_what_the_owner_registered_is_closed_in_children() -> None:
    assert in_supervisor_process(foreign_socket) == 2


def _note(pids: Iterable[int]) -> None:
    Path(os.environ["OTP_PIDS"]).write_text(" ".join(map(str, pids)))


async def crash(_: AsyncParentLink) -> Any:
    pool = DynamicSupervisor(ChildSpec("w", programs.leave_programs_behind))
    child = await pool.start_child()
    _note(child.info.values())
    raise RuntimeError("the manager's own error")


def test_a_supervisor_program_that_fails_leaves_no_child(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OTP_PIDS", str(tmp_path / "pids"))
    with pytest.raises(AssertionError, match="the manager's own error"):
        in_supervisor_process(crash)
    left = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    programs.assert_gone(left)


async def fail_in_a_callback(_: AsyncParentLink) -> Any:
    def on_message(child: Child, message: Message) -> None:
        raise RuntimeError("in a callback")

    pool = DynamicSupervisor(ChildSpec("w", echo), on_message=on_message)
    child = await pool.start_child()
    child.send("job")
    await asyncio.Event().wait()


def test_an_error_in_a_callback_ends_the_program() -> None:
    with pytest.raises(AssertionError, match="in a callback"):
        in_supervisor_process(fail_in_a_callback)


def close_link(parent: Any) -> None:
    parent.ready()
    os.close(parent.fileno())
    signal.pause()


def write_garbage(parent: Any) -> None:
    parent.ready()
    os.write(parent.fileno(), b"printed to the wrong descriptor")
    signal.pause()


async def mute(_: AsyncParentLink) -> Any:
    reasons = []
    for program in (close_link, write_garbage):
        pool = DynamicSupervisor(ChildSpec("w", program, restart="temporary"))
        child = await pool.start_child()
        reasons.append(str(await child.exited))
    return reasons


def test_a_child_that_cannot_be_spoken_to_is_killed() -> None:
    assert in_supervisor_process(mute) == ["killed", "killed"]


async def hear_starts(_: AsyncParentLink) -> Any:
    known: list[bool] = []

    def on_event(event: SupervisorEvent) -> None:
        if event.name == "started":
            child = pool.child(event.path)
            known.append(child is not None and child.pid == event.facts["pid"])

    pool = DynamicSupervisor(OBEY, on_event=on_event)
    child = await pool.start_child()
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: len(known) == 2)
    await pool.stop()
    return known


def test_a_child_is_known_when_its_start_is_told() -> None:
    assert in_supervisor_process(hear_starts) == [True, True]


def test_a_dynamic_supervisor_can_end_with_its_last_significant_child(grow: Grow) -> None:
    template = ChildSpec("w", programs.exit_when_told, restart="transient", significant=True)
    spec = DynamicSupervisorSpec(template, auto_shutdown="all_significant")
    supervisor, story = grow(ChildSpec("pool", spec, restart="transient"))
    pool = supervisor.child("pool")
    one, two = (pool.start_child(child_id=name) for name in ("one", "two"))
    os.kill(one.pid, signal.SIGTERM)
    story.wait_for("stopped", "pool/one")
    assert [child.id for child in pool.which_children()] == ["two"]
    os.kill(two.pid, signal.SIGTERM)
    story.wait_for("stopped", "pool")
    with pytest.raises(NoProcess):
        pool.which_children()


def test_a_call_on_a_worker_is_refused(grow: Grow) -> None:
    supervisor, _ = grow(ChildSpec("w", programs.obey, type="supervisor"))
    with pytest.raises(NotSupported, match="a worker no children"):
        supervisor.child("w").which_children()


def test_ids_of_a_dynamic_supervisor_are_known_only_while_they_live(grow: Grow) -> None:
    supervisor, _ = grow(ChildSpec("pool", DynamicSupervisorSpec(OBEY)))
    pool = supervisor.child("pool")
    child = pool.start_child(child_id="one")
    pool.terminate_child("one")
    pool.terminate_child(child.pid)  # as in OTP: a pid that is gone is no error
    for name in ("one", "w"):
        with pytest.raises(NotSupported):
            pool.terminate_child(name)
