"""Who uses, changes and watches a private server, told by flock.

The kernel frees a lock when the last process that holds its descriptor is gone, however it died;
so no process ever has to be asked whether it is still alive. Four files, next to the data:

* ``ctl.lock``: exclusive while the server is made, started, stopped or removed.
* ``users.lock``: shared by every user for life. A forked child inherits the descriptor on purpose:
  the server outlives a supervisor until its last worker is gone.
* ``reaper.lock``: exclusive, held by the one process that stops the server after the last user.
* ``hold.lock``: exclusive, held by the process with which ``pg start`` keeps the server up.

Order: ``ctl`` before ``users``.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from durable_otp.clock import Deadline
from durable_otp.errors import EmbeddedServerError
from durable_otp.otp.program import pause

CONTROL = "ctl.lock"
USERS = "users.lock"
REAPER = "reaper.lock"
HOLD = "hold.lock"
NAMES = (CONTROL, USERS, REAPER, HOLD)
RETRY_S = 0.02
MOMENT_S = 0.1


def is_free(path: Path) -> bool:
    """Return whether nobody holds the lock for longer than to ask this; the file is not made."""
    if not path.exists():
        return True
    descriptor = exclusive(path)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def exclusive(path: Path, *, timeout: float = MOMENT_S) -> int | None:
    """Return a descriptor that alone holds the lock, or None if that took longer than allowed.

    The default outlasts those who only ask whether it is free.
    """
    return _take(path, fcntl.LOCK_EX, timeout)


def shared(path: Path, *, timeout: float) -> int | None:
    """Return a descriptor that shares the lock, or None if that took longer than allowed."""
    return _take(path, fcntl.LOCK_SH, timeout)


def wait_until_free(path: Path) -> None:
    """Block until nobody holds the lock; no polling, and no time limit."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


@contextmanager
def control(directory: Path, *, timeout: float | None = 120.0) -> Iterator[None]:
    """Hold ``ctl.lock`` of a directory.

    Raises:
        EmbeddedServerError: Another process kept it for longer than ``timeout``.
    """
    descriptor = _take(directory / CONTROL, fcntl.LOCK_EX, timeout)
    if descriptor is None:
        raise EmbeddedServerError(
            f"Another process has been starting or stopping the private PostgreSQL server at "
            f"{directory} for {timeout:g} seconds; find it with `fuser {directory / CONTROL}`."
        )
    try:
        yield
    finally:
        os.close(descriptor)


def _take(path: Path, kind: int, timeout: float | None) -> int | None:
    deadline = Deadline(timeout)
    while (descriptor := _try(path, kind)) is None:
        if deadline.passed:
            return None
        pause(RETRY_S)
    return descriptor


def _try(path: Path, kind: int) -> int | None:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
