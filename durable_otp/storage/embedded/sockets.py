"""The directory of the server's socket: beside the data, or short where that is too long a path."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

from durable_otp.storage.embedded.identity import Identity

NAME = "socket"
MAX_PATH_BYTES = 107  # of a socket's address on Linux
FILE = ".s.PGSQL.5432"


def make(place: Path, recorded: str, who: Identity) -> str:
    """Make the socket's directory and return what to record: its name in the place, or its path."""
    beside = place / NAME
    if fits(beside):
        beside.mkdir(mode=0o700, exist_ok=True)
        who.give(beside)
        return NAME
    short = Path(recorded)
    if short.is_absolute() and _is_private(short):
        return recorded
    return tempfile.mkdtemp(prefix="durable-otp-", dir=_short_parent())


def fits(directory: Path) -> bool:
    """Return whether a socket in this directory can be listened on and named in a DSN."""
    text = str(directory)
    return len(os.fsencode(directory / FILE)) <= MAX_PATH_BYTES and not set(text) & set(",\"'\\")


def remove(place: Path, recorded: str) -> None:
    """Remove the socket's directory, wherever it is."""
    directory = place / recorded
    if directory.parent == place or _is_private(directory):
        shutil.rmtree(directory, ignore_errors=True)


def _is_private(directory: Path) -> bool:
    """Return whether nobody else can have put a socket of theirs there."""
    try:
        facts = directory.lstat()
    except OSError:
        return False
    closed = stat.S_IMODE(facts.st_mode) == 0o700  # noqa: PLR2004 - owner only
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and closed


def _short_parent() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    name = Path(runtime) / "durable-otp-12345678"
    return runtime if os.access(runtime, os.W_OK) and fits(name) else "/tmp"  # noqa: S108 - mkdtemp
