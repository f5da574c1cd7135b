"""The host's side of a tree: starts the root as a process of its own, asks it, stops it.

Everything here is synchronous and may be called from any thread. Nothing of the host is touched:
no signal handler, no event loop, no child but the root. When the host is gone, so is the tree.
"""

import concurrent.futures
import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

from durable_otp.events import emit
from durable_otp.otp import calls, errors, fork_gate, link
from durable_otp.otp.calls import Call, ChildCounts, ChildInfo, SupervisorEvent
from durable_otp.otp.cargo import Cargo, pack
from durable_otp.otp.child_spec import (
    ChildSpec,
    DynamicSupervisorSpec,
    SupervisorFlags,
    SupervisorSpec,
)
from durable_otp.otp.errors import NoProcess
from durable_otp.otp.exit_reason import ExitReason, Killed, from_wait
from durable_otp.otp.link import FrameDecoder, Message, encode
from durable_otp.otp.root import RootHooks

_CHUNK = 1 << 18


class RootProcess:
    """A running root: its process, its link and a thread that listens.

    ``on_push(message)`` is called in that thread with every message the root sends by itself:
    "otp.event" and "tree" from supervision, and whatever the hooks push.
    """

    def __init__(self, cargo: Cargo, on_push: Callable[[Message], None]) -> None:
        payload = pack(cargo)
        self._on_push = on_push
        self._decoder = FrameDecoder()
        self._numbers = itertools.count(1)
        self._pending: dict[int, concurrent.futures.Future[Any]] = {}
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._last_words: dict[str, Any] | None = None
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ended: concurrent.futures.Future[ExitReason] = concurrent.futures.Future()
        with fork_gate.CLOSED:
            self._connection, theirs = link.pair()
            with theirs:
                self._process = _execute(payload, theirs)
        self._listener = threading.Thread(target=self._listen, name="durable-otp-root", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The root's pid."""
        return self._process.pid

    @property
    def is_ours(self) -> bool:
        """Whether this process started it: a forked copy of a host must not stop its tree."""
        return os.getpid() == self._owner

    def wait_started(self) -> None:
        """Wait until every child is up.

        Raises:
            InvalidSpec, StartFailed: it did not come up, and nothing is left running.
        """
        try:
            self._started.result()
        except errors.SupervisorError:
            self.wait(None)
            raise
        except BaseException:  # the waiting itself was interrupted
            self.kill()
            raise

    def wait(self, timeout: float | None) -> ExitReason | None:
        """Wait for the root's end; None when it still runs after ``timeout`` seconds."""
        try:
            return self._ended.result(timeout)
        except TimeoutError:
            return None

    def send(self, message: Message) -> None:
        """Send a message to the root; nothing happens when it is gone."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(encode(message))

    def ask(self, make: Callable[[int], Message], timeout: float | None = None) -> Any:
        """Send the message made for a new number and return the reply to it.

        Raises:
            SupervisorError: what the other side refused.
            TimeoutError: there was no reply in time.
        """
        number = next(self._numbers)
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._pending[number] = future
        if self._ended.done() or not self.is_ours:
            raise NoProcess("root")
        self.send(make(number))
        try:
            return future.result(timeout)
        finally:
            self._pending.pop(number, None)

    def kill(self) -> None:
        """Have the root end at once, with everything below it."""
        self.send(Message(calls.END, {}))
        if self.wait(3.0) is None:
            self._process.kill()
            self.wait(None)

    # the listening thread

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._connection.recv(_CHUNK):
                for message in self._decoder.feed(data):
                    self._receive(message)
        reason = _reason(self._process.wait(), self._last_words)
        self._ended.set_result(reason)
        if not self._started.done():
            self._started.set_exception(NoProcess("root"))
        for future in tuple(self._pending.values()):
            if not future.done():
                future.set_exception(NoProcess("root"))
        with self._lock:
            self._connection.close()

    def _receive(self, message: Message) -> None:
        match message.kind:
            case link.READY:
                self._started.set_result(None)
            case link.INIT_ERROR if not self._started.done():
                self._started.set_exception(errors.from_fields(message.fields))
            case link.REPLY:
                self._settle(message)
            case link.EXIT:
                self._last_words = message.fields
            case _:
                self._tell(message)

    def _tell(self, message: Message) -> None:
        try:
            self._on_push(message)
        except Exception as error:  # noqa: BLE001 - a listener's error must not end the listening
            emit("listener_failed", level=logging.ERROR, kind=message.kind, error=repr(error))

    def _settle(self, reply: Message) -> None:
        future = self._pending.pop(reply.fields["number"], None)
        if future is None:
            return
        try:
            future.set_result(calls.result(reply))
        except errors.SupervisorError as error:
            future.set_exception(error)


def _execute(payload: bytes, connection: socket.socket) -> "subprocess.Popen[bytes]":
    """Start the root; the cargo lies in a memory file, which blocks nobody however large it is."""
    cargo_fd = os.memfd_create("durable-otp-cargo")
    try:
        with os.fdopen(os.dup(cargo_fd), "wb") as file:
            file.write(payload)
        os.lseek(cargo_fd, 0, os.SEEK_SET)
        arguments = (str(connection.fileno()), str(cargo_fd), str(os.getpid()))
        return subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
            [sys.executable, "-m", "durable_otp.otp.boot", *arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=(connection.fileno(), cargo_fd),
            start_new_session=True,
        )
    finally:
        os.close(cargo_fd)


def _reason(code: int, last_words: dict[str, Any] | None) -> ExitReason:
    """Return why the root ended.

    A host that reaps all its children (``waitpid(-1)``, or SIGCHLD ignored) has taken the status
    before us, which then reads 0; only a root that said so has exited with 0.
    """
    if code < 0:
        return from_wait(os.CLD_KILLED, -code)
    if code:
        return from_wait(os.CLD_EXITED, code)
    return Killed() if last_words is None else from_wait(os.CLD_EXITED, last_words["code"])


class SupervisorHandle:
    """The calls of OTP on one supervisor of a running tree; every one waits for its answer.

    Raises, in all of them: NoProcess when that supervisor is not running.
    """

    path: tuple[str, ...] = ()

    @property
    def root(self) -> RootProcess:
        """The process that is asked."""
        raise NotImplementedError

    def child(self, path: str) -> "SupervisorHandle":
        """Return a handle on the supervisor at this path below, e.g. ``"queues/mail"``."""
        return _Below(self.root, (*self.path, *path.split("/")))

    def start_child(self, *what: Any, child_id: str | None = None) -> ChildInfo | None:
        """Start one more child: from a ChildSpec, or from a dynamic supervisor's extra arguments.

        None when it had nothing to do. Raises AlreadyStarted, AlreadyPresent, InvalidSpec,
        MaxChildren, StartFailed.
        """
        options = {} if child_id is None else {"child_id": child_id}
        started: ChildInfo | None = self._ask("start_child", *what, **options)
        return started

    def terminate_child(self, child_id: str | int) -> None:
        """Stop a child (of a dynamic supervisor: by id or pid). Raises NotFound."""
        self._ask("terminate_child", child_id)

    def restart_child(self, child_id: str) -> ChildInfo | None:
        """Start a stopped child again. Raises NotFound, Running, Restarting, StartFailed."""
        started: ChildInfo | None = self._ask("restart_child", child_id)
        return started

    def delete_child(self, child_id: str) -> None:
        """Forget a stopped child. Raises NotFound, Running, Restarting."""
        self._ask("delete_child", child_id)

    def get_childspec(self, child_id: str) -> ChildSpec:
        """Return a child's specification. Raises NotFound."""
        spec: ChildSpec = self._ask("get_childspec", child_id)
        return spec

    def which_children(self) -> list[ChildInfo]:
        """Return a line per child, the newest in start order first."""
        lines: list[ChildInfo] = self._ask("which_children")
        return lines

    def count_children(self) -> ChildCounts:
        """Return how many children there are, and how many live."""
        counts: ChildCounts = self._ask("count_children")
        return counts

    def _ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        path = self.path
        return self.root.ask(
            lambda number: Call(number, path, name, arguments, options).to_message()
        )


class _Below(SupervisorHandle):
    def __init__(self, root: RootProcess, path: tuple[str, ...]) -> None:
        self._root = root
        self.path = path

    @property
    def root(self) -> RootProcess:
        return self._root


class Supervisor(SupervisorHandle):
    """A tree of processes under a root of its own, started by ``start`` or by entering it.

    ``on_event`` hears everything that happens in the tree, in order, in a thread of its own;
    ``on_message`` what the root's hooks push.
    """

    def __init__(
        self,
        flags: SupervisorFlags | DynamicSupervisorSpec,
        children: Iterable[ChildSpec] = (),
        *,
        hooks: RootHooks | None = None,
        title: str = "durable-otp",
        on_event: Callable[[SupervisorEvent], None] | None = None,
        on_message: Callable[[Message], None] | None = None,
    ) -> None:
        self._cargo = Cargo(_spec(flags, children), hooks, title)
        self._on_event = on_event
        self._on_message = on_message
        self._root: RootProcess | None = None
        self.last_tree: dict[str, Any] = {}

    @property
    def root(self) -> RootProcess:
        """The running root's process, or NoProcess."""
        if self._root is None:
            raise NoProcess("root")
        return self._root

    @property
    def pid(self) -> int:
        """The root's pid."""
        return self.root.pid

    def start(self) -> Self:
        """Start the root and its children; return when all are up.

        Raises:
            ConfigError: something in the specification cannot be carried to another process.
            InvalidSpec, StartFailed: nothing is left running.
        """
        self._cargo.spec.check()
        self._root = RootProcess(self._cargo, self._pushed)
        self._root.wait_started()
        return self

    def stop(self, timeout: float | None = None) -> ExitReason | None:
        """Stop everything in order; after ``timeout`` seconds, at once. None if it is not ours."""
        if self._root is None or not self._root.is_ours:
            return None
        self._root.send(Message(calls.STOP, {}))
        if self._root.wait(timeout) is None:
            self._root.kill()
        return self._root.wait(None)

    def wait(self, timeout: float | None = None) -> ExitReason | None:
        """Wait for the tree's end; None when it still runs after ``timeout`` seconds."""
        return self.root.wait(timeout)

    def request(
        self, kind: str, fields: dict[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """Ask the root's hooks. Raises NotSupported when they do not know the kind."""
        asked = {"kind": kind, "fields": fields or {}}
        answer: dict[str, Any] = self.root.ask(
            lambda number: Message(calls.REQUEST, {"number": number, **asked}), timeout
        )
        return answer

    def _pushed(self, message: Message) -> None:
        if message.kind == calls.EVENT and self._on_event is not None:
            self._on_event(SupervisorEvent(**message.fields))
        if message.kind == link.TREE:
            self.last_tree = message.fields
        if message.kind != calls.EVENT and self._on_message is not None:
            self._on_message(message)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _spec(
    flags: SupervisorFlags | DynamicSupervisorSpec, children: Iterable[ChildSpec]
) -> SupervisorSpec | DynamicSupervisorSpec:
    if isinstance(flags, DynamicSupervisorSpec):
        return flags
    return SupervisorSpec(flags, tuple(children))
