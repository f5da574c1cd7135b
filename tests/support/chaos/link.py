"""One direction of one connection: an ordered queue that a task of its own delivers."""

import asyncio
import contextlib
import random
from typing import Protocol

from tests.support.chaos.rules import Toxic

_MOST_QUEUED = 8 << 20
_LARGEST_WRITE = 1 << 18
_STALL_LOOK = 0.01
_RATE_STEPS = 50
Item = tuple[float, bytes | None]


class Owner(Protocol):
    """The connection that a link belongs to."""

    lost: set[str]

    def toxic(self, kind: str, way: str) -> Toxic | None:
        """Return the toxic of a kind that holds here."""


class Link:
    """Delivers bytes later, slower or not at all, and never in another order; None is the end."""

    def __init__(self, owner: Owner, way: str, writer: asyncio.StreamWriter) -> None:
        self._owner, self._way, self._writer = owner, way, writer
        self._queue: asyncio.Queue[Item] = asyncio.Queue()
        self._next: Item | None = None
        self._queued = 0
        self._room = asyncio.Event()
        self._room.set()
        self._last_due = 0.0
        self.task = asyncio.create_task(self._pump())

    async def send(self, data: bytes | None) -> None:
        """Queue bytes; wait while too many are queued already."""
        self._last_due = max(self._last_due, asyncio.get_running_loop().time() + self._delay())
        await self._room.wait()
        self._queued += len(data or b"")
        if self._queued > _MOST_QUEUED:
            self._room.clear()
        self._queue.put_nowait((self._last_due, data))

    async def flush(self) -> None:
        """Wait until everything queued is delivered, or thrown away."""
        await self._queue.join()

    def _delay(self) -> float:
        toxic = self._owner.toxic("delay", self._way)
        if toxic is None:
            return 0.0
        jitter: float = toxic.values.get("jitter", 0)
        return max(0.0, float(toxic.values["ms"]) + random.uniform(-1, 1) * jitter) / 1000

    async def _pump(self) -> None:
        while True:
            due, data = self._next or await self._queue.get()
            self._next = None
            taken, data = self._gathered(data) if due <= self._now() else (1, data)
            try:
                await asyncio.sleep(max(0.0, due - self._now()))
                await self._deliver(data)
            except OSError:
                pass
            finally:
                self._queued -= len(data or b"")
                if self._queued <= _MOST_QUEUED // 2:
                    self._room.set()
                for _ in range(taken):
                    self._queue.task_done()

    def _gathered(self, data: bytes | None) -> tuple[int, bytes | None]:
        """Return how many items one write takes and what it writes: all that is due by now."""
        taken = 1
        while data is not None and len(data) < _LARGEST_WRITE and not self._queue.empty():
            due, more = self._queue.get_nowait()
            if more is None or due > self._now():
                self._next = due, more
                break
            data += more
            taken += 1
        return taken, data

    async def _deliver(self, data: bytes | None) -> None:
        while self._owner.toxic("stall", self._way):  # noqa: ASYNC110 - toxics are looked up
            await asyncio.sleep(_STALL_LOOK)
        if self._way in self._owner.lost or self._owner.toxic("blackhole", self._way):
            self._owner.lost.add(self._way)
        elif data is None:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.write_eof()
        else:
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        toxic = self._owner.toxic("rate", self._way)
        if toxic is None:
            self._writer.write(data)
        else:
            per_second = float(toxic.values["bps"])
            step = max(1, int(per_second / _RATE_STEPS))
            for at in range(0, len(data), step):
                self._writer.write(data[at : at + step])
                await asyncio.sleep(len(data[at : at + step]) / per_second)
        await self._writer.drain()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
