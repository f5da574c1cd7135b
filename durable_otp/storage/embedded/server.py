"""Using a private server: `acquire` it, and it is there until the last user has gone."""

import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from durable_otp.errors import EmbeddedServerError
from durable_otp.storage.embedded import directory as directories
from durable_otp.storage.embedded import identity, locks, reaper, record
from durable_otp.storage.embedded.cluster import Cluster
from durable_otp.storage.embedded.record import Mode, Record

MAX_CONNECTIONS = 300
USERS_TIMEOUT_S = 60.0


class Server:
    """A running private PostgreSQL, and this process's share in keeping it up.

    The share is a lock on an inherited descriptor: a forked child holds it as well, without doing
    anything, until it ends or is killed. The server stops a few seconds after the last share.
    """

    def __init__(self, cluster: Cluster, version: str, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self.directory = cluster.directory
        self.dsn = cluster.dsn
        self.version = version
        self.mode = cluster.record.mode
        self.source = cluster.record.source

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    @property
    def description(self) -> str:
        """What is used, for a person: version, place, and where the programs come from."""
        return described(self.directory, self.version, self.source)

    def release(self) -> None:
        """Give this process's share back; forked children keep theirs. Again is harmless."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def keep_across_exec(self) -> int:
        """Let the share outlive ``os.exec*``, and return the descriptor that carries it.

        For a process that is about to become another program. The new program holds the share
        without knowing; so would every program it starts with ``close_fds=False``, unless it first
        calls ``os.set_inheritable(descriptor, False)``.

        Raises:
            EmbeddedServerError: The share was released.
        """
        descriptor = self.fileno()
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - it takes no keyword
        return descriptor

    def fileno(self) -> int:
        """Return the descriptor whose lock is this process's share.

        Raises:
            EmbeddedServerError: The share was released.
        """
        if self._descriptor is None:
            raise EmbeddedServerError(
                f"This process released the private PostgreSQL server at {self.directory}; "
                f"acquire it again."
            )
        return self._descriptor


def acquire(
    directory: Path | None = None, *, mode: Mode = "durable", max_connections: int | None = None
) -> Server:
    """Return the directory's server, made and started if need be, in use by this process.

    Any number of processes may do so at once: one of them makes and starts it. Call it before
    forking, and before becoming a subreaper: the server and its reaper must not be anybody's
    children.

    Args:
        directory: Where it lives; None for ``DURABLE_OTP_PG_DIR``, else ``./.durable-otp/pg``.
        mode: ``durable``; ``fast`` may lose the last commits when the machine fails (a server that
            runs as ``durable`` stays so); ``test`` has no fsync and is never mixed with the others.
        max_connections: At its next start; None for ``DURABLE_OTP_PG_MAX_CONNECTIONS``, else what
            it had, else 300.

    Raises:
        EmbeddedServerError: There are no programs, or it cannot be made or started here.
    """
    place = directories.resolved(directory)
    directories.prepare(place)
    with locks.control(place):
        descriptor = locks.shared(place / locks.USERS, timeout=USERS_TIMEOUT_S)
        if descriptor is None:
            raise EmbeddedServerError(
                f"{place / locks.USERS} is locked; `fuser` it to see by whom."
            )
        try:
            cluster = _cluster(place, mode, _connections(max_connections))
            reaper.ensure(place, mode)
            version = _up(cluster, mode)
        except BaseException:
            os.close(descriptor)
            raise
        return Server(cluster, version, descriptor)


def described(directory: Path, version: str, source: str) -> str:
    """Return what a server is, in one line."""
    return f"private PostgreSQL {version} at {directories.shown(directory)} ({source})"


def _cluster(directory: Path, mode: Mode, max_connections: int | None) -> Cluster:
    known = record.read(directory)
    if known is None:
        return _new_cluster(directory, mode, max_connections or MAX_CONNECTIONS)
    if (known.mode == "test") != (mode == "test"):
        raise EmbeddedServerError(
            f"The private PostgreSQL server at {directory} was made in mode {known.mode!r} and "
            f"cannot be used in mode {mode!r}; name another directory, or remove it with "
            f"`durable-otp pg reset`."
        )
    wanted = max_connections or known.max_connections
    return Cluster(directory, replace(known, max_connections=wanted))


def _new_cluster(directory: Path, mode: Mode, max_connections: int) -> Cluster:
    who = identity.choose()
    place = who.make_place(directory)
    known = Record(
        mode=mode,
        identity=who.name,
        place="." if place == directory else str(place),
        socket="",
        bin="",
        source="",
        version="",
        max_connections=max_connections,
    )
    record.write(directory, known)  # first, so that whatever is made now can be found again
    return Cluster(directory, known)


def _up(cluster: Cluster, mode: Mode) -> str:
    version = cluster.answer()
    if version is None:
        cluster.record = replace(cluster.record, mode=mode)
        return cluster.start()
    if mode == "durable" and cluster.record.mode == "fast":
        cluster.record = replace(cluster.record, mode=mode)
        record.write(cluster.directory, cluster.record)
        cluster.write_settings()
        cluster.reload()
    return version


def _connections(explicit: int | None) -> int | None:
    text = os.environ.get("DURABLE_OTP_PG_MAX_CONNECTIONS")
    if explicit is not None or not text:
        return explicit
    if not text.isdecimal() or int(text) == 0:
        raise EmbeddedServerError(
            f"DURABLE_OTP_PG_MAX_CONNECTIONS is {text!r}; give a whole number such as 300."
        )
    return int(text)
