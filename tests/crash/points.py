"""Where something can break: a role, a statement, which occurrence, and which side of it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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


def points_of(counts: Counts, roles: Iterable[str]) -> Iterator[CrashPoint]:
    """Yield every crash point: of each statement the first, the second and the last occurrence."""
    wanted = set(roles)
    for (role, statement), count in sorted(counts.items()):
        if role not in wanted:
            continue
        for occurrence in sorted({1, min(2, count), count}):
            for point in POINTS:
                yield CrashPoint(role, statement, occurrence, point)
