"""Programs that the tests of supervision run as children, and ways to see what is left."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from durable_otp.otp import (
    ChildSpec,
    Ignore,
    InitError,
    Message,
    ParentLink,
    Root,
    RootHooks,
    Supervisor,
    SupervisorEvent,
    SupervisorFlags,
    loop,
)
from durable_otp.otp.title import set_title
from tests.support.waiting import wait_until

# ---------------------------------------------------------------- children


def obey(parent: ParentLink, *_: Any) -> None:
    """Be ready and wait for the stop."""
    parent.ready({"pgid": os.getpgrp()})
    wait_for_the_stop(parent)


def wait_for_the_stop(parent: ParentLink) -> None:
    """Do nothing until then."""
    while not parent.stopping:
        parent.receive(None)


def note_signals(parent: ParentLink, path: str) -> None:
    """Write down what happens to this process."""
    with Path(path).open("a", buffering=1) as notes:
        signal.signal(signal.SIGINT, lambda *_: notes.write("interrupted\n"))
        parent.ready()
        notes.write("ready\n")
        while not parent.stopping:
            parent.receive(None)
        notes.write("stopping\n")


def ignore_term(parent: ParentLink) -> None:
    """Never stop by itself."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent.ready()
    while not parent.lost:
        parent.receive(None)


def stay_when_told(parent: ParentLink) -> None:
    """Show in the title that SIGTERM came, and go on."""
    signal.signal(signal.SIGTERM, lambda *_: set_title("told"))
    set_title("deaf")
    parent.ready()
    while not parent.lost:
        parent.receive(None)


def hear_nothing(parent: ParentLink) -> None:
    """Look at neither signals nor the link, as a long call into C does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent.ready()
    while True:
        signal.pause()


def leave_programs_behind(parent: ParentLink) -> None:
    """Start a program in the own group and one in a session of its own."""
    command = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with (
        subprocess.Popen(command) as grouped,
        subprocess.Popen(command, start_new_session=True) as hidden,
    ):
        parent.ready({"grouped": grouped.pid, "hidden": hidden.pid})
        while not parent.stopping:
            parent.receive(None)
        os._exit(0)


def never_ready(parent: ParentLink) -> None:
    """Hang before the acknowledgement."""
    while not parent.lost:
        parent.receive(None)


def raise_at_start(parent: ParentLink, kind: str) -> None:
    """Fail before the acknowledgement, in one of the possible ways."""
    match kind:
        case "ignore":
            raise Ignore
        case "init":
            raise InitError("no database")
        case "fatal":
            raise InitError("no such module", fatal=True)
        case "return":
            return
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            sys.exit(7)


def exit_when_told(parent: ParentLink) -> None:
    """End as the first message says."""
    parent.ready()
    while not parent.stopping:
        message = parent.receive(None)
        if message is not None:
            end_with(message.fields["how"], message.fields.get("code", 0))


def end_with(how: str, code: int) -> None:
    """End this process in one of the possible ways."""
    if how == "sys.exit":
        sys.exit(code)
    if how == "os._exit":
        os._exit(code)
    if how == "signal":
        signal.signal(code, signal.SIG_DFL)
        os.kill(os.getpid(), code)
    raise ValueError("on purpose")


def count_starts(parent: ParentLink, path: str, fail_from: int) -> None:
    """Count the starts in a file; fail from the given one on."""
    with Path(path).open("ab") as file:
        file.write(b".")
    if Path(path).stat().st_size >= fail_from:
        raise InitError("fails from now on")
    obey(parent)


def hang_from(parent: ParentLink, path: str, number: int) -> None:
    """Count the starts in a file; from the given one on, never be ready."""
    with Path(path).open("ab") as file:
        file.write(b".")
    (never_ready if Path(path).stat().st_size >= number else obey)(parent)


def run_async(parent: ParentLink, main: Callable[[Any], Any]) -> None:
    """Run `await main(link)` as a supervisor process and send up what it returns."""

    async def program(link: Any) -> None:
        link.ready()
        link.send("result", {"result": await main(link)})
        await link.stopping.wait()

    loop.run(parent, program)


# ---------------------------------------------------------------- the root's side


class PassOn(RootHooks):
    """Passes messages of children to the host, and the host's orders to children."""

    def on_child_message(self, child_id: str, message: Message, root: Root) -> None:
        root.push("from_child", {"id": child_id, "kind": message.kind, **message.fields})

    async def on_request(self, kind: str, fields: dict, root: Root) -> dict | None:
        if kind != "tell":
            return None
        return {"sent": root.send(fields.pop("child"), "order", fields)}


# ---------------------------------------------------------------- the host's side


class Story(list[SupervisorEvent]):
    """The events of a tree, in order."""

    def pid(self, path: str) -> int:
        """Return the pid of the last start of a child."""
        return next(e.facts["pid"] for e in reversed(self) if (e.name, e.path) == ("started", path))

    def info(self, path: str) -> dict:
        """Return what a child said when it was ready."""
        return next(
            e.facts["info"] for e in reversed(self) if (e.name, e.path) == ("started", path)
        )

    def told(self, name: str, path: str) -> list[SupervisorEvent]:
        """Return the events of this name and path."""
        return [e for e in self if (e.name, e.path) == (name, path)]

    def wait_for(self, name: str, path: str, times: int = 1) -> SupervisorEvent:
        """Wait until it happened so often; return the last one."""
        found = wait_until(
            lambda: len(self.told(name, path)) >= times and self.told(name, path),
            what=f"{times} x {name} {path}",
        )
        return found[-1]

    def lines(self) -> list[str]:
        """Return names and paths only."""
        return [f"{event.name} {event.path}" for event in self]


Grow = Callable[..., tuple[Supervisor, Story]]


def in_supervisor_process(main: Callable[[Any], Any]) -> Any:
    """Return what `await main(link)` returns when it runs as a supervisor process in a tree."""
    heard: list[dict] = []
    story = Story()

    def hear(message: Message) -> None:
        if message.kind == "from_child":
            heard.append(message.fields)

    child = ChildSpec("program", run_async, (main,), restart="temporary", type="supervisor")
    with Supervisor(
        SupervisorFlags(), [child], hooks=PassOn(), on_message=hear, on_event=story.append
    ):
        wait_until(lambda: heard or story.told("stopped", "program"), what="the program's result")
        assert heard, f"the program ended: {story[-1]}"
        return heard[0]["result"]


def is_gone(pid: int) -> bool:
    """Return whether a process ended (a zombie has)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def everyone_below(pid: int) -> list[int]:
    """Return the pids of a process and all its descendants."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def assert_gone(pids: list[int], within: float = 2.0) -> None:
    """Fail unless all of these end within so many seconds."""
    start = time.monotonic()
    wait_until(
        lambda: all(is_gone(pid) for pid in pids),
        timeout=within,
        what=f"the end of {[pid for pid in pids if not is_gone(pid)]}",
    )
    assert time.monotonic() - start <= within


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the condition's first truthy answer, asked every few ms, in an event loop."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {condition}"
        await asyncio.sleep(0.005)
    return answer
