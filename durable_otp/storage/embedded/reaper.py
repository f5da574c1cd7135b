"""The process that stops a private server after its last user, however that user died.

It is a program of its own in a session of its own: no Ctrl-C, no dying parent and no closed
terminal reaches it. It sleeps on ``users.lock`` until the kernel says that nobody holds it, lingers
in case somebody comes back, and then stops the server. Should it be killed itself, the next user
starts another.
"""

import contextlib
import os
import sys
from pathlib import Path

from durable_otp.durations import in_seconds
from durable_otp.errors import EmbeddedServerError
from durable_otp.otp import program
from durable_otp.storage.embedded import locks, record
from durable_otp.storage.embedded.cluster import Cluster

LOG = "reaper.log"
LINGER_S: dict[record.Mode, float] = {"durable": 5.0, "fast": 5.0, "test": 0.5}


def ensure(directory: Path, mode: record.Mode) -> None:
    """Start a reaper unless the directory has one; the caller holds ``ctl.lock`` and is a user.

    The lock is taken here and inherited, so that there is no moment without, and never a second.
    """
    descriptor = locks.exclusive(directory / locks.REAPER, timeout=0)
    if descriptor is None:
        return
    try:
        program.detach(
            [
                sys.executable,
                "-m",
                "durable_otp.storage.embedded",
                str(directory),
                str(descriptor),
                str(_linger(mode)),
            ],
            environment=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            log=directory / LOG,
            keep=[descriptor],
        )
    finally:
        os.close(descriptor)


def main(directory: Path, descriptor: int, linger: float) -> None:
    """Wait for the last user to be gone for ``linger`` seconds, stop the server, and return.

    The reaper's own lock goes before ``ctl.lock`` does: whoever starts the server again finds no
    reaper, and starts one. Where the directory was deleted, the server ends by itself.
    """
    stopped = False
    with contextlib.suppress(FileNotFoundError):
        while not stopped:
            locks.wait_until_free(directory / locks.USERS)
            program.pause(linger)
            stopped = _stop_if_unused(directory, descriptor)


def _linger(mode: record.Mode) -> float:
    text = os.environ.get("DURABLE_OTP_PG_LINGER")
    if not text:
        return LINGER_S[mode]
    try:
        return in_seconds(float(text))
    except ValueError:
        raise EmbeddedServerError(
            f"DURABLE_OTP_PG_LINGER is {text!r}; give a number of seconds such as 5."
        ) from None


def _stop_if_unused(directory: Path, descriptor: int) -> bool:
    with locks.control(directory, timeout=None):
        if not locks.is_free(directory / locks.USERS):
            return False
        known = record.read(directory)
        if known is not None:
            Cluster(directory, known).stop()
        os.close(descriptor)
        return True
