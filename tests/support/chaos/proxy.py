"""The proxy itself: its connections, the conditions that hold, the traps, and what it has seen."""

import asyncio
import collections
import json
import time
from pathlib import Path
from typing import Any

from tests.support.chaos.connection import Connection
from tests.support.chaos.rules import Rule, Seen, Toxic, name_of

_KEPT = 50_000


class Proxy:
    """Forwards connections to a PostgreSQL and records what passes; see `verbs` for its control.

    Args:
        upstream: The server: a host or a socket's directory, and the port.
        log: Where every statement and event is written as a line of JSON; no value, no password.
    """

    def __init__(self, upstream: tuple[str, int], log: str | None = None) -> None:
        self.upstream = upstream
        self.connections: dict[int, Connection] = {}
        self.toxics: dict[int, Toxic] = {}
        self.rules: dict[int, Rule] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.guards: set[int] = set()
        self.statements: collections.deque[Seen] = collections.deque(maxlen=_KEPT)
        self.events: collections.deque[dict[str, Any]] = collections.deque(maxlen=_KEPT)
        self.last_number = 0
        self.stopping = asyncio.Event()
        self._last_id = 0
        self._log = Path(log).open("a", buffering=1) if log else None  # noqa: SIM115 - kept open

    def next_id(self) -> int:
        """Return a number for a connection, a rule or a toxic."""
        self._last_id += 1
        return self._last_id

    def event(self, kind: str, connection: Connection, **about: Any) -> None:
        """Record what happened."""
        event = {
            "t": time.time(),
            "event": kind,
            "conn": connection.id,
            "app": connection.app,
            **about,
        }
        self.events.append(event)
        self._write(event)

    def seen(self, connection: Connection, kind: str, sql: str) -> Seen:
        """Record a statement, and give it the rules that it meets."""
        self.last_number += 1
        seen = Seen(self.last_number, connection, kind, sql, behind=connection.said)
        connection.said = name_of(sql)
        self.statements.append(seen)
        seen.rules = [rule for rule in list(self.rules.values()) if rule.counts(seen)]
        if self._log:
            self._write({"t": time.time(), "event": "stmt", **seen.public()})
        return seen

    async def serve_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one connection to its end."""
        connection = Connection(self, self.next_id(), (reader, writer))
        self.connections[connection.id] = connection
        connection.task = asyncio.current_task()
        try:
            await connection.run()
        except asyncio.CancelledError:
            connection.abort()
        finally:
            del self.connections[connection.id]

    def drop(self, connection: Connection, reset: bool = True) -> None:
        """Break a connection, whatever it waits for."""
        connection.abort(reset=reset)
        if connection.task is not None:
            connection.task.cancel()

    def _write(self, line: dict[str, Any]) -> None:
        if self._log:
            self._log.write(json.dumps(line) + "\n")
