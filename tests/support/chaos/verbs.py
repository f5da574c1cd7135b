"""What a harness may ask of the proxy while it runs: each verb is a coroutine that returns JSON."""

import asyncio
import contextlib
import os
from typing import Any

from tests.support.chaos.proxy import Proxy
from tests.support.chaos.rules import Matcher, Rule, Toxic

Answer = dict[str, Any]


class Verbs:
    """The verbs of one proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def handle(self, request: dict[str, Any]) -> Answer:
        """Do what a request says."""
        verb = request.pop("cmd")
        method = getattr(self, f"do_{verb}", None)
        if method is None:
            raise ValueError(f"unknown verb {verb!r}")
        answer: Answer = await method(**request)
        return answer

    async def do_ping(self) -> Answer:
        """Return the proxy's pid."""
        return {"pid": os.getpid()}

    async def do_status(self, owners: bool = False) -> Answer:
        """Return connections, rules and toxics; with `owners`, the pids behind each connection."""
        proxy = self._proxy
        return {
            "counts": dict(proxy.counts),
            "statements": proxy.last_number,
            "conns": [each.public(owners) for each in proxy.connections.values()],
            "rules": [each.public() for each in proxy.rules.values()],
            "toxics": [each.public() for each in proxy.toxics.values()],
        }

    async def do_arm(self, **rule: Any) -> Answer:
        """Set a trap; see `Rule`."""
        armed = Rule(self._proxy.next_id(), **rule)
        self._proxy.rules[armed.id] = armed
        return armed.public()

    async def do_disarm(self, id: int | None = None) -> Answer:  # noqa: A002 - the protocol's word
        """Take away a trap, or all; what a trap holds goes on."""
        gone = [number for number in self._proxy.rules if id in (None, number)]
        for number in gone:
            self._proxy.rules.pop(number).release.set()
        return {"disarmed": gone}

    async def do_rule(self, id: int) -> Answer:  # noqa: A002
        """Return what has become of a trap."""
        return self._proxy.rules[id].public()

    async def do_wait(self, id: int, timeout: float = 10.0) -> Answer:  # noqa: A002, ASYNC109
        """Wait until a trap has sprung."""
        rule = self._proxy.rules[id]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(rule.sprung.wait(), timeout)
        return rule.public()

    async def do_release(self, id: int, how: str = "release") -> Answer:  # noqa: A002
        """Let go of what a trap holds, or break it."""
        rule = self._proxy.rules[id]
        rule.release_how = how
        rule.release.set()
        return rule.public()

    async def do_toxic(
        self,
        kind: str,
        dir: str = "both",  # noqa: A002 - the protocol's word
        match: Any = None,
        **values: Any,
    ) -> Answer:
        """Make a condition hold; see `rules.TOXICS`."""
        toxic = Toxic(self._proxy.next_id(), kind, dir, match, **values)
        self._proxy.toxics[toxic.id] = toxic
        return {"id": toxic.id}

    async def do_heal(self, id: int | None = None) -> Answer:  # noqa: A002
        """Remove a toxic or all; a connection that has lost bytes cannot go on and is reset."""
        for number in [each for each in self._proxy.toxics if id in (None, each)]:
            del self._proxy.toxics[number]
        hit = [each for each in self._proxy.connections.values() if each.lost]
        for connection in hit:
            self._proxy.drop(connection)
        return {"reset": [connection.id for connection in hit]}

    async def do_cut(self, how: str = "reset", match: Any = None) -> Answer:
        """Break every matching connection now, as `rules.BREAKS` says."""
        matcher = Matcher(match)
        hit = [c for c in self._proxy.connections.values() if matcher.fits_connection(c)]
        for connection in hit:
            match how:
                case "reset" | "close":
                    self._proxy.drop(connection, reset=how == "reset")
                case "blackhole":
                    connection.lost |= {"up", "down"}
                case "orphan_server" | "server_gone":
                    connection.lost |= {"up", "down"}
                    connection.abort("client" if how == "orphan_server" else "server")
                case _:
                    raise ValueError(f"a connection cannot be cut by {how!r}")
        return {"cut": [connection.id for connection in hit]}

    async def do_guard(self, pid: int) -> Answer:
        """Allow ``kill`` to hit descendants of a process, and nobody else."""
        self._proxy.guards.add(int(pid))
        return {"guards": sorted(self._proxy.guards)}

    async def do_statements(self, since: int = 0, match: Any = None, brief: bool = False) -> Answer:
        """Return the statements after a number; `brief` leaves their SQL out."""
        matcher = Matcher(match)
        found = [s for s in self._proxy.statements if s.number > since and matcher.fits(s)]
        listed = [seen.public() for seen in found]
        for each in listed if brief else []:
            del each["sql"]
        return {"statements": listed, "seq": self._proxy.last_number}

    async def do_events(self, kind: str | None = None) -> Answer:
        """Return what happened."""
        return {"events": [e for e in self._proxy.events if kind in (None, e["event"])]}

    async def do_upstream(self, host: str, port: int) -> Answer:
        """Send new connections elsewhere."""
        self._proxy.upstream = (host, int(port))
        return {"upstream": [host, int(port)]}

    async def do_shutdown(self) -> Answer:
        """End the proxy."""
        self._proxy.stopping.set()
        return {}
