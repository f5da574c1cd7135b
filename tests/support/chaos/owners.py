"""Who holds a socket, read from ``/proc``: the system under test needs no hook for being killed."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

Address = tuple[str, int]
_DEAD = "ZX"
_MOST_ANCESTORS = 64
_LOOKS = 5


def socket_owners(local: Address, remote: Address, among: Iterable[int] = ()) -> list[int]:
    """Return the pids that hold the socket whose own end is `local` and whose far end `remote`.

    Only descendants of `among` are looked at where it is given: the machine has many others.
    """
    for _ in range(_LOOKS):  # a table that changes while it is read shows gaps
        inode = _inode(local, remote)
        pids = {pid for each in among for pid in _family(each)} if among else set(_everybody())
        owners = sorted(_holders(f"socket:[{inode}]", pids)) if inode else []
        if owners:
            return owners
    return []


def state_of(pid: int) -> tuple[str, int] | None:
    """Return a process's state letter and its parent; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1])


def parent_of(pid: int) -> int:
    """Return a process's parent; 0 when the process is gone."""
    state = state_of(pid)
    return state[1] if state else 0


def is_descendant(pid: int, ancestor: int) -> bool:
    """Return whether a process is a child, or a child's child, of another."""
    for _ in range(_MOST_ANCESTORS):
        pid = parent_of(pid)
        if pid == ancestor:
            return True
        if pid <= 1:
            break
    return False


async def wait_gone(pid: int, within: float = 5.0) -> bool:
    """Return whether a process ends within so many seconds; a zombie has ended."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        state = state_of(pid)
        if state is None or state[0] in _DEAD:
            return True
        await asyncio.sleep(0.001)
    return False


def _inode(local: Address, remote: Address) -> str | None:
    for table, is_v6 in (("/proc/net/tcp", False), ("/proc/net/tcp6", True)):
        with contextlib.suppress(OSError):
            wanted = [_hexadecimal(local, is_v6), _hexadecimal(remote, is_v6)]
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1:3] == wanted and fields[9] != "0":
                    return fields[9]
    return None


def _hexadecimal(address: Address, is_v6: bool) -> str:
    host, port = address
    if not is_v6:
        return f"{socket.inet_aton(host)[::-1].hex().upper()}:{port:04X}"
    packed = socket.inet_pton(socket.AF_INET6, host if ":" in host else f"::ffff:{host}")
    words = (packed[at : at + 4][::-1].hex().upper() for at in range(0, 16, 4))
    return f"{''.join(words)}:{port:04X}"


def _everybody() -> Iterator[int]:
    return map(int, filter(str.isdigit, os.listdir("/proc")))  # noqa: PTH208 - thousands


def _family(pid: int) -> Iterator[int]:
    """Yield a process and its descendants, as the kernel lists them."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - nothing to be sorted
            children = Path(f"/proc/{pid}/task/{thread}/children").read_text()
            for child in children.split():
                yield from _family(int(child))


def _holders(link: str, pids: Iterable[int]) -> Iterator[int]:
    me = os.getpid()
    for pid in pids:
        if pid != me and _holds(pid, link):
            yield pid


def _holds(pid: int, link: str) -> bool:
    directory = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(directory):  # noqa: PTH208
            with contextlib.suppress(OSError):
                if os.readlink(f"{directory}/{descriptor}") == link:  # noqa: PTH115
                    return True
    return False
