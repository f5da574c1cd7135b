"""The link's ends in a process that runs an event loop: nothing here ever blocks.

``Channel`` is the plain end. ``AsyncParentLink`` is a supervisor process's end of the link to its
own supervisor: what ``ParentLink`` is to synchronous code.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from durable_otp.otp import calls, link
from durable_otp.otp.link import CorruptLinkError, FrameDecoder, Message, ParentLink, encode

_CHUNK = 1 << 18
_SEND_CHUNK = 1 << 18


class Channel:
    """One end of a link in an event loop.

    ``on_message`` is called with each message in order, ``on_end`` once when the other end is gone
    or wrote something that is not a message.
    """

    def __init__(
        self,
        connection: socket.socket,
        on_message: Callable[[Message], None],
        on_end: Callable[[], None],
    ) -> None:
        connection.settimeout(0)
        self._connection = connection
        self._on_message = on_message
        self._on_end = on_end
        self._decoder = FrameDecoder()
        self._outgoing = bytearray()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self.is_corrupt = False
        self._reading = True
        self._broken = False
        self._is_blocked = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection, self._read)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._connection.fileno()

    def send(self, *messages: Message) -> None:
        """Send now what the kernel takes, and the rest as soon as it does."""
        if self._broken:
            return
        waiting = bool(self._outgoing)
        self._flushed.clear()
        for message in messages:
            self._outgoing += encode(message)
        if not waiting:
            self._write()

    def _write(self) -> None:
        try:
            while self._outgoing:
                sent = self._connection.send(self._outgoing[:_SEND_CHUNK])
                del self._outgoing[:sent]
        except BlockingIOError:
            self._is_blocked = True
            self._loop.add_writer(self._connection, self._write)
            return
        except OSError:  # the other end is gone; reading, or the pidfd, tells its owner
            self._broken = True
            self._outgoing.clear()
        self._flushed.set()
        if self._is_blocked:
            self._is_blocked = False
            self._loop.remove_writer(self._connection)

    async def flush(self) -> None:
        """Return when everything sent has been taken, or the other end is gone."""
        await self._flushed.wait()

    def _read(self) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = self._connection.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        try:
            for message in self._decoder.feed(data):
                self._on_message(message)
        except CorruptLinkError:
            self.is_corrupt = True
            data = b""
        if not data:
            self._end()
        return bool(data)

    def _end(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._connection)
            self._on_end()

    def hear(self) -> None:
        """Read what is there now, before the event loop would."""
        if self._reading:
            self._read()

    def drain(self) -> None:
        """Read all that an ended process has left in the link."""
        while self._reading and self._read():
            pass

    def close(self) -> None:
        """Stop reading and writing, and close the descriptor."""
        self._broken = True
        self._flushed.set()
        self._reading = False
        if self._connection.fileno() >= 0:
            self._loop.remove_reader(self._connection)
            self._loop.remove_writer(self._connection)
            self._connection.close()


class AsyncParentLink:
    """A supervisor process's end of the link to its own supervisor, in its event loop.

    ``stopping`` is set when it should stop its children and return; ``lost`` when its supervisor is
    gone, after which the process ends at once. Messages that come before ``on_message`` is set
    wait for it.
    """

    def __init__(self, parent: ParentLink, on_lost: Callable[[], None]) -> None:
        self.parent = parent
        self.stopping = asyncio.Event()
        self.lost = asyncio.Event()
        self.on_call: Callable[[Message], None] | None = None
        self._on_message: Callable[[Message], None] | None = None
        self._waiting: deque[Message] = deque()
        self._on_lost = on_lost
        self._channel = Channel(parent.connection, self._receive, self._lose)
        self._beating: asyncio.TimerHandle | None = None
        self._beat(parent.beat_every)

    def _beat(self, every: float | None) -> None:
        """Show the supervisor's watchdog, if there is one, that this event loop turns."""
        if every is not None:
            self.send(link.BEAT)
            self._beating = asyncio.get_running_loop().call_later(every, self._beat, every)

    @property
    def on_message(self) -> Callable[[Message], None] | None:
        """What is called with each message of the supervisor, in order."""
        return self._on_message

    @on_message.setter
    def on_message(self, handler: Callable[[Message], None]) -> None:
        self._on_message = handler
        while self._waiting:
            handler(self._waiting.popleft())

    def ready(self, info: dict[str, Any] | None = None) -> None:
        """Tell the supervisor that this process is started; ``info`` is what it should know."""
        self.send(link.READY, {"info": info or {}})
        self.parent.acknowledged = True

    def send(self, kind: str, fields: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Send a message; what the supervisor does not take yet is kept."""
        self._channel.send(Message(kind, fields or {}, body))

    async def flush(self) -> None:
        """Return when everything sent has been taken, or the supervisor is gone."""
        await self._channel.flush()

    def _receive(self, message: Message) -> None:
        if message.kind == link.CALL:
            self._answer(message)
        elif self._on_message is None:
            self._waiting.append(message)
        else:
            self._on_message(message)

    def _answer(self, message: Message) -> None:
        if self.on_call is None:
            self._channel.send(calls.refusal(message))
        else:
            self.on_call(message)

    def _lose(self) -> None:
        self.lost.set()
        self._on_lost()

    def detach(self) -> None:
        """Give the link back to synchronous code, for the last words of this process."""
        if self._beating is not None:
            self._beating.cancel()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.parent.connection)
        loop.remove_writer(self.parent.connection)
        self.parent.connection.settimeout(None)
