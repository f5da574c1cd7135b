"""What the dashboard's pages ask of the database, and the one thing that they write: the audit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from durable_otp.storage.identity import is_id, new_id
from durable_otp.storage.operation import Operation, Row, transaction
from durable_otp.storage.reports import Filters
from durable_otp.storage.statements import Statement
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.state import FINAL, State

PATIENCE_MILLISECONDS = 4000
MOST_COUNTED = 10_000
MOST_FAMILY = 500
MOST_LOG_LINES = 200


@dataclass(frozen=True)
class Facets:
    """What a page of executions is narrowed by; a field that is None leaves out nothing.

    Attributes:
        base: What every list of executions can be filtered by.
        step: The path of the step that it is in, or ended in.
        error: The type of its error.
        contains: JSON that its input contains.
        retrying: Alive, with an attempt that failed or a worker that died.
        stuck_for: Alive, and its status unchanged for so many seconds.
    """

    base: Filters = field(default_factory=Filters)
    step: str | None = None
    error: str | None = None
    contains: Any = None
    retrying: bool = False
    stuck_for: float | None = None

    def parameters(self) -> dict[str, Any] | None:
        """Return the statements' parameters; None when nothing can fit.

        Raises:
            ValueError: A status, an instant or the prefix is none.
        """
        parameters = self.base.parameters()
        if parameters is None or any("\0" in (text or "") for text in (self.step, self.error)):
            return None
        contains = None if self.contains is None else encode(self.contains).decode()
        return parameters | {
            "step": self.step,
            "error": self.error,
            "contains": contains,
            "retrying": self.retrying,
            "stuck_for": self.stuck_for,
        }


@transaction
def page(facets: Facets, *, limit: int, after: str | None = None) -> Operation[list[Row]]:
    """Return a page of executions as rows, the newest first; ``after``: the last id before it."""
    parameters = facets.parameters()
    place: dict[str, Any] = {"after": None, "after_inserted_at": None, "limit": limit}
    yield from _patience()
    if after is not None and is_id(after):
        found = yield Statement("inserted_at_of", {"id": after})
        if found:
            place |= {"after": after, "after_inserted_at": found[0]["inserted_at"]}
    if parameters is None:
        return []
    return list((yield Statement("dashboard_executions", {**parameters, **place})))


@transaction
def count(facets: Facets, *, most: int = MOST_COUNTED) -> Operation[int]:
    """Return how many executions fit, counted up to one more than ``most``."""
    parameters = facets.parameters()
    yield from _patience()
    if parameters is None:
        return 0
    rows = yield Statement("dashboard_count", {**parameters, "most": most + 1})
    return min(int(rows[0]["count"]), most + 1)


def counts() -> Operation[dict[str, int]]:
    """Return how many executions there are in each status; ``scheduled`` is a part of pending."""
    rows = yield Statement("dashboard_counts")
    found = {state.value: 0 for state in State} | {row["status"]: row["count"] for row in rows}
    return found | {"scheduled": sum(row["scheduled"] for row in rows)}


@transaction
def throughput(seconds: float, buckets: int) -> Operation[list[dict[str, int]]]:
    """Return how many families ended within the last seconds, by bucket and status."""
    yield from _patience()
    statuses = sorted(FINAL)
    rows = yield Statement(
        "dashboard_throughput", {"seconds": seconds, "buckets": buckets, "statuses": statuses}
    )
    found: list[dict[str, int]] = [{} for _ in range(buckets)]
    for row in rows:
        number = min(max(row["bucket"], 1), buckets) - 1
        found[number][row["status"]] = found[number].get(row["status"], 0) + row["count"]
    return found


@transaction
def durations(seconds: float) -> Operation[Row]:
    """Return quantiles of how long the last families took and had waited before."""
    yield from _patience()
    rows = yield Statement("dashboard_durations", {"seconds": seconds})
    return rows[0]


def workflows() -> Operation[list[Row]]:
    """Return every published workflow, with what lives of it and how the last one ended."""
    known = yield Statement("dashboard_workflows")
    living = yield Statement("dashboard_workflow_counts")
    names = sorted({row["workflow"] for row in (*known, *living)})
    places = {"workflows": names, "statuses": sorted(FINAL)}
    last = {
        row["workflow"]: row for row in (yield Statement("dashboard_last_of_workflows", places))
    }
    found = {row["workflow"]: dict(row) for row in known}
    for name in names:
        row = found.setdefault(name, {"workflow": name, "versions": [], "queue": None, "nodes": 0})
        row["living"] = {
            each["status"]: each["count"] for each in living if each["workflow"] == name
        }
        row["last"] = last.get(name)
    return [found[name] for name in names]


def definition(workflow: str, version: str) -> Operation[dict[str, Any] | None]:
    """Return a definition's published form; None when it was never published."""
    rows = yield Statement("dashboard_definition", {"workflow": workflow, "version": version})
    return dict(rows[0]["description"]) if rows else None


def waits_of(execution_id: str) -> Operation[list[Row]]:
    """Return what an execution has waited for, and still waits for."""
    return list((yield Statement("dashboard_waits", {"id": execution_id})))


def family(execution_id: str) -> Operation[list[Row]]:
    """Return everybody from an execution's root downwards, the root first."""
    return list((yield Statement("dashboard_family", {"id": execution_id, "most": MOST_FAMILY})))


def logs(
    execution_id: str,
    *,
    step: str | None = None,
    levels: Sequence[str] | None = None,
    text: str | None = None,
    after: int = 0,
) -> Operation[list[Row]]:
    """Return up to 200 lines of an execution's logs that fit, from the n-th on."""
    narrowed = {"step": step, "levels": list(levels) if levels else None, "text": text or None}
    place = {"id": execution_id, "limit": MOST_LOG_LINES, "after": after}
    return list((yield Statement("dashboard_logs", {**narrowed, **place})))


def log_totals(execution_id: str) -> Operation[list[Row]]:
    """Return how many lines there are, by step and level."""
    return list((yield Statement("dashboard_log_totals", {"id": execution_id})))


def queue_load() -> Operation[dict[str, Row]]:
    """Return what lives in each queue, and how long the longest due execution has waited."""
    found = {row["queue"]: dict(row) for row in (yield Statement("dashboard_queue_counts"))}
    for row in (yield Statement("dashboard_queue_ages")):
        found.setdefault(row["queue"], {})["oldest"] = row["oldest"]
    return found


def now() -> Operation[datetime]:
    """Return the database's time, which every instant shown is of."""
    rows = yield Statement("dashboard_now")
    instant: datetime = rows[0]["now"]
    return instant


@dataclass(frozen=True)
class Deed:
    """Something that somebody did on a page; the id is made here, so that it is written once."""

    actor: str
    action: str
    target: str
    outcome: str
    detail: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=new_id)


def audit(deed: Deed) -> Operation[None]:
    """Write down what somebody did."""
    yield Statement(
        "dashboard_audit",
        {
            "id": deed.id,
            "actor": deed.actor[:200],
            "action": deed.action,
            "target": deed.target[:400],
            "detail": encode(deed.detail).decode(),
            "outcome": deed.outcome[:1000],
        },
    )


def audited(*, limit: int, after: str | None = None) -> Operation[list[Row]]:
    """Return what was done, the latest first."""
    place = after if after is not None and is_id(after) else None
    return list((yield Statement("dashboard_audited", {"limit": limit, "after": place})))


def _patience() -> Operation[None]:
    yield Statement("dashboard_patience", {"milliseconds": str(PATIENCE_MILLISECONDS)})
