"""What is started, and what must come of it."""

import random
from dataclasses import dataclass, field
from typing import Any

from bench.soak import workflows
from durable_otp import Workflow

ADDED = {
    "line": 111, "batched": 111, "stubborn": 1, "napper": 11, "hearer": 11, "impatient": 1,
    "fan": 1, "mortal": 1, "turner": 111, "single": 111, "booked": 1,
}  # fmt: skip
WEIGHTS = {
    "line": 6, "batched": 6, "stubborn": 2, "napper": 3, "hearer": 3, "impatient": 2, "fan": 2,
    "caller": 2, "saga": 2, "mortal": 2, "poison": 1, "endless": 1, "turner": 3,
    "single": 2, "booked": 2,
}  # fmt: skip
ITEMS = [1, 2, 3, 4]
KEYS = {"turn a": 1, "turn b": 2}
"""Of executions that take turns, and how many turns there are."""
HOUR = 3600.0


@dataclass(frozen=True)
class Order:
    """One thing to start."""

    name: str
    input: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def workflow(self) -> Workflow:
        """The workflow."""
        found: Workflow = getattr(workflows, self.name)
        return found


def draw(chance: random.Random) -> Order:
    """Return a random order."""
    (name,) = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
    given: dict[str, Any] = {"seconds": round(chance.uniform(0.2, 1.5), 3)}
    if name == "napper":
        given["nap"] = round(chance.uniform(0.1, 3), 2)
    if name == "fan":
        given["items"] = ITEMS
    if name == "mortal":
        given["death"] = chance.choice(sorted(workflows.DEATHS))
    if name == "turner":
        key = chance.choice(list(KEYS))
        return Order(name, given, {"concurrency_key": key, "concurrency": KEYS[key]})
    return Order(name, given, {"unique_for": HOUR} if name == "single" else {})


def wrong(execution: Any) -> str | None:
    """Return what is wrong with an ended execution, None if it is as it must be."""
    name = execution.workflow
    status = {"saga": "compensated", "poison": "failed", "endless": "cancelled"}.get(name)
    if execution.status != (status or "completed"):
        return f"{name} is {execution.status}: {execution.error}"
    if name == "poison" and (execution.error or {}).get("type") != "worker_crashed":
        return f"poison failed with {execution.error}"
    if name == "saga":
        undone = [each["step"] for each in execution.compensation_results]
        return None if undone == ["ten", "one"] else f"saga undid {undone}"
    if status is not None:
        return None
    found = execution.output or {}
    wanted = _wanted(name, execution.input or {})
    differs = {key: found.get(key) for key, value in wanted.items() if found.get(key) != value}
    return f"{name} has {differs}, not {wanted}" if differs else None


def _wanted(name: str, given: dict[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = {"sum": ADDED[name]} if name in ADDED else {}
    return wanted | {
        "stubborn": {"persuaded": True},
        "hearer": {"heard": "word"},
        "impatient": {"heard": "nothing"},
        "fan": {"square": [item * item for item in ITEMS]},
        "caller": {"called": 111},
        "mortal": {"survived": given.get("death")},
        "booked": {"booked": True},
    }.get(name, {})
