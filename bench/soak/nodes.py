"""The two nodes: each a `durable-otp start`, restarted as a service manager would restart it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.question import wait_for
from durable_otp.clock import Deadline

ROOT = Path(__file__).parents[2]
MARK = "DURABLE_SOAK_RUN"
"""Whatever a node or one of its steps starts has this in its environment."""
STARTED = "node_started"
RESTART_AFTER = 0.3
STALE_SECONDS, SILENT_SECONDS = 6.0, 3.0
MOST_SLOW = 3
"""What the queue `slow` may run on both nodes together."""
TITLE = re.compile(r"durable-otp\[[\w-]+\](?: (\w+)(?: \S+( \S+)?)?)?")
FAKETIME = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"),
)
CONFIG = """
[durable]
dsn = "{dsn}"
schema = "{schema}"
name = "{name}"
workflows = ["bench.soak.workflows"]
stale_lock_timeout = {stale}
heartbeat_interval = "1s"
node_timeout = {silent}
max_interruptions = 1000
[queues.default]
concurrency = 3
poll_interval = "500ms"
[queues.slow]
concurrency = 2
global_concurrency = {most_slow}
rate_limit = "600/1m"
poll_interval = "500ms"
[queues.batched]
concurrency = 2
poll_interval = "500ms"
commit = "batched"
[supervisor]
shutdown_timeout = "5s"
[stale_job_recovery]
interval = "1s"
[zombie_recovery]
interval = "5s"
"""


@dataclass(frozen=True)
class Member:
    """A process of a node: its id, what it is, and whether it runs a body."""

    pid: int
    role: str
    is_busy: bool


class Node:
    """One node; ``can_move_clock`` has it run under libfaketime, where that is installed."""

    def __init__(
        self,
        name: str,
        directory: Path,
        environment: dict[str, str],
        *,
        can_move_clock: bool = False,
    ) -> None:
        self.name = name
        self.config = directory / f"{name}.toml"
        self._log = directory / f"{name}.log"
        self._clock = directory / f"{name}.clock"
        self.environment = environment | (self._faked_clock() if can_move_clock else {})
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._rest = Deadline(0)
        self.restarts = -1
        self.is_wanted = True

    def configure(self, dsn: str, schema: str, slowness: float) -> None:
        """Write its configuration; on a slow machine it takes longer to call somebody dead."""
        self.config.write_text(
            CONFIG.format(
                dsn=dsn,
                schema=schema,
                name=self.name,
                most_slow=MOST_SLOW,
                stale=STALE_SECONDS * slowness,
                silent=SILENT_SECONDS * slowness,
            )
        )

    def keep_up(self) -> None:
        """Start it if it is not there; it rests a moment after each death."""
        with self._turn:
            if not self.is_wanted or (self._process and self._process.poll() is None):
                return
            if self._process is not None:
                self._process = None
                self._rest = Deadline(RESTART_AFTER)
            if not self._rest.passed:
                return
            self.restarts += 1
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "durable_otp", "start", str(self.config)],
                    cwd=ROOT,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def wait_until_up(self) -> None:
        """Return when every child is up."""
        self.keep_up()
        wait_for(lambda: STARTED in self.log, f"node {self.name}", timeout=240)

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def members(self) -> list[Member]:
        """Return its processes, in order of their ids; none while it is down."""
        process = self._process
        if process is None:
            return []
        with suppress(psutil.Error):
            root = psutil.Process(process.pid)
            found = [_member(each) for each in (root, *root.children(recursive=True))]
            return sorted((each for each in found if each), key=lambda each: each.pid)
        return []

    def move_clock(self, seconds: float) -> None:
        """Let its wall clock be off by so much, within a second."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(f"{seconds:+.0f}s\n")
        fresh.rename(self._clock)

    @property
    def can_move_clock(self) -> bool:
        """Whether its clock can be moved."""
        return "LD_PRELOAD" in self.environment

    def stop(self) -> int | None:
        """Stop it in order; return the exit code, None if it had to be killed."""
        with self._turn:
            self.is_wanted = False
            process = self._process
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None

    def _faked_clock(self) -> dict[str, str]:
        library = next((path for path in FAKETIME if path.exists()), None)
        if library is None:
            return {}
        self.move_clock(0)
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": "1",
            "PYTHONPATH": f"{Path(__file__).parent / 'moved_clock'}{os.pathsep}{ROOT}",
        }


def _member(process: psutil.Process) -> Member | None:
    with suppress(psutil.Error, IndexError):
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        found = TITLE.match(" ".join(process.cmdline()))
        if found is None:
            return Member(process.pid, "starting", is_busy=False)
        return Member(process.pid, found[1] or "root", is_busy=bool(found[2]))
    return None


def left_over(mark: str) -> list[int]:
    """Return the processes of a run that live: by their title, or what a step has started."""
    wanted, titled = f"{MARK}={mark}".encode(), f"[soak-{mark}".encode()
    found = []
    for pid in psutil.pids():
        place = Path(f"/proc/{pid}")
        with suppress(OSError):
            environment = (place / "environ").read_bytes().split(b"\0")
            if wanted in environment or titled in (place / "cmdline").read_bytes():
                found.append(pid)
    return [pid for pid in found if pid != os.getpid()]


def victims(nodes: Sequence[Node], *roles: str) -> list[Member]:
    """Return the processes of some roles on all nodes; of workers, those that run a body if any."""
    found = [each for node in nodes for each in node.members() if each.role in roles]
    return [each for each in found if each.is_busy and each.role == "worker"] or found
