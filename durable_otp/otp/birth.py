"""The birth of a process by fork: the first things it does, its function, and its last.

The parent has one thread and a running event loop; the child must behave as if neither had existed.
Signals are blocked round the fork, for until a child has reset them it would run its parent's
handlers. Inherited objects stay referenced by the frames below and are never finalised: a child
ends by ``os._exit``, so no destructor or exit hook of its parent's can run in it. Its descriptors
are closed.
"""

import asyncio
import contextlib
import faulthandler
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import multiprocess
import multiprocess.process
import setproctitle

from durable_otp.otp import linux, stacks
from durable_otp.otp.child_spec import ChildSpec
from durable_otp.otp.exit_reason import (
    EX_IGNORE,
    EX_INIT,
    EX_SHUTDOWN,
    EX_SHUTDOWN_TERM,
    ExitReason,
    Failed,
    Shutdown,
    StartFailure,
    clamp,
)
from durable_otp.otp.link import (
    IGNORE,
    INIT_ERROR,
    Ignore,
    InitError,
    Leave,
    ParentLink,
    close_quietly,
)

_BLOCKED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)

_STDERR = 2

_context = multiprocess.get_context("fork")
_supervisor_pid: list[int] = []


@dataclass(frozen=True)
class Orders:
    """What a parent tells the child it is about to fork.

    ``foreign`` are descriptors that it must close; ``forget`` empties the lists that the parent
    keeps.
    """

    spec: ChildSpec
    connection: socket.socket
    parent_pid: int
    foreign: tuple[int, ...]
    forget: Callable[[], None]


def become_supervisor_process() -> None:
    """Mark this process as one that adopts orphans."""
    linux.adopt_orphans()
    _supervisor_pid[:] = [os.getpid()]


def is_supervisor_process() -> bool:
    """Return whether this very process (not the one it was forked from) adopts orphans."""
    return _supervisor_pid == [os.getpid()]


def loop_descriptors(loop: asyncio.AbstractEventLoop) -> Iterator[int]:
    """Return the event loop's own descriptors: its epoll and the ends of its self-pipe."""
    for name in ("_selector", "_ssock", "_csock"):
        part = getattr(loop, name, None)
        if part is not None:
            yield part.fileno()


def fork(orders: Orders) -> int:
    """Fork the child and return its pid; multiprocess forgets it, so that only we reap it."""
    newborn = _context.Process(target=_live, args=(orders,), name=orders.spec.id)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        newborn.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    pid: int = newborn.pid
    multiprocess.process._children.discard(newborn)  # noqa: SLF001 - its _cleanup() would reap our child
    newborn._popen.close()  # noqa: SLF001 - its sentinel pipe, which a pidfd replaces
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has done so itself
        os.setpgid(pid, pid)
    return pid


def _live(orders: Orders) -> None:
    """The whole life of the child process; never returns."""
    code = 1
    try:
        parent = _settle_in(orders)
        code = _run(parent, orders.spec)
    except BaseException:  # noqa: BLE001 - the process's border: nothing may pass it
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _settle_in(orders: Orders) -> ParentLink:
    gc.freeze()  # never collect what belongs to the parent
    with contextlib.suppress(PermissionError):
        os.setpgid(0, 0)
    leaf = orders.spec.type == "worker"
    linux.die_with_parent(signal.SIGKILL if leaf else signal.SIGTERM)
    if os.getppid() != orders.parent_pid:  # it had ended before the line above
        os._exit(1)
    _reset_signals()
    for descriptor in orders.foreign:
        close_quietly(descriptor)
    orders.forget()
    asyncio.set_event_loop(None)
    asyncio._set_running_loop(None)  # noqa: SLF001 - the documented way to leave an inherited loop
    setproctitle.setproctitle(orders.spec.title or orders.spec.id)
    if orders.spec.watchdog is not None:
        faulthandler.enable(file=_STDERR)  # SIGABRT shows where it hangs
    stacks.offer()
    parent = ParentLink(orders.connection, watchdog=orders.spec.watchdog)
    parent.listen_for_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
    return parent


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):  # a handler of the parent's, in Python
            signal.signal(number, signal.SIG_DFL)


def _run(parent: ParentLink, spec: ChildSpec) -> int:
    """Run the child's function; return the exit code, having told the supervisor the details."""
    try:
        if callable(spec.start):  # its supervisor has put a program in a nested spec's place
            spec.start(parent, *spec.args)
    except Leave as leave:
        return _leave(parent, leave.reason)
    except SystemExit as end:
        return _end(parent, clamp(end.code), "SystemExit", str(end.code))
    except BaseException as error:  # noqa: BLE001 - the process's border
        return _fail(parent, error)
    return 0


def _leave(parent: ParentLink, reason: ExitReason) -> int:
    parent.announce(reason)
    if not isinstance(reason, Shutdown):
        return 0 if reason.is_clean else 1
    return EX_SHUTDOWN if reason.term is None else EX_SHUTDOWN_TERM


def _fail(parent: ParentLink, error: BaseException) -> int:
    if parent.acknowledged:
        traceback.print_exception(error)
        return _end(parent, 1, type(error).__name__, str(error))
    if isinstance(error, Ignore):
        parent.send(IGNORE)
        return EX_IGNORE
    if not isinstance(error, InitError):
        traceback.print_exception(error)
    parent.send(INIT_ERROR, _failure(error))
    return EX_INIT


def _failure(error: BaseException) -> dict[str, Any]:
    if not isinstance(error, InitError):
        return StartFailure("init", str(error), type=type(error).__name__).to_fields()
    return error.detail or StartFailure("init", str(error), fatal=error.fatal).to_fields()


def _end(parent: ParentLink, code: int, kind: str, text: str) -> int:
    if not code:
        return 0
    parent.announce(Failed(code=code, type=kind, text=text))
    return code


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
