"""What a trap is: which statement it waits for, at which point of it, and what it does there."""

import asyncio
import re
import signal
from dataclasses import dataclass, field
from typing import Any, Protocol

POINTS = ("before", "sent", "after")
BREAKS = ("reset", "close", "blackhole", "orphan_server", "server_gone")
ACTIONS = ("hold", "kill", "none", *BREAKS)
TOXICS = ("delay", "rate", "stall", "blackhole", "flaky", "refuse", "hang")
TARGETS = ("client", "parent")
_NAMED = re.compile(r"/\* (\w+) \*/")
_WORD = re.compile(r"\w+")
_PLAIN = ("BEGIN", "COMMIT", "ROLLBACK", "DEALLOCATE", "SELECT", "SET")
_OF_CONNECTION = {"app": "application_name", "user": "user", "db": "database"}
_PATTERNS = (*_OF_CONNECTION, "sql", "name", "behind")


class Speaker(Protocol):
    """The connection that a statement came over."""

    id: int
    params: dict[str, str]
    backend_pid: int | None

    @property
    def app(self) -> str:
        """Its ``application_name``."""


def name_of(sql: str) -> str:
    """Return what a statement is called: by its comment, else by its first word."""
    named = _NAMED.match(sql)
    if named:
        return named[1]
    if "set_config(" in sql:
        return "session"
    word = _WORD.search(sql)
    first = word[0].upper() if word else "?"
    return first if first in _PLAIN else "script"


@dataclass
class Seen:
    """One statement on its way: a Query or an Execute."""

    number: int
    connection: Speaker
    kind: str
    sql: str
    tag: str | None = None
    error: str | None = None
    done: bool = False
    behind: str = ""
    """What the connection has said before it."""
    rules: list["Rule"] = field(default_factory=list)

    def public(self) -> dict[str, Any]:
        """Return it as JSON; never a bound value."""
        return {
            "seq": self.number,
            "conn": self.connection.id,
            "app": self.connection.app,
            "backend": self.connection.backend_pid,
            "kind": self.kind,
            "name": name_of(self.sql),
            "sql": self.sql,
            "tag": self.tag,
            "error": self.error,
            "done": self.done,
        }


class Matcher:
    """Which connections and statements are meant: all keys that are given have to fit.

    ``app``, ``user``, ``db``, ``sql``, ``name`` and ``behind`` (what the connection's statement
    before was called) are patterns that are searched, ``conn`` is a number, ``kind`` is Q or E.
    """

    def __init__(self, wanted: dict[str, Any] | None = None) -> None:
        self.wanted = dict(wanted or {})
        unknown = set(self.wanted) - {"conn", "kind", *_PATTERNS}
        if unknown:
            raise ValueError(f"unknown match keys {sorted(unknown)}")
        self._patterns = {
            key: re.compile(self.wanted[key], re.DOTALL | re.IGNORECASE)
            for key in _PATTERNS
            if key in self.wanted
        }

    def fits_connection(self, connection: Speaker) -> bool:
        """Return whether a connection is meant."""
        if self.wanted.get("conn", connection.id) != connection.id:
            return False
        return all(
            self._fits(key, connection.params.get(parameter, ""))
            for key, parameter in _OF_CONNECTION.items()
        )

    def fits(self, seen: Seen) -> bool:
        """Return whether a statement is meant."""
        return (
            self.fits_connection(seen.connection)
            and self.wanted.get("kind", seen.kind) == seen.kind
            and self._fits("sql", seen.sql)
            and self._fits("name", name_of(seen.sql))
            and self._fits("behind", seen.behind)
        )

    def _fits(self, key: str, text: str) -> bool:
        pattern = self._patterns.get(key)
        return pattern is None or pattern.search(text) is not None


class Rule:
    """A one-shot trap at the k-th matching statement from the moment it is armed.

    Args:
        number: Its id.
        k: Which of the matching statements, counted from 1 over all connections.
        point: One of `POINTS`.
        action: One of `ACTIONS`.
        match: See `Matcher`.
        sig: What ``kill`` sends.
        target: Whom ``kill`` hits: the process that holds the connection, or its parent.
        then: How the connection breaks after a kill; None for what fits the kill.
        newer: Whether only connections count that were opened after it was armed.
    """

    def __init__(
        self,
        number: int,
        *,
        k: int = 1,
        point: str = "before",
        action: str = "reset",
        match: dict[str, Any] | None = None,
        sig: int = signal.SIGKILL,
        target: str = "client",
        then: str | None = None,
        newer: bool = False,
    ) -> None:
        _check("point", point, POINTS)
        _check("action", action, ACTIONS)
        _check("target", target, TARGETS)
        _check("then", then, (None, "release", *BREAKS))
        self.id, self.k, self.point, self.action = number, int(k), point, action
        self.match, self.sig, self.target, self.then = Matcher(match), int(sig), target, then
        self.newer = newer
        self.count = 0
        self.fired: Seen | None = None
        self.sprung = asyncio.Event()
        self.release = asyncio.Event()
        self.release_how = "release"
        self.detail: dict[str, Any] = {}

    def counts(self, seen: Seen) -> bool:
        """Count a statement; return whether it is the one."""
        is_old = self.newer and seen.connection.id < self.id
        if self.fired is not None or is_old or not self.match.fits(seen):
            return False
        self.count += 1
        return self.count == self.k

    def public(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "id": self.id,
            "k": self.k,
            "point": self.point,
            "action": self.action,
            "count": self.count,
            "fired": self.fired is not None,
            "stmt": self.fired.public() if self.fired else None,
            **self.detail,
        }


class Toxic:
    """A condition that holds on matching connections until it is removed."""

    _needed = {"delay": {"ms"}, "rate": {"bps"}, "flaky": {"p"}}  # noqa: RUF012 - never changed

    def __init__(
        self, number: int, kind: str, way: str = "both", match: Any = None, **values: Any
    ) -> None:
        _check("kind", kind, TOXICS)
        _check("dir", way, ("up", "down", "both"))
        missing = self._needed.get(kind, set()) - set(values)
        if missing:
            raise ValueError(f"{kind} needs {sorted(missing)}")
        self.id, self.kind, self.way, self.values = number, kind, way, values
        self.match = Matcher(match)

    def public(self) -> dict[str, Any]:
        """Return it as JSON."""
        about = {"id": self.id, "kind": self.kind, "dir": self.way, "match": self.match.wanted}
        return about | self.values


def _check(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, not {value!r}")
