"""`durable-otp` as an operator types it: a project directory, real processes, real signals."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.command_line import command
from tests.support.waiting import wait_until

PROGRAM = [sys.executable, "-m", "durable_otp"]
WORKFLOWS = """
import time
from pathlib import Path
from durable_otp import Retry, Workflow, sleep

hello = Workflow("hello")

@hello.step
def greet(ctx):
    print("greeting somebody")
    return {"greeting": f"Hello, {(ctx.input or {}).get('name', 'you')}!"}

@hello.step
def sign(ctx):
    return {"signed": True}

bad = Workflow("bad")

@bad.step(retry=Retry(max_attempts=2, base=0.01))
def boom(ctx):
    print("about to fail")
    raise ValueError("no [red]luck[/red] \\x1b[31m today")

nap = Workflow("nap")

@nap.step
def rest(ctx):
    sleep(3600)

gate = Workflow("gate")

@gate.step
def hold(ctx):
    place = Path(ctx.input["file"])
    place.with_suffix(".held").touch()
    while not place.exists():
        time.sleep(0.01)
"""
STARTED = "node_started"
LEFT_OUT = (
    "COLUMNS",
    "DURABLE_DSN",
    "DURABLE_OTP_PG_DIR",
    "FORCE_COLOR",
    "NO_COLOR",
    "PYTHONDONTWRITEBYTECODE",
)


class Project:
    """A directory with a configuration and workflows, and the commands run in it."""

    def __init__(self, directory: Path, dsn: str | None, schema: str) -> None:
        self.directory = directory
        self.schema = schema
        self.config = directory / "config.toml"
        (directory / "shop.py").write_text(WORKFLOWS)
        self.write(dsn)

    def write(self, dsn: str | None, durable: str = "", sections: str = "") -> None:
        """Write the configuration."""
        lines = [] if dsn is None else [f"dsn = {json.dumps(dsn)}"]
        self.config.write_text(
            "\n".join(
                [
                    "[durable]",
                    *lines,
                    f'schema = "{self.schema}"',
                    'name = "shop"',
                    'workflows = ["shop"]',
                    durable,
                    sections or "[queues.default]\nconcurrency = 2",
                ]
            )
        )

    def ask(
        self, *words: object, code: int = 0, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done = command(
            [str(word) for word in words],
            self.directory,
            clean_environment() | (environment or {}),
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def run(self, *words: object, code: int = 0, **options: Any) -> str:
        """Run a command on this project's configuration; return what it printed."""
        return self.ask(*words, "--config", self.config, code=code, **options).stdout

    def json(self, *words: object) -> Any:
        """Run a command with --json and return what that says."""
        return json.loads(self.run(*words, "--json"))

    def refused(self, *words: object, code: int) -> str:
        """Run a command that must fail with one sentence and nothing else; return the sentence."""
        done = self.ask(*words, "--config", self.config, code=code)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr.strip()

    @contextmanager
    def started(
        self, *options: str, prefix: Sequence[str] = (), config: Path | None = None
    ) -> Iterator["Node"]:
        """Start the tree, wait until it is up, and kill what is left of it afterwards."""
        node = Node(self, prefix, config or self.config, options)
        try:
            node.wait_until_up()
            yield node
        finally:
            node.end()


class Node:
    """A running `durable-otp start`."""

    def __init__(
        self, project: Project, prefix: Sequence[str], config: Path, options: Sequence[str]
    ) -> None:
        self._log = project.directory / "start.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, *PROGRAM, "start", str(config), *options],
                cwd=project.directory,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def wait_until_up(self) -> None:
        """Return when every child is up; fail when it has ended."""
        wait_until(
            lambda: STARTED in self.log or self.process.poll() is not None,
            timeout=90,
            what="the start",
        )
        assert STARTED in self.log, self.log

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stopped(self) -> int:
        """Return its exit code, once it has ended."""
        return self.process.wait(30)

    def end(self) -> None:
        """Kill it, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, words: Sequence[str], directory: Path, *, size: tuple[int, int]) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self._ours = ours
        self.shown = ""
        environment = clean_environment() | {"TERM": "xterm"}
        for name in ("COLUMNS", "LINES"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONTROLLING, *PROGRAM, *words],
            cwd=directory,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._ours, 65536):
                self.shown += data.decode(errors="replace")

    def press_ctrl_c(self) -> None:
        """Type Ctrl-C: the terminal signals whatever runs in its foreground."""
        os.write(self._ours, b"\x03")

    def ended(self) -> int:
        """Return the exit code, once it has ended; `shown` is complete then."""
        code = self.process.wait(60)
        self._reader.join(5)
        return code

    def close(self) -> None:
        """Kill it, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self._reader.join(5)
        os.close(self._ours)


CONTROLLING = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@contextmanager
def terminal(
    *words: object, directory: Path, size: tuple[int, int] = (40, 120)
) -> Iterator[Terminal]:
    """Run a command in a terminal of so many rows and columns."""
    running = Terminal([str(word) for word in words], directory, size=size)
    try:
        yield running
    finally:
        running.close()


def clean_environment() -> dict[str, str]:
    """Return this environment without what would change where commands look, or slow them down."""
    return {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
