"""The soak's own PostgreSQL: restarted without mercy, deprived of its disk, started again."""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from bench.question import wait_for
from durable_otp.storage.embedded import binaries, identity

PREFERRED = Path("/usr/lib/postgresql/15/bin")
SETTINGS = {
    "fsync": "off",  # what the operating system was given survives every fault here
    "max_connections": "130",
    "listen_addresses": "'127.0.0.1'",
    "shared_buffers": "'64MB'",
    "max_wal_size": "'96MB'",
    "min_wal_size": "'48MB'",
    "wal_recycle": "off",
    "restart_after_crash": "on",
    "log_lock_waits": "on",
    "timezone": "'UTC'",
}
BASE_BYTES = 400 << 20
BYTES_PER_SECOND = 400 << 10
LEFT_WHEN_FULL = 32 << 10


class Server:
    """One cluster in a directory; on a small file system of its own where root may mount one."""

    def __init__(self, directory: Path, seconds: float) -> None:
        self.directory = directory / "server"
        self.directory.mkdir()
        self.directory.chmod(0o700)
        self.is_mounted = self._mount(BASE_BYTES + int(BYTES_PER_SECOND * seconds))
        self._identity = identity.choose()
        if PREFERRED.is_dir():
            os.environ["DURABLE_OTP_PG_BIN"] = str(PREFERRED)
        self._programs = self._identity.usable(binaries.find())
        self.version = self._programs.version
        self.port = _free_port()
        self._data = self.directory / "data"
        self._log = directory / "postgresql.log"
        self._turn = threading.RLock()
        self.restarts = 0
        self._make()

    @property
    def dsn(self) -> str:
        """How to reach it directly, as a superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> bool:
        """Start it; return whether it runs."""
        with self._turn:
            return self._pg_ctl("start", "-w", "-t", "30")

    def restart_immediately(self) -> None:
        """End every session in the midst of its statement, and start again by recovery."""
        with self._turn:
            self._pg_ctl("stop", "-m", "immediate", "-w", "-t", "20")
            self.start()

    def keep_up(self) -> None:
        """Start it if it has died, as a service manager would."""
        with self._turn:
            if not self.is_running() and self.start():
                self.restarts += 1

    def is_running(self) -> bool:
        """Return whether its postmaster lives."""
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            pid = int((self._data / "postmaster.pid").read_text().split("\n")[0])
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        return False

    def answers(self) -> bool:
        """Return whether it serves statements."""
        with contextlib.suppress(psycopg.Error):
            with psycopg.connect(self.dsn, connect_timeout=3) as connection:
                connection.execute("SELECT 1")
            return True
        return False

    def wait(self, seconds: float = 240) -> None:
        """Return when it serves statements; start it when it has died meanwhile."""

        def served() -> bool:
            self.keep_up()
            return self.answers()

        wait_for(served, "PostgreSQL", timeout=seconds, every=0.1)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Leave no room on its file system for a while."""
        ballast = self.directory / "ballast"
        try:
            _fill(ballast)
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def execute(self, statement: str) -> None:
        """Run a statement as its superuser."""
        with psycopg.connect(self.dsn, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement.encode())

    def remove(self) -> None:
        """Stop it and delete everything."""
        with self._turn:
            self._pg_ctl("stop", "-m", "immediate", "-w", "-t", "20")
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.directory)], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _mount(self, size: int) -> bool:
        if os.geteuid() != 0:
            return False
        words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs"]
        done = subprocess.run([*words, str(self.directory)], check=False, capture_output=True)
        return done.returncode == 0

    def _make(self) -> None:
        self._data.mkdir()
        self._data.chmod(0o700)
        self._identity.give(self._data)
        words = ["--username=postgres", "--auth=trust", "--no-locale", "--encoding=UTF8", "-N"]
        made = self._identity.run([self._programs.path("initdb"), *words], data=self._data)
        if not made.succeeded:
            raise RuntimeError(f"initdb failed: {made.output[-400:]}")
        lines = [f"{name} = {value}" for name, value in SETTINGS.items()]
        lines += [f"port = {self.port}", f"unix_socket_directories = '{self._data}'"]
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write("\n".join(lines) + "\n")
        if not self.start():
            raise RuntimeError(f"PostgreSQL did not start; see {self._log}")

    def _pg_ctl(self, *words: str) -> bool:
        argv = [self._programs.path("pg_ctl"), *words]
        return self._identity.run(argv, data=self._data, log=self._log, timeout=60).succeeded


def _fill(path: Path) -> None:
    free = os.statvfs(path.parent)
    size = max(0, free.f_bavail * free.f_frsize - LEFT_WHEN_FULL)
    with path.open("wb") as ballast, contextlib.suppress(OSError):
        os.posix_fallocate(ballast.fileno(), 0, size)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
