"""``python -m durable_otp.otp.boot``: the root of a tree that belongs to a host process.

The host starts it by exec, so that nothing of the host (threads, locks, signal handlers, an
unguarded ``__main__``) is inherited. It watches the host by a pidfd and by the link, and ends at
once when the host is gone, however that came about. PDEATHSIG would not do: it follows the thread
that forked.
"""

import asyncio
import contextlib
import gc
import os
import socket
import sys
import traceback
from typing import NoReturn

import setproctitle

from durable_otp.otp import calls, errors, link, loop, process
from durable_otp.otp.cargo import Cargo, unpack
from durable_otp.otp.channel import Channel
from durable_otp.otp.errors import InvalidSpec, StartFailed
from durable_otp.otp.exit_reason import StartFailure
from durable_otp.otp.link import Message
from durable_otp.otp.root import Root, RootHooks, stop_or_end
from durable_otp.otp.server import until_finished

_PATIENCE = 1.0  # with a host that does not listen to the last words


class _Hosted:
    """The root's side of the link to its host."""

    def __init__(
        self, connection: socket.socket, cargo: Cargo, host: int, stopping: asyncio.Event
    ) -> None:
        self._stopping = stopping
        self.hooks = cargo.hooks or RootHooks()
        self._host = host
        self._channel = Channel(connection, self._receive, loop.end_at_once)
        self._requests: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().add_reader(host, loop.end_at_once)
        process.close_in_children(lambda: (connection.fileno(), host))
        self.root = Root(cargo.spec, self.hooks, self.send, stopping.set)

    def send(self, message: Message) -> None:
        self._channel.send(message)

    def _receive(self, message: Message) -> None:
        match message.kind:
            case link.CALL:
                self.root.server.receive_call(message)
            case calls.REQUEST:
                task = asyncio.get_running_loop().create_task(self._answer(message))
                self._requests.add(task)
                task.add_done_callback(self._requests.discard)
            case calls.STOP:
                self._stopping.set()
            case calls.END:
                loop.end_at_once()

    async def _answer(self, message: Message) -> None:
        number, kind = message.fields["number"], message.fields["kind"]
        try:
            answer = await self.hooks.on_request(kind, message.fields["fields"], self.root)
        except Exception as error:  # noqa: BLE001 - the hooks' error is the host's to hear
            refusal = errors.SupervisorError(f"the request {kind!r} failed: {error!r}")
            self.send(calls.refuse(number, refusal))
            return
        if answer is None:
            self.send(calls.refuse(number, errors.NotSupported(kind)))
        else:
            self.send(calls.answer(number, answer))

    def ready(self) -> None:
        self.root.server.push_now()
        self.send(Message(link.READY, {"info": {"pid": os.getpid()}}))

    async def flush(self) -> None:
        await self._channel.flush()


async def _main(connection: socket.socket, cargo: Cargo, host: int) -> int:
    def stop(_: int) -> None:
        stop_or_end(stopping)

    stopping = asyncio.Event()
    async with loop.Surroundings(stop):
        try:
            hosted = _Hosted(connection, cargo, host, stopping)
        except InvalidSpec as error:
            _tell(connection, Message(link.INIT_ERROR, errors.to_fields(error)))
            return 1
        hosted.hooks.before_children(hosted.root)
        gc.enable()
        try:
            await until_finished(
                hosted.root.server.actor,
                stopping,
                hosted.ready,
                lambda: hosted.hooks.on_stopping(hosted.root),
            )
        except StartFailed as error:
            hosted.send(Message(link.INIT_ERROR, errors.to_fields(error)))
            return 1
        finally:
            await hosted.flush()
    return 0


def main(arguments: list[str]) -> NoReturn:
    """Be the root: arguments are the descriptors of link and cargo, and the host's pid."""
    connection_fd, cargo_fd, host_pid = (int(argument) for argument in arguments)
    host = os.pidfd_open(host_pid)
    if os.getppid() != host_pid:  # it had ended before the line above
        os._exit(1)
    connection = socket.socket(fileno=connection_fd)
    os.set_inheritable(connection_fd, False)  # noqa: FBT003 - that is how it is called
    with os.fdopen(cargo_fd, "rb") as file:
        payload = file.read()
    gc.disable()  # what is imported from here on stays; looking through it again and again is dear
    try:
        cargo = unpack(payload)
        setproctitle.setproctitle(cargo.title)
        code = asyncio.run(_main(connection, cargo, host))
    except Exception as error:  # noqa: BLE001 - the process's border: the host is told
        code = 1
        traceback.print_exception(error)
        _tell_why(connection, error)
    _tell(connection, Message(link.EXIT, {"code": code}))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _tell_why(connection: socket.socket, error: Exception) -> None:
    failure = StartFailure("init", str(error), type=type(error).__name__)
    fields = errors.to_fields(StartFailed("root", failure))
    _tell(connection, Message(link.INIT_ERROR, fields))


def _tell(connection: socket.socket, message: Message) -> None:
    with contextlib.suppress(OSError):
        connection.settimeout(_PATIENCE)
        connection.sendall(link.encode(message))


if __name__ == "__main__":
    main(sys.argv[1:])
