"""The few kernel calls that Python's standard library does not have."""

import ctypes
import os
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

if sys.platform != "linux":
    raise ImportError(
        "durable_otp.otp needs Linux: pidfd, PDEATHSIG and subreapers exist only there"
    )

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int) -> None:
    """Have the kernel send this signal when the thread that forked this process ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def forget_beginning(descriptor: int, length: int) -> None:
    """Give back the memory of a file's first bytes; they read as zeros, the file is as long."""
    keep_size, punch_hole = 1, 2
    arguments = (ctypes.c_long(0), ctypes.c_long(length))
    if _libc.fallocate(descriptor, punch_hole | keep_size, *arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"fallocate: {os.strerror(number)}")


def child_pids() -> list[int]:
    """Return the pids of this process's children, ended but unreaped ones included."""
    try:
        tasks = list(Path("/proc/self/task").iterdir())
        text = " ".join((task / "children").read_text() for task in tasks)
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        import psutil  # noqa: PLC0415 - dear to import, and hardly ever needed

        return [child.pid for child in psutil.Process().children()]
    return [int(pid) for pid in text.split()]


def process_name(pid: int) -> str:
    """Return the name of a process's program, or nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
