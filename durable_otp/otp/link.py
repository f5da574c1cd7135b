"""The link between a process and its supervisor: framed messages over a socket pair.

A message is a kind, JSON fields and a body of raw bytes that nobody between the two ends decodes.
On the wire: two lengths, the JSON ``[kind, fields]``, the body. End of file means that the other
end is gone.

``ParentLink`` is the end of a child that is plain synchronous code: ``receive`` is its one blocking
wait, which also ends for a signal (the wake-up descriptor is always in it, since a signal handler
alone would be lost when it runs just before the wait begins).
"""

import contextlib
import os
import select
import signal
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from pydantic_core import from_json, to_json

from durable_otp.clock import Deadline, monotonic
from durable_otp.otp import errors
from durable_otp.otp.exit_reason import ExitReason, Shutdown, to_fields

READY = "otp.ready"
IGNORE = "otp.ignore"
INIT_ERROR = "otp.init_error"
EXIT = "otp.exit"
BEAT = "otp.beat"
CALL = "otp.call"
REPLY = "otp.reply"
STATE = "state"
TREE = "tree"

_LENGTHS = struct.Struct("!II")
_MAX_FRAME = 1 << 30
_CHUNK = 1 << 18
_BEATS_PER_WATCH = 4


class Message(NamedTuple):
    """One message: what it is, its JSON fields, and bytes that travel as they are."""

    kind: str
    fields: dict[str, Any]
    body: bytes = b""


def encode(message: Message) -> bytes:
    """Return the message as it travels."""
    header = to_json([message.kind, message.fields])
    return b"".join((_LENGTHS.pack(len(header), len(message.body)), header, message.body))


class CorruptLinkError(ValueError):
    """The bytes on a link are not messages: something else wrote to its descriptor."""


class FrameDecoder:
    """Turns bytes, in whatever pieces they arrive, into messages; does no input or output."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take more bytes; yield the messages that are complete now.

        Raises:
            CorruptLinkError: when these cannot be messages.
        """
        self._buffer += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Message | None:
        if len(self._buffer) < _LENGTHS.size:
            return None
        header_size, body_size = _LENGTHS.unpack_from(self._buffer)
        if max(header_size, body_size) > _MAX_FRAME:
            raise CorruptLinkError(f"a frame of {header_size} + {body_size} bytes is not possible")
        body_at = _LENGTHS.size + header_size
        end = body_at + body_size
        if len(self._buffer) < end:
            return None
        header = bytes(self._buffer[_LENGTHS.size : body_at])
        body = bytes(self._buffer[body_at:end])
        del self._buffer[:end]
        return _message(header, body)


def _message(header: bytes, body: bytes) -> Message:
    try:
        kind, fields = from_json(header)
    except ValueError as error:
        raise CorruptLinkError(f"a frame's header is not JSON: {error}") from error
    return Message(kind, fields, body)


class Ignore(Exception):  # noqa: N818 - OTP's word
    """Raised by a child before it is ready: there is nothing for it to do, which is fine."""


class InitError(Exception):
    """Raised by a child before it is ready: it cannot start, for this reason.

    ``fatal`` says that trying again is useless: the supervisor then gives up at once.
    """

    def __init__(
        self, text: str, *, fatal: bool = False, detail: dict[str, Any] | None = None
    ) -> None:
        super().__init__(text)
        self.fatal = fatal
        self.detail = detail


class Leave(BaseException):
    """Carries the reason of a child that ends by ``ParentLink.exit``."""

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(reason)
        self.reason = reason


class ParentLink:
    """A synchronous child's end of the link to its supervisor.

    ``stopping``: SIGTERM arrived, or the supervisor is gone: finish and return. ``lost``: the
    supervisor is gone: leave at once. ``acknowledged``: ``ready`` was called.
    """

    def __init__(self, connection: socket.socket, *, watchdog: float | None = None) -> None:
        self.connection = connection
        self.beat_every = None if watchdog is None else watchdog / _BEATS_PER_WATCH
        self._next_beat = 0.0
        self.acknowledged = False
        self.lost = False
        self._stop_requested = False
        self._decoder = FrameDecoder()
        self._messages: deque[Message] = deque()
        self._wakeup: tuple[
            socket.socket, ...
        ] = ()  # what we read, what the kernel's handler writes
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    @property
    def stopping(self) -> bool:
        """Whether the child should come to an end."""
        return self._stop_requested or self.lost

    def fileno(self) -> int:
        """Return the descriptor of the link."""
        return self.connection.fileno()

    def descriptors(self) -> list[int]:
        """Return all descriptors of this end, which a child of this child must not keep."""
        return [end.fileno() for end in (self.connection, *self._wakeup)]

    def listen_for_signals(self) -> None:
        """Have SIGTERM, and every signal with a Python handler, end the wait in ``receive``."""
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        theirs.settimeout(0)
        self._wakeup = (ours, theirs)
        self._poll.register(ours, select.POLLIN)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, *_: object) -> None:
        self._stop_requested = True

    def ready(self, info: dict[str, Any] | None = None) -> None:
        """Tell the supervisor that this child is started; ``info`` is what it should know."""
        self.send(READY, {"info": info or {}})
        self.acknowledged = True

    def send(self, kind: str, fields: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Send a message; blocks while nobody reads. To a supervisor that is gone: nothing."""
        try:
            self.connection.sendall(encode(Message(kind, fields or {}, body)))
        except (BrokenPipeError, ConnectionResetError):
            self.lost = True

    def beat(self) -> None:
        """Tell the supervisor's watchdog that this child is not hung; to be called often.

        Sends no more than is needed, and nothing when the specification has no ``watchdog``.
        """
        if self.beat_every is not None and monotonic() >= self._next_beat:
            self._next_beat = monotonic() + self.beat_every
            self.send(BEAT)

    def exit(self, reason: ExitReason | None = None) -> NoReturn:
        """End this child with a clean reason (default: shutdown), unwinding its function."""
        raise Leave(reason or Shutdown())

    def announce(self, reason: ExitReason) -> None:
        """Tell the supervisor how this process is about to end."""
        self.send(EXIT, to_fields(reason))

    def receive(self, timeout: float | None, also: Sequence[int] = ()) -> Message | None:
        """Wait for the next message, and for nothing else anywhere in this process.

        Returns None when something else ended the wait: ``timeout`` seconds passed, a descriptor of
        ``also`` is readable, a signal came or the supervisor is gone; look at ``stopping`` and
        ``lost``. Beats for the watchdog, also while it waits.
        """
        self.beat()
        if self._messages:
            return self._messages.popleft()
        ready = self._wait_beating(timeout, also)
        if self._wakeup and self._wakeup[0].fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._wakeup[0].recv(4096)
        if self.fileno() in ready:
            self._read()
        return self._messages.popleft() if self._messages else None

    def take(self) -> Message | None:
        """Return a message that has arrived, without waiting; None when there is none.

        Safe in a signal handler that runs while nothing else uses this link.
        """
        if not self._messages:
            self._read()
        return self._messages.popleft() if self._messages else None

    def _wait_beating(self, timeout: float | None, also: Sequence[int]) -> list[int]:
        if self.beat_every is None:
            return self._wait(timeout, also)
        deadline = Deadline(timeout)
        while True:
            remaining = deadline.remaining
            limit = self.beat_every if remaining is None else min(remaining, self.beat_every)
            ready = self._wait(limit, also)
            if ready or deadline.passed:
                return ready
            self.beat()

    def _wait(self, timeout: float | None, also: Sequence[int]) -> list[int]:
        """Return the descriptors that are ready; our own two are registered once and for all."""
        limit = None if timeout is None else max(0.0, timeout) * 1000
        for descriptor in also:
            self._poll.register(descriptor, select.POLLIN)
        try:
            return [descriptor for descriptor, _ in self._poll.poll(limit)]
        finally:
            for descriptor in also:
                self._poll.unregister(descriptor)

    def _read(self) -> None:
        try:
            data = self.connection.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        for message in self._decoder.feed(data):
            if message.kind == CALL:
                self._refuse(message)
            else:
                self._messages.append(message)
        if not data:
            self.lost = True

    def _refuse(self, call: Message) -> None:
        """Answer that this process is not a supervisor."""
        error = errors.to_fields(errors.NotSupported(call.fields["name"]))
        self.send(REPLY, {"number": call.fields["number"], "error": error})


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new link, neither kept over exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def close_quietly(descriptor: int) -> None:
    """Close a descriptor that may be closed already."""
    with contextlib.suppress(OSError):
        os.close(descriptor)
