"""One client's connection: its statements are followed, and traps spring at the right moment."""

import asyncio
import collections
import contextlib
import os
import random
import socket
import struct
from collections.abc import Iterable
from typing import Any, Protocol

from tests.support.chaos import traps, wire
from tests.support.chaos.link import Link
from tests.support.chaos.owners import socket_owners
from tests.support.chaos.rules import Rule, Seen, Toxic

UP, DOWN = "up", "down"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_UNATTRIBUTED = "ANS"  # notifications, notices and settings come unasked


class Switchboard(Protocol):
    """What a connection asks of its proxy."""

    upstream: tuple[str, int]
    toxics: dict[int, Toxic]
    counts: "collections.Counter[str]"
    guards: set[int]

    def event(self, kind: str, connection: "Connection", **about: Any) -> None:
        """Record what happened."""

    def seen(self, connection: "Connection", kind: str, sql: str) -> Seen:
        """Record a statement, and give it the rules that it meets."""


class Connection:
    """The proxy's two sockets for one client, and what is on its way between them."""

    def __init__(self, board: Switchboard, number: int, client: Streams) -> None:
        self.board, self.id = board, number
        self._reader, self._writer = client
        self._server: Streams | None = None
        self.params: dict[str, str] = {}
        self.backend_pid: int | None = None
        self.counts: collections.Counter[str] = collections.Counter()
        self.transaction = "?"
        self.said = ""
        """The name of its last statement."""
        self.lost: set[str] = set()
        """The directions in which bytes were thrown away."""
        self.dead = False
        self.task: asyncio.Task[None] | None = None
        self._plans: dict[str, str] = {}
        self._portals: dict[str, str] = {}
        self._held: list[bytes] = []  # Parse, Bind and Describe, until their Execute or Sync
        self._open: collections.deque[Seen | None] = collections.deque()  # None ends a group
        self._traps: collections.deque[asyncio.Future[None]] = collections.deque()
        self._ends = (
            self._writer.get_extra_info("peername")[:2],
            self._writer.get_extra_info("sockname")[:2],
        )

    @property
    def app(self) -> str:
        """Its ``application_name``."""
        return self.params.get("application_name", "")

    def public(self, owners: bool = False) -> dict[str, Any]:
        """Return it as JSON."""
        about = {
            "id": self.id,
            "app": self.app,
            "user": self.params.get("user", ""),
            "db": self.params.get("database", ""),
            "backend": self.backend_pid,
            "counts": dict(self.counts),
            "txn": self.transaction,
            "dead": self.dead,
            "blackholed": sorted(self.lost),
        }
        return about | ({"client_pids": self.owners()} if owners else {})

    def owners(self, among: Iterable[int] = ()) -> list[int]:
        """Return the pids that hold the client's end: all, or those that descend from `among`."""
        return [pid for pid in socket_owners(*self._ends, among) if pid != os.getpid()]

    def toxic(self, kind: str, way: str = "both") -> Toxic | None:
        """Return the toxic of a kind that holds here."""
        for toxic in self.board.toxics.values():
            right_way = way == "both" or toxic.way in (way, "both")
            if toxic.kind == kind and right_way and toxic.match.fits_connection(self):
                return toxic
        return None

    def abort(self, side: str = "both", reset: bool = True) -> None:
        """Close the sockets of a side, by a reset or in good order."""
        server = self._server[1] if self._server else None
        for name, writer in (("client", self._writer), ("server", server)):
            if writer is not None and side in (name, "both"):
                _close(writer, reset)
        self.dead = self.dead or side == "both"

    async def run(self) -> None:
        """Serve the client until either end has gone."""
        if self.toxic("refuse"):
            self.abort()
            return
        if self.toxic("hang"):
            await asyncio.Event().wait()
        try:
            code, self.params, startup = await wire.read_startup(self._reader, self._writer)
            self._server = await self._dial()
        except wire.ENDED:
            self.abort(reset=False)
        except OSError as error:
            self.board.event("upstream_failed", self, error=str(error))
            self.abort()
        else:
            await self._serve(code, startup)

    async def _dial(self) -> Streams:
        host, port = self.board.upstream
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _serve(self, code: int, startup: bytes) -> None:
        assert self._server is not None
        self._up = Link(self, UP, self._server[1])
        self._down = Link(self, DOWN, self._writer)
        try:
            await self._up.send(startup)
            if code == wire.CANCEL_REQUEST:
                self.board.counts["cancel"] += 1
                await self._up.flush()
                await self._server[0].read()
            else:
                self.board.event("connect", self)
                await self._relay()
                self.board.event("disconnect", self)
        finally:
            self._up.task.cancel()
            self._down.task.cancel()
            self.abort(reset=False)

    async def _relay(self) -> None:
        front = asyncio.create_task(self._from_client())
        back = asyncio.create_task(self._from_server())
        try:
            await asyncio.wait({front, back}, return_when=asyncio.FIRST_COMPLETED)
            error = front.exception() if front.done() else None
            if error is None:
                await back
            else:
                self.board.event("internal_error", self, error=repr(error))
        finally:
            front.cancel()
            back.cancel()

    # from the client to the server

    async def _from_client(self) -> None:
        while not self.dead:
            try:
                kind, body, raw = await wire.read_message(self._reader)
            except wire.ENDED:
                await self._up.send(None)
                await self._stay_silent()
                return
            await self._front(kind, body, raw)

    async def _front(self, kind: str, body: bytes, raw: bytes) -> None:
        self.counts[kind] += 1
        self.board.counts[kind] += 1
        if await self._is_flaky():
            return
        if kind in "PBDC":
            self._prepare(kind, body)
            self._held.append(raw)
            return
        if kind in "QE" and not await self._begin(kind, body):
            self._held.clear()
            return
        if kind in "QSF":
            self._open.append(None)
        sprung = self._expected_trap() if kind in "QSF" else None
        data = b"".join(self._held) + raw
        self._held.clear()
        await self._up.send(data)
        if sprung is not None:
            await sprung  # nothing later leaves before the trap has sprung

    async def _is_flaky(self) -> bool:
        toxic = self.toxic("flaky")
        if toxic is None or random.random() >= toxic.values["p"]:
            return False
        how = toxic.values.get("action", "reset")
        self.board.event("flaky", self, action=how)
        return not await traps.break_(self, how)

    def _prepare(self, kind: str, body: bytes) -> None:
        if kind == "P":
            name, sql = wire.two_strings(body)
            self._plans[name] = sql
        elif kind == "B":
            portal, name = wire.two_strings(body)
            self._portals[portal] = self._plans.get(name, "?")

    async def _begin(self, kind: str, body: bytes) -> bool:
        """Follow a statement; return False if a trap before it broke the connection."""
        key = wire.first_string(body)
        seen = self.board.seen(self, kind, key if kind == "Q" else self._portals.get(key, "?"))
        for rule in [rule for rule in seen.rules if rule.point == "before"]:
            if not await traps.spring(self, rule, seen):
                return False
        for rule in later(seen):
            traps.aim(self, rule)
        self._open.append(seen)
        return True

    def _expected_trap(self) -> "asyncio.Future[None] | None":
        """Return what is done when the traps of the group that ends here have sprung."""
        group = []
        for seen in list(self._open)[-2::-1]:
            if seen is None:
                break
            group.append(seen)
        if not any(later(seen) for seen in group):
            return None
        self._traps.append(asyncio.get_running_loop().create_future())
        return self._traps[-1]

    # from the server to the client

    async def _from_server(self) -> None:
        assert self._server is not None
        withhold = False
        while True:
            try:
                kind, body, raw = await wire.read_message(self._server[0])
            except wire.ENDED:
                await self._end_from_server()
                return
            if kind == "K":
                (self.backend_pid,) = struct.unpack("!I", body[:4])
            withhold = self._answered(kind, body) or withhold
            if not withhold:
                await self._down.send(raw)
            if kind == "Z":
                self.transaction = body.decode()
                if not await self._end_group():
                    return
                withhold = False

    async def _end_from_server(self) -> None:
        if not self.dead:
            await self._down.send(None)
        await self._stay_silent()
        await self._down.flush()
        if not self.dead:
            self.abort("client", reset=False)

    async def _stay_silent(self) -> None:
        """Keep a black hole open: the other end must not learn that this one has gone."""
        if self.lost or self.toxic("blackhole"):
            await asyncio.Event().wait()

    def _answered(self, kind: str, body: bytes) -> bool:
        """Follow an answer; return whether it is to be withheld from here on."""
        current = next((seen for seen in self._open if seen and not seen.done), None)
        if current is None or kind in _UNATTRIBUTED or kind == "Z":
            return False
        if kind in "CIs":
            current.tag = wire.text(body.rstrip(b"\0")) if kind == "C" else kind
            current.done = current.kind == "E"
        elif kind == "E":
            current.error = wire.sqlstate(body)
            if current.kind == "E":
                self._skip_group()
        return any(rule.point == "sent" for rule in current.rules)

    def _skip_group(self) -> None:
        """After an error the server reads on to the next Sync and answers nothing."""
        for seen in self._open:
            if seen is None:
                return
            seen.done = True

    async def _end_group(self) -> bool:
        """Spring the traps of the group that is answered; return False if that broke it."""
        sprung = []
        while self._open:
            seen = self._open.popleft()
            if seen is None:
                break
            seen.done = True
            sprung += [(rule, seen) for rule in later(seen)]
        for rule, seen in sprung:
            if rule.point == "after":
                await self._down.flush()
            if not await traps.spring(self, rule, seen):
                return False
        if sprung and self._traps:
            self._traps.popleft().set_result(None)
        return True


def later(seen: Seen) -> list[Rule]:
    """Return the rules that spring once a statement has been executed."""
    return [rule for rule in seen.rules if rule.point != "before"]


def _close(writer: asyncio.StreamWriter, reset: bool) -> None:
    if not reset:
        writer.close()
        return
    with contextlib.suppress(OSError, AttributeError):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
