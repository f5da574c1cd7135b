"""Everything that is known of a run, in plain rows: what the invariants are asked of."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from durable_otp.workflow.state import FINAL

Row = dict[str, Any]
Rows = list[Row]
Key = TypeVar("Key", bound=Hashable)
FINAL_STATUSES = frozenset(str(state) for state in FINAL)


@dataclass
class Record:
    """A ledger and the product's rows, as they were read together.

    The first five are the ledger's; the others the product's, of the executions that occur in it.
    """

    effects: Rows = field(default_factory=list)
    intents: Rows = field(default_factory=list)
    acks: Rows = field(default_factory=list)
    faults: Rows = field(default_factory=list)
    moves: Rows = field(default_factory=list)
    executions: Rows = field(default_factory=list)
    steps: Rows = field(default_factory=list)
    waits: Rows = field(default_factory=list)
    events: Rows = field(default_factory=list)
    inputs: Rows = field(default_factory=list)
    slots: Rows = field(default_factory=list)
    once: Rows = field(default_factory=list)
    items_left: Rows = field(default_factory=list)

    def of(self, what: str) -> Rows:
        """Return the moves of one table, in order."""
        return [move for move in self.moves if move["what"] == what]

    def histories(self) -> dict[str, Rows]:
        """Return the moves of each execution's row, in order."""
        return grouped(self.of("workflow_executions"), lambda move: str(move["execution"]))

    def bodies(self) -> dict[str, Rows]:
        """Return the effects by the visit that had them."""
        return grouped(self.effects, lambda effect: str(effect["key"]))


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, Rows]:
    """Return rows by a key, each group in the order of the rows."""
    groups: dict[Key, Rows] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def is_final(status: str | None) -> bool:
    """Return whether a status is left by an operator's retry only."""
    return status in FINAL_STATUSES


def is_retry(move: Row) -> bool:
    """Return whether an operator had the execution go on with this move."""
    retried: bool = move["op"] == "U" and move["old"]["retried_at"] != move["new"]["retried_at"]
    return retried


def is_claim(move: Row) -> bool:
    """Return whether a free execution got a holder with this move."""
    return move["old_token"] is None and move["new_token"] is not None


def visit_key(step: Row) -> str:
    """Return what the effects of a step's visit are noted under: its idempotency key."""
    key = f"{step['execution_id']}:{step['path']}:{step['visit']}"
    return f"{key}:{step['name']}" if step["is_compensation"] else key
