"""One PostgreSQL cluster: made, started, asked and stopped. The caller holds ``ctl.lock``.

Nothing here trusts a process id alone: the server runs if it answers over its socket and says that
it serves this very data; a postmaster lives if a process of its id has the data as its working
directory. So a zombie, or a stranger with a reused id, is no server.
"""

import contextlib
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from durable_otp.clock import Deadline
from durable_otp.errors import EmbeddedServerError
from durable_otp.otp.program import Finished, pause
from durable_otp.storage.embedded import binaries, identity, record, sockets
from durable_otp.storage.embedded.binaries import Binaries
from durable_otp.storage.embedded.record import Record

SERVER_LOG = "server.log"
MAX_LOG_BYTES = 10 << 20
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30
TRIES = 8
RETRY_S = 0.25
FULL = ("too many clients already", "remaining connection slots are reserved")
INITDB = (
    "--username=postgres",
    "--auth=trust",
    "--no-locale",
    "--encoding=UTF8",
    "--data-checksums",
)


class Cluster:
    """The cluster of one directory, as its record describes it."""

    def __init__(self, directory: Path, known: Record) -> None:
        self.directory = directory
        self.record = known
        self.identity = identity.choose(known.identity)

    @property
    def place(self) -> Path:
        """The directory of the data: the server's own, or one that the account can enter."""
        return self.directory / self.record.place

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.place / "data"

    @property
    def socket(self) -> Path:
        """The directory of the socket."""
        return self.place / self.record.socket

    @property
    def log(self) -> Path:
        """What the server and ``pg_ctl`` print."""
        return self.directory / SERVER_LOG

    @property
    def dsn(self) -> str:
        """How to connect; complete, so that no PG* variable leads elsewhere (``hostaddr``)."""
        return make_conninfo(
            host=str(self.socket), hostaddr="", port=record.PORT, user="postgres", dbname="postgres"
        )

    def answer(self) -> str | None:
        """Return the version of the server that serves this data now, or None if none does."""
        try:
            with psycopg.connect(self.dsn, connect_timeout=3, autocommit=True) as connection:
                row = connection.execute("show data_directory").fetchone()
                version = connection.info.parameter_status("server_version")
        except psycopg.Error as error:
            return self.record.version if self._is_full(error) else None
        return (version or "").split(" ")[0] if row and _same(Path(row[0]), self.data) else None

    def running_pid(self) -> int | None:
        """Return the postmaster's process id while it lives."""
        pid = self._noted_pid()
        try:
            lives = pid is not None and _same(Path(psutil.Process(pid).cwd()), self.data)
        except psutil.Error:
            return None
        return pid if lives else None

    def start(self) -> str:
        """Make the cluster if there is none, start it, and return its version once it answers.

        Raises:
            EmbeddedServerError: It did not answer in time; the message has the server's reason.
        """
        programs = self._programs()
        if not (self.data / "global" / "pg_control").exists():
            self._make(programs)
        self.record = replace(
            self.record,
            socket=sockets.make(self.place, self.record.socket, self.identity),
            bin=str(programs.directory),
            source=programs.source,
            version=programs.version,
        )
        record.write(self.directory, self.record)
        self.write_settings()
        self._rotate_log()
        return self._start_until_it_answers(programs)

    def write_settings(self) -> None:
        """Write the settings of the record to the file that the server includes."""
        text = record.as_file(record.settings(self.record, self.socket))
        path = self.place / record.SETTINGS_FILE
        path.write_text(text)
        path.chmod(0o644)  # the account reads it, and root never writes inside the account's data

    def reload(self) -> None:
        """Have the running server read its settings again."""
        self._pg_ctl(self._programs_in_use(), "reload")

    def stop(self) -> None:
        """Stop the server if it runs: its sessions end, its data is checkpointed.

        Raises:
            EmbeddedServerError: It outlived even an immediate shutdown.
        """
        for manner, seconds in (("fast", STOP_TIMEOUT_S), ("immediate", 10)):
            if self.running_pid() is None:
                return
            self._pg_ctl(self._programs_in_use(), "stop", "-m", manner, "-w", "-t", str(seconds))
        pid = self.running_pid()
        if pid is not None:
            raise EmbeddedServerError(
                f"The private PostgreSQL server at {self.directory} (process {pid}) does not stop; "
                f"see {self.log}, then kill that process."
            )

    def remove(self) -> None:
        """Delete the data, the settings, the socket and the logs of a stopped server."""
        sockets.remove(self.place, self.record.socket)
        for path in (self.data, *self.place.glob("data.tmp.*")):
            shutil.rmtree(path, ignore_errors=True)
        (self.place / record.SETTINGS_FILE).unlink(missing_ok=True)
        if self.place != self.directory:
            shutil.rmtree(self.place, ignore_errors=True)
        self.log.unlink(missing_ok=True)
        (self.directory / record.FILE).unlink(missing_ok=True)

    def _is_full(self, error: psycopg.Error) -> bool:
        """Return whether the server lives and refused only because all connections are taken."""
        return any(text in str(error) for text in FULL) and self.running_pid() is not None

    def _programs(self) -> Binaries:
        version = self.data / "PG_VERSION"
        major = int(version.read_text()) if version.exists() else None
        return self.identity.usable(binaries.find(major))

    def _programs_in_use(self) -> Binaries:
        started = Path(self.record.bin)
        if not os.access(started / "pg_ctl", os.X_OK):
            return self._programs()  # reinstalled elsewhere since
        return Binaries(started, self.record.version, self.record.source)

    def _make(self, programs: Binaries) -> None:
        """Make the data elsewhere and move it into place whole, so that a crash leaves no half."""
        self._remove_leftovers()
        fresh = Path(tempfile.mkdtemp(prefix="data.tmp.", dir=self.place))
        self.identity.give(fresh)
        quickly = ("--no-sync",) if self.record.mode == "test" else ()
        made = self.identity.run([programs.path("initdb"), *INITDB, *quickly], data=fresh)
        include = f"include '../{record.SETTINGS_FILE}'"
        if made.succeeded:
            made = self._append(fresh / "postgresql.conf", include)
        if not made.succeeded:
            shutil.rmtree(fresh, ignore_errors=True)
            raise EmbeddedServerError(
                f"initdb of PostgreSQL {programs.version} ({programs.source}) failed in "
                f"{self.place}: {_last_line(made.output)}."
            )
        fresh.rename(self.data)
        self._remove_leftovers()  # an initdb whose starter was killed may have gone on until now
        _sync(self.place)

    def _remove_leftovers(self) -> None:
        for leftover in self.place.glob("data.tmp.*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _append(self, path: Path, line: str) -> Finished:
        return self.identity.run(["/bin/sh", "-c", 'printf "%s\\n" "$1" >>"$0"', str(path), line])

    def _start_until_it_answers(self, programs: Binaries) -> str:
        deadline = Deadline(START_TIMEOUT_S)
        tries = 0
        while (version := self.answer()) is None:
            if deadline.passed or (tries >= TRIES and self.running_pid() is None):
                raise EmbeddedServerError(
                    f"The private PostgreSQL server at {self.directory} did not start: "
                    f"{self._complaint()}; see {self.log}."
                )
            tries += 1
            if not self._pg_ctl(programs, "start", "-w", "-t", "60", log=self.log).succeeded:
                self._forget_a_dead_postmaster()
                pause(RETRY_S)
        return version

    def _pg_ctl(self, programs: Binaries, *words: str, log: Path | None = None) -> Finished:
        return self.identity.run([programs.path("pg_ctl"), *words], data=self.data, log=log)

    def _forget_a_dead_postmaster(self) -> None:
        """Remove the lock files of a postmaster that PostgreSQL takes for alive.

        A zombie (under a process 1 that does not reap) and a stranger with its id would block each
        start for ever. That no backend of it is left, PostgreSQL checks by its shared memory.
        """
        pid = self._noted_pid()
        if pid is None or self.running_pid() is not None or not psutil.pid_exists(pid):
            return
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.socket / f".s.PGSQL.{record.PORT}.lock").unlink(missing_ok=True)

    def _noted_pid(self) -> int | None:
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n")[0])
        except (OSError, ValueError):
            return None
        return pid if pid > 0 else None

    def _rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            os.truncate(self.log, 0)

    def _complaint(self) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 8192))
            lines = log.read().decode(errors="replace").splitlines()
            fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
            return _last_line((fatal or lines or [""])[-1])
        return "it wrote no log"


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it said nothing"


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
