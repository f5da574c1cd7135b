"""What a process is doing, also one that hangs: a dump of its stacks, asked for by its supervisor.

Every child is born with a memory file and a handler in C that writes the stacks of all its threads
there, which needs no turn of the interpreter's. The supervisor finds the file among the child's
descriptors, so that a dump costs nothing before it is asked for.
"""

import asyncio
import contextlib
import faulthandler
import fcntl
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from durable_otp.clock import Deadline

SIGNAL = signal.SIGUSR2
SECONDS = 2.0
_NAME = "durable-otp-stacks"
_BORN = re.compile(r'otp/birth\.py", line \d+ in _live$')
_LOOK_EVERY = 0.02
_STILL_LOOKS = 3
"""After so many looks at a file that has stopped growing, all is written: there is no end mark."""
_ours: list[int] = []


def offer() -> None:
    """Let whoever supervises this process ask for its stacks; main thread only."""
    inherited = tuple(_ours)
    descriptor = os.memfd_create(_NAME)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)  # it is emptied before each dump
    faulthandler.register(SIGNAL, file=descriptor, all_threads=True, chain=False)
    _ours[:] = [descriptor]
    for each in inherited:
        with contextlib.suppress(OSError):
            os.close(each)


def own() -> str:
    """Return the stacks of this process itself."""
    with os.fdopen(os.memfd_create(_NAME), "w+b") as file:
        faulthandler.dump_traceback(file=file, all_threads=True)
        return _text(file)


async def of(pid: int, send: Callable[[int], None], seconds: float = SECONDS) -> str | None:
    """Return the stacks of a child that has been ready; None when it does not write them.

    Which is so when it is stopped, sleeps in the kernel where no signal wakes it, or has a handler
    of its own. ``send`` sends it a signal.
    """
    try:
        with _file_of(pid) as file:
            file.truncate(0)
            send(SIGNAL)
            await _written(file, Deadline(seconds))
            return _text(file) or None
    except OSError:  # it has just ended
        return None


def _file_of(pid: int) -> BinaryIO:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(descriptor.readlink()).startswith(f"/memfd:{_NAME}"):
                return descriptor.open("r+b", buffering=0)
    raise FileNotFoundError(f"process {pid} offers no stacks")


async def _written(file: BinaryIO, deadline: Deadline) -> None:
    last = still = 0
    while not deadline.passed and still < _STILL_LOOKS:
        await asyncio.sleep(_LOOK_EVERY)
        size = os.fstat(file.fileno()).st_size
        still = still + 1 if size and size == last else 0
        last = size


def _text(file: BinaryIO) -> str:
    data = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
    return since_birth(data.decode(errors="replace"))


def since_birth(text: str) -> str:
    """Return a dump without the frames that a process has from those it was forked from."""
    kept, is_older = [], False
    for line in text.splitlines():
        is_older = is_older and line.startswith("  ")
        if not is_older:
            kept.append(line)
        is_older = is_older or _BORN.search(line) is not None
    return "\n".join(kept).rstrip()
