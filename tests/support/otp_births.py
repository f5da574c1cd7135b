"""Programs that do something at the worst moment: between a fork and the child's first act.

`after_fork` arranges it in a supervisor process: what it gets is called in every process forked
from then on, before anything else is.
"""

import atexit
import gc
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from durable_otp.otp import AsyncParentLink, Child, ChildSpec, ParentLink, Root, RootHooks, process
from tests.support import otp_programs as programs

PARENTS_HANDLER = 42


def after_fork(action: Callable[[], None]) -> None:
    os.register_at_fork(after_in_child=action)


async def outcome_of(program: Callable[..., None], *arguments: Any) -> list[str]:
    """Start a child and return how it started and, if it ends by itself, how it ended."""
    child = Child(ChildSpec("born", program, arguments))
    started = await child.started()
    return [type(started).__name__, str(await child.exited)]


async def signal_before_the_first_act(_: AsyncParentLink, number: int) -> Any:
    """Have the child signalled while it still has its parent's handlers."""
    signal.signal(number, lambda *_: os._exit(PARENTS_HANDLER))
    after_fork(lambda: os.kill(os.getpid(), number))
    return await outcome_of(programs.obey)


async def lose_the_parent_at_birth(newborn: str, marker: str) -> None:
    """Be killed by the newborn before it has asked to die with its parent."""
    me = os.getpid()

    def orphan_myself() -> None:
        os.kill(me, signal.SIGKILL)
        while os.getppid() == me:
            pass
        Path(newborn).write_text(str(os.getpid()))

    after_fork(orphan_myself)
    await outcome_of(leave_a_mark, marker)


def leave_a_mark(parent: ParentLink, marker: str) -> None:
    Path(marker).write_text("lived")
    programs.obey(parent)


def end_with_a_mess(parent: ParentLink, marker: str) -> None:
    """Return while a thread goes on for ever and an exit hook is waiting to run."""
    parent.ready()
    atexit.register(Path(marker).write_text, "an exit hook ran")
    threading.Thread(target=threading.Event().wait).start()


def race_a_signal_into_the_wait(parent: ParentLink) -> None:
    """Have SIGTERM handled after the last look at `stopping` and before the kernel's wait."""
    wait = parent._wait

    def lose_the_race(*arguments: Any) -> set[int]:
        signal.raise_signal(signal.SIGTERM)
        return wait(*arguments)

    parent._wait = lose_the_race
    programs.obey(parent)


def die_with_a_grandchild_that_keeps_everything(parent: ParentLink) -> None:
    """Leave a process behind that holds every descriptor of this one, and end."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        os.write(writer, b"hidden")
        signal.pause()
    os.read(reader, 6)
    parent.ready()


def show_the_collector(parent: ParentLink) -> None:
    """Say whether garbage is collected here."""
    parent.ready({"collects": gc.isenabled()})
    while not parent.stopping:
        parent.receive(None)


def show_the_wakeup_descriptor(parent: ParentLink) -> None:
    number = signal.set_wakeup_fd(-1)
    parent.ready({"own": number in parent.descriptors(), "threads": threading.active_count()})


async def order_of_a_burial(_: AsyncParentLink) -> Any:
    """Return in which order a dead child's group is killed and the child is reaped."""
    seen: list[str] = []
    killpg, waitid = os.killpg, os.waitid

    def seen_killpg(group: int, number: int) -> None:
        seen.append(f"killpg {group} {programs.is_gone(group) and 'zombie'}")
        killpg(group, number)

    def seen_waitid(*arguments: Any) -> Any:
        if arguments[0] == os.P_PIDFD:
            seen.append("waitid")
        return waitid(*arguments)

    os.killpg, os.waitid = seen_killpg, seen_waitid
    child = Child(ChildSpec("w", programs.leave_programs_behind))
    await child.started()
    os.kill(child.pid, signal.SIGKILL)
    await child.exited
    expected = [f"killpg {child.pid} zombie", "waitid"]
    await programs.until(lambda: programs.is_gone(child.info["grouped"]))
    return [seen[:2] == expected, seen[:2]]


async def adopt(_: AsyncParentLink) -> Any:
    """Have a child that hides a process in another session; return what was noted."""
    noted: list[int] = []
    process.orphanage.on_orphan = lambda pid, _: noted.append(pid)
    child = Child(ChildSpec("w", hide_a_process))
    await child.started()
    hidden = child.info["hidden"]
    await programs.until(lambda: noted)
    await process.orphans_gone()
    for _again in range(3):
        process.sweep_orphans()
    await child.stop()
    return [noted == [hidden], programs.is_gone(hidden)]


def hide_a_process(parent: ParentLink) -> None:
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        os.setsid()
        hidden = os.fork()
        if hidden == 0:
            signal.pause()
        os.write(writer, str(hidden).encode())
        os._exit(0)
    os.waitpid(between, 0)
    parent.ready({"hidden": int(os.read(reader, 20))})
    programs.wait_for_the_stop(parent)


def hide_one_that_dies_slowly(parent: ParentLink, path: str) -> None:
    """Say whether the process of the last time is alive, and leave one that has much to give back.

    The kernel takes tens of milliseconds for the memory of a process that was killed.
    """
    notes = Path(path)
    old = int(notes.read_text()) if notes.exists() else None
    alive = old is not None and not programs.is_gone(old)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        held = b"x" * (256 << 20)
        os.write(writer, held[:1])
        while True:
            signal.pause()
    os.read(reader, 1)
    notes.write_text(str(pid))
    parent.ready({"old": old, "alive": alive})
    programs.wait_for_the_stop(parent)


def make_orphans(parent: ParentLink, number: int) -> None:
    """Leave so many processes to whoever adopts them, and say when that is done."""
    for _ in range(number):
        first = os.fork()
        if first == 0:
            if os.fork() == 0:
                os.setsid()
                signal.pause()
            os._exit(0)
        os.waitpid(first, 0)
    programs.obey(parent)


class CountOrphans(RootHooks):
    """Prints how many orphans there were when the expected number is reached."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.pids: list[int] = []

    def on_event(self, event: Any, root: Root) -> None:
        if event.name == "orphan":
            self.pids.append(event.facts["pid"])
            if len(self.pids) == self.expected:
                print(f"pid {os.getpid()}: {len(set(self.pids))} orphans", flush=True)
