"""What a trap does when it springs: break the connection in one of five ways, or kill."""

import asyncio
import os
import signal
from collections.abc import Iterable
from typing import Any, Protocol

from tests.support.chaos.owners import is_descendant, parent_of, wait_gone
from tests.support.chaos.rules import Rule, Seen

RELEASE = "release"


class Board(Protocol):
    """What a trap asks of the proxy."""

    guards: set[int]

    def event(self, kind: str, connection: Any, **about: Any) -> None:
        """Record what happened."""


class Victim(Protocol):
    """The connection that a trap springs on."""

    board: Any
    lost: set[str]

    def abort(self, side: str = "both", reset: bool = True) -> None:
        """Close sockets."""

    def owners(self, among: Iterable[int] = ()) -> list[int]:
        """Return the pids that hold the client's end."""


async def spring(victim: Victim, rule: Rule, seen: Seen) -> bool:
    """Do what a rule says; return whether the connection goes on."""
    rule.fired = seen
    board: Board = victim.board
    about = {"rule": rule.id, "point": rule.point, "action": rule.action, "stmt": seen.public()}
    board.event("fired", victim, **about)
    how = RELEASE if rule.action == "none" else rule.action
    if rule.action == "kill":
        how = await _kill(victim, rule)
    rule.sprung.set()
    if rule.action == "hold":
        await rule.release.wait()
        how = rule.release_how
    return await break_(victim, how)


async def break_(victim: Victim, how: str) -> bool:
    """Break a connection in one of the ways of `rules.BREAKS`; return whether it goes on."""
    match how:
        case "reset" | "close":
            victim.abort(reset=how == "reset")
            return False
        case "blackhole":
            victim.lost |= {"up", "down"}
        case "orphan_server" | "server_gone":  # one end sees a reset, the other learns nothing
            victim.lost |= {"up", "down"}
            victim.abort("client" if how == "orphan_server" else "server")
            await asyncio.Event().wait()
    return True


def aim(victim: Victim, rule: Rule) -> None:
    """Find out in time whom a kill will hit: looking takes longer than some clients live."""
    if rule.action == "kill" and "owners" not in rule.detail:
        rule.detail["owners"] = victim.owners(victim.board.guards) or victim.owners()


async def _kill(victim: Victim, rule: Rule) -> str:
    """Signal the process that holds the connection; return how the connection breaks."""
    aim(victim, rule)
    owners = rule.detail["owners"]
    if not owners:
        rule.detail["kill"] = "no owner found"
        return RELEASE
    pid = owners[0] if rule.target == "client" else parent_of(owners[0])
    guards: set[int] = victim.board.guards
    if pid in (0, 1, os.getpid()) or not any(is_descendant(pid, guard) for guard in guards):
        rule.detail["kill"] = f"refused: {pid} is not a descendant of a guarded pid"
        return RELEASE
    try:
        os.kill(pid, rule.sig)
    except ProcessLookupError:
        rule.detail["kill"] = f"too late: {pid} has ended"
        return RELEASE
    rule.detail.update(kill="sent", victim=pid, signal=rule.sig)
    is_final = rule.sig == signal.SIGKILL
    if is_final:
        rule.detail["gone"] = await wait_gone(pid)
    return rule.then or ("close" if is_final and rule.target == "client" else RELEASE)
