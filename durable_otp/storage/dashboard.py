"""What the dashboard's pages ask of the database, and the one thing that they write: the audit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from durable_otp.storage.identity import is_id, new_id
from durable_otp.storage.operation import Operation, Row, transaction
from durable_otp.storage.reports import Filters
from durable_otp.storage.statements import Statement
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.state import FINAL, State

PATIENCE_MILLISECONDS = 4000
MOST_COUNTED = 10_000
MOST_LIVING_COUNTED = 10_000
MOST_SEARCHED = 10_000
SEARCH_MILLISECONDS = 1500
MOST_FAMILY = 500
MOST_LOOKED_AT_FOR_CODECS = 200
MOST_LOG_LINES = 200


@dataclass(frozen=True)
class Facets:
    """What a page of executions is narrowed by; a field that is None leaves out nothing.

    Attributes:
        base: What every list of executions can be filtered by.
        step: The path of the step that it is in, or ended in.
        error: The type of its error.
        contains: JSON that its input contains.
        text: Words that its input has in it somewhere, large or small letters alike.
        context: An object, each key of which its context has or had with such a value.
        context_text: Words that its context has or had in it somewhere.
        retrying: Alive, with an attempt that failed or a worker that died.
        stuck_for: Alive, and its status unchanged for so many seconds.
    """

    base: Filters = field(default_factory=Filters)
    step: str | None = None
    error: str | None = None
    contains: Any = None
    text: str | None = None
    context: dict[str, Any] | None = None
    context_text: str | None = None
    retrying: bool = False
    stuck_for: float | None = None

    def parameters(self) -> dict[str, Any] | None:
        """Return the statements' parameters; None when nothing can fit.

        Raises:
            ValueError: A status, an instant or the prefix is none.
        """
        parameters = self.base.parameters()
        texts = (self.step, self.error, self.text, self.context_text)
        if parameters is None or any("\0" in (text or "") for text in texts):
            return None
        return parameters | {
            "step": self.step,
            "error": self.error,
            "contains": _text_of(self.contains),
            "text": self.text,
            "context": _text_of(self.context),
            "context_text": self.context_text,
            "retrying": self.retrying,
            "stuck_for": self.stuck_for,
        }

    @property
    def is_search(self) -> bool:
        """Whether no index leads to what is wanted, so that rows have to be looked through."""
        if self.base.parent or self.base.id_prefix:
            return False
        statuses = self.base.status
        wanted = {statuses} if isinstance(statuses, str) else set(statuses or FINAL)
        two_names = self.base.workflow is not None and self.base.queue is not None
        if two_names or (self.has_name and not wanted & FINAL):
            return True
        values = (self.contains, self.text, self.context, self.context_text)
        sought = (self.step, self.error, self.stuck_for, *values)
        return self.retrying or any(each is not None for each in sought)

    @property
    def has_name(self) -> bool:
        """Whether a workflow or a queue is wanted."""
        return self.base.workflow is not None or self.base.queue is not None


def _text_of(value: Any) -> str | None:
    return None if value is None else encode(value).decode()


class Found(NamedTuple):
    """A page, or what a part of a search has found.

    Attributes:
        rows: The newest, no more than were asked for.
        after: Where to go on with the next part; None at the end.
        among: How many of the newest were looked through, where these were not all.
        about: How many executions there are in all, about.
        back_to: When the oldest that was looked at was inserted.
    """

    rows: list[Row]
    after: str | None = None
    among: int | None = None
    about: int = 0
    back_to: datetime | None = None


@transaction
def page(facets: Facets, *, limit: int, after: str | None = None) -> Operation[Found]:
    """Return a page of executions, the newest first; ``after``: the last id before it.

    Of what lives there is no index by name: where a name is wanted, no more than the newest
    ``MOST_SEARCHED`` are looked at, and ``among`` says so.
    """
    parameters = facets.parameters()
    yield from _patience()
    place = yield from _place(after)
    if parameters is None:
        return Found([])
    narrowed = {**parameters, **place}
    rows = yield from _rows(narrowed, limit, living=not facets.has_name)
    horizon = _Horizon()
    if facets.has_name and len(rows) <= limit:  # what has ended does not fill it
        horizon = yield from _horizon(narrowed, MOST_SEARCHED, living=True)
        rows = yield from _rows(narrowed, limit, living_from=horizon)
    more = rows[limit - 1]["id"] if len(rows) > limit else None
    among = MOST_SEARCHED if horizon.id and more is None else None
    return Found(rows[:limit], more, among, horizon.about, horizon.at)


@transaction
def search(
    facets: Facets, *, limit: int, after: str | None = None, among: int = MOST_SEARCHED
) -> Operation[Found]:
    """Return what fits of the newest ``among`` executions; there may be more behind them."""
    parameters = facets.parameters()
    yield from _patience(SEARCH_MILLISECONDS)
    place = yield from _place(after)
    if parameters is None:
        return Found([])
    living = facets.retrying or facets.stuck_for is not None
    horizon = yield from _horizon({**parameters, **place}, among, living=living)
    rows = yield from _rows({**parameters, **place}, limit, ended_from=horizon, living_from=horizon)
    if len(rows) > limit:
        return Found(rows[:limit], rows[limit - 1]["id"])
    if horizon.id is None:
        return Found(rows)
    return Found(rows, horizon.id, among, horizon.about, horizon.at)


def encoded() -> Operation[list[str]]:
    """Return the codecs that the newest inputs are encoded by: what those have is not searched."""
    rows = yield Statement("dashboard_encoded", {"most": MOST_LOOKED_AT_FOR_CODECS})
    return [row["name"] for row in rows]


@transaction
def count(facets: Facets, *, most: int = MOST_COUNTED) -> Operation[tuple[int, bool]]:
    """Return how many executions fit, counted up to ``most``, and whether those are all."""
    parameters = facets.base.parameters()
    yield from _patience()
    if parameters is None:
        return 0, True
    window = MOST_LIVING_COUNTED if facets.has_name else most + 1
    bounds = {"most": most + 1, "window": window}
    (row,) = yield Statement("dashboard_count", {**parameters, **bounds})
    found = int(row["count"])
    return min(found, most), found <= most and bool(row["is_all"])


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


def workflow_names() -> Operation[list[str]]:
    """Return the names of all published workflows, in order; cheap."""
    return [row["workflow"] for row in (yield Statement("dashboard_workflows"))]


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


@transaction
def queue_rates(seconds: float, most: int) -> Operation[dict[str, float]]:
    """Return how many families a minute have ended lately, by queue."""
    yield from _patience()
    given = {"seconds": seconds, "most": most, "statuses": sorted(FINAL)}
    rows = yield Statement("dashboard_queue_rates", given)
    return {row["queue"]: row["per_minute"] for row in rows}


def last_slots(schedules: Sequence[str], most: int) -> Operation[dict[str, list[Row]]]:
    """Return the last slots of each of these schedules, the oldest first."""
    found: dict[str, list[Row]] = {name: [] for name in schedules}
    for row in (yield Statement("dashboard_slots", {"names": list(schedules), "most": most})):
        found[row["schedule"]].append(row)
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


class _Horizon(NamedTuple):
    """The last execution that is looked at; there is none when all are."""

    id: str | None = None
    at: datetime | None = None
    about: int = 0

    def bounds(self, part: str) -> dict[str, Any]:
        """Return the parameters that keep a part of the statement this side of it."""
        return {f"{part}horizon": self.id, f"{part}horizon_inserted_at": self.at}


_NOWHERE = _Horizon()


def _rows(
    narrowed: dict[str, Any],
    limit: int,
    *,
    living: bool = True,
    ended_from: _Horizon = _NOWHERE,
    living_from: _Horizon = _NOWHERE,
) -> Operation[list[Row]]:
    """Return what fits, and one more than asked for if there is one."""
    bounds = {**ended_from.bounds(""), **living_from.bounds("living_")}
    parameters = {**narrowed, **bounds, "living": living, "limit": limit + 1}
    return list((yield Statement("dashboard_executions", parameters)))


def _horizon(narrowed: dict[str, Any], most: int, *, living: bool) -> Operation[_Horizon]:
    """Return the last of the newest that are looked at; of what lives alone, where asked for."""
    rows = yield Statement("dashboard_horizon", {**narrowed, "most": most, "living": living})
    return _Horizon(rows[0]["id"], rows[0]["at"], rows[0]["about"]) if rows else _Horizon()


def _place(after: str | None) -> Operation[dict[str, Any]]:
    """Return where a page goes on: behind an execution, if there is one of this id."""
    if after is not None and is_id(after):
        found = yield Statement("inserted_at_of", {"id": after})
        if found:
            return {"after": after, "after_inserted_at": found[0]["inserted_at"]}
    return {"after": None, "after_inserted_at": None}


def _patience(milliseconds: int = PATIENCE_MILLISECONDS) -> Operation[None]:
    yield Statement("dashboard_patience", {"milliseconds": str(milliseconds)})
