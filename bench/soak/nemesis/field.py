"""Where the nemesis strikes, and what a blow is."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

from bench.soak.nodes import Node
from bench.soak.server import Server
from tests.support.chaos import ChaosProxy

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Blow:
    """One fault: what, when (seconds from the start of its cycle), for how long, and on whom.

    ``picks`` are numbers from 0 to 1 that choose among what is there when it falls.
    """

    at: float
    kind: str
    seconds: float
    picks: tuple[float, ...]

    def pick(self, things: list[Thing], number: int = 0) -> Thing | None:
        """Choose one of several things; None when there are none."""
        return things[int(self.picks[number] * len(things))] if things else None

    def between(self, least: float, most: float, number: int = 1) -> float:
        """Choose a number."""
        return least + (most - least) * self.picks[number]


@dataclass
class Field:
    """Everything that can be broken.

    Attributes:
        proxies: One for each node, and one more for the load.
        killed: When a process was killed, and what was killed that took it along, by its id.
    """

    server: Server
    nodes: list[Node]
    proxies: list[ChaosProxy]
    schema: str
    killed: dict[int, tuple[float, str]] = field(default_factory=dict)


Strike = Callable[[Field, Blow], AbstractContextManager[str]]
"""Entering breaks something and says what; leaving mends it."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        shortest, longest: Seconds that it lasts; both 0 for one of a moment.
        lacks: Says what the machine lacks for it, None if nothing.
    """

    name: str
    strike: Strike
    shortest: float = 0.0
    longest: float = 0.0
    lacks: Callable[[Field], str | None] = lambda _: None
