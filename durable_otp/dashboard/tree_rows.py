"""A node's published tree as the rows of a table, each knowing its depth. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from durable_otp.runtime.tree_view import flatten
from durable_otp.storage.processes import ROOT

GAVE_UP = "died too often"
"""In how a manager ended that gave up, and had its own supervisor see to it."""
BEYOND = {
    "backoff": "beyond the budget ever more slowly",
    "shutdown": "beyond the budget it ends with them, and its supervisor starts it anew",
}
PATIENCE = {"infinity": "as long as it needs to stop", "brutal_kill": "killed at a stop"}


@dataclass(frozen=True)
class Budget:
    """How often somebody may be restarted within a period, and when they were."""

    whose: str
    most: int
    seconds: float
    restarted_at: tuple[str, ...]

    def spent(self, now: datetime) -> int:
        """Return how many restarts are within the period."""
        since = now - timedelta(seconds=self.seconds)
        return sum(datetime.fromisoformat(at) >= since for at in self.restarted_at)

    def tier(self, now: datetime) -> str:
        """Return what it means: nothing spent, some of it, or that the next is one too many."""
        spent = self.spent(now)
        return "bad" if spent and spent >= self.most else "warn" if spent else "idle"


@dataclass(frozen=True)
class TreeRow:
    """One process; ``guides`` say for each ancestor whether it has more children below.

    ``path`` is its place in the tree, as orders to it name it.
    """

    process: dict[str, Any]
    level: int
    position: int
    siblings: int
    guides: tuple[bool, ...]
    path: str

    @property
    def budgets(self) -> list[Budget]:
        """Its own budget of restarts, and that which its workers have together."""
        found = (("", self.process.get("budget")), ("workers ", self.process.get("workers_budget")))
        return [
            Budget(whose, shown["most"], shown["seconds"], tuple(shown["restarted_at"]))
            for whose, shown in found
            if shown
        ]

    @property
    def guides_below(self) -> tuple[bool, ...]:
        """Which lines go on below this row, before its first child."""
        mine = (*self.guides, self.position < self.siblings) if self.level > 1 else ()
        return (*mine, True) if self.process.get("children") else mine

    @property
    def has_escalated(self) -> bool:
        """Whether the one before it ended because those below had died too often."""
        return GAVE_UP in (self.process.get("last_exit") or "")

    @property
    def threads(self) -> str:
        """How many executions share a process, and how many of a worker's threads are busy."""
        running = self.process.get("executions")
        if running is not None:
            return f"{len(running)} busy"
        return f"{self.process['threads']} each" if self.process.get("threads") else ""

    @property
    def policy(self) -> str:
        """How it treats those below it, when it is restarted itself, and how it is stopped."""
        found = []
        supervision, policy = self.process.get("supervision"), self.process.get("policy")
        if supervision:
            beyond = BEYOND[supervision["on_exceeded"]]
            found.append(f"{supervision['strategy'].replace('_', ' ')}; {beyond}")
        if policy:
            shutdown = policy["shutdown"]
            patience = f"{shutdown:g} s to stop" if _is_number(shutdown) else PATIENCE[shutdown]
            found.append(f"{policy['restart']}, {patience}")
        return "; ".join(found)

    @property
    def doing(self) -> str:
        """What it does right now, in a word."""
        process = self.process
        if process["role"] == "worker" and process.get("execution_id"):
            count = len(process.get("executions") or ())
            return f"{count} busy" if count > 1 else "busy"
        if process["role"] == "queue_manager":
            paused = " · paused" if process.get("paused") else ""
            return f"{process.get('busy') or 0} of {process.get('concurrency') or 0} busy{paused}"
        return "idle" if process["role"] == "worker" and process["status"] == "up" else ""


@dataclass(frozen=True)
class Ghost:
    """Somebody who has just ended, below who is in its place now; ``guides`` go on beside it.

    ``words`` is what it printed last, as far as that is kept.
    """

    life: Mapping[str, Any]
    guides: tuple[bool, ...]
    words: Sequence[str] = ()

    @property
    def has_escalated(self) -> bool:
        """Whether it ended because those below it had died too often."""
        return GAVE_UP in (self.life["reason"] or "")


def with_ghosts(
    rows: list[TreeRow],
    ended: Sequence[Mapping[str, Any]],
    words: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[TreeRow | Ghost]:
    """Return the rows with those that died just now, each below who is in its place now.

    Who has nobody in its place comes below its supervisor, and at the end when that is gone too.
    """
    places = {row.path for row in rows}
    below: dict[str, list[Mapping[str, Any]]] = {}
    for life in ended:
        parent = life["path"].rpartition("/")[0] or ROOT
        place = next((path for path in (life["path"], parent) if path in places), ROOT)
        below.setdefault(place, []).append(life)
    found: list[TreeRow | Ghost] = []
    for row in rows:
        dead = below.get(row.path, ())
        found.append(row)
        found += [Ghost(life, row.guides_below, words.get(life["id"], ())) for life in dead]
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def rows_of(tree: dict[str, Any] | None) -> list[TreeRow]:
    """Return every process of a tree, each after its supervisor."""
    return list(_rows(tree, TreeRow(tree, 1, 1, 1, (), ROOT))) if tree else []


def totals(tree: dict[str, Any] | None) -> dict[str, int]:
    """Return how many processes are in each state, and how often they were restarted."""
    found = list(flatten(tree)) if tree else []
    states = Counter(str(process["status"]) for process in found)
    restarts = sum(process.get("restarts") or 0 for process in found)
    return {"processes": len(found), "restarts": restarts, **states}


def _rows(process: dict[str, Any], row: TreeRow) -> Iterator[TreeRow]:
    yield row
    children = process.get("children") or []
    guides = (*row.guides, row.position < row.siblings) if row.level > 1 else ()
    for number, child in enumerate(children, start=1):
        path = str(child["id"]) if row.path == ROOT else f"{row.path}/{child['id']}"
        below = TreeRow(child, row.level + 1, number, len(children), guides, path)
        yield from _rows(child, below)
