"""Where something can break: a role, a statement, which occurrence, and which side of it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from durable_otp.storage.statements import catalogue
from tests.support.chaos import POINTS

Counts = Counter[tuple[str, str]]
"""How often a role has executed a statement."""

SIBLINGS = (
    "registrar",
    "stale_job_recovery",
    "zombie_recovery",
    "sleep_waker",
    "scheduler",
    "wait_timeouts",
    "pruner",
)
Deciding = frozenset[tuple[str, str]]
"""Who commits something with which statement."""
OF_CONNECTIONS = ("BEGIN", "ROLLBACK", "DEALLOCATE", "SELECT", "SET", "session")
_WRITES = re.compile(
    r"INSERT|(?<!FOR )(?<!NO KEY )UPDATE|DELETE|CREATE|ALTER|DROP|\bNOTIFY|pg_notify"
    r"|_moves\(|pass_turns\(",
    re.IGNORECASE,
)
_ROLE = re.compile(r"durable:(?P<role>\w+)")


@dataclass(frozen=True, order=True)
class CrashPoint:
    """One moment at which something breaks."""

    role: str
    statement: str
    occurrence: int
    point: str

    @property
    def match(self) -> dict[str, Any]:
        """Which statements the proxy counts."""
        return {"app": rf"^durable:{self.role}\b", "name": f"^{self.statement}$"}

    def __str__(self) -> str:
        return f"{self.role} {self.statement}#{self.occurrence} {self.point}"


def role_of(app: str) -> str:
    """Return the role that an ``application_name`` tells of."""
    found = _ROLE.match(app)
    return found["role"] if found else app


def counted(statements: Iterable[Mapping[str, Any]]) -> Counts:
    """Count the statements that the proxy saw."""
    return Counter((role_of(each["app"]), each["name"]) for each in statements)


def changes(statement: str) -> bool:
    """Return whether a statement changes rows; what is in no catalogue may."""
    text = catalogue().get(statement)
    return statement not in OF_CONNECTIONS and (text is None or bool(_WRITES.search(text.sql)))


def deciding(statements: Iterable[Mapping[str, Any]]) -> Deciding:
    """Return with which statements something was committed: all others leave the rows alone."""
    within: set[int] = set()
    found = set()
    for each in statements:
        name, connection = each["name"], each["conn"]
        if name == "BEGIN":
            within.add(connection)
        elif name == "COMMIT" or (changes(name) and connection not in within):
            found.add((role_of(each["app"]), name))
        if name in {"COMMIT", "ROLLBACK"}:
            within.discard(connection)
    return frozenset(found)


def points_of(counts: Counts, roles: Iterable[str]) -> Iterator[CrashPoint]:
    """Yield every crash point: of each statement the first, the second and the last occurrence."""
    wanted = set(roles)
    for (role, statement), count in sorted(counts.items()):
        if role not in wanted:
            continue
        for occurrence in sorted({1, min(2, count), count}):
            for point in POINTS:
                yield CrashPoint(role, statement, occurrence, point)
