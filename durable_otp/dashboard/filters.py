"""The filters of the executions page as its address holds them: read, checked, written. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from durable_otp.dashboard.sought import sought, sought_in_context
from durable_otp.storage.dashboard import Facets
from durable_otp.storage.identity import is_id
from durable_otp.storage.reports import SHORTEST_ID_PREFIX, Filters
from durable_otp.workflow.state import FINAL, State

RANGES = {"15m": 900, "1h": 3600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000}
FAILED = tuple(FINAL - {State.COMPLETED} | {State.COMPENSATING})
"""What can have an error: of a million that completed or wait, none has to be looked at."""
STUCK = {"1m": 60, "10m": 600, "1h": 3600, "24h": 86_400}
TEXTS = ("workflow", "queue", "step", "error")
_NOT_HEX = re.compile(r"[^0-9a-f-]")
PARAMETERS = (
    *("workflow", "queue", "step", "error", "status", "range", "from", "to", "id", "parent"),
    *("contains", "context", "stuck", "retrying", "children"),
)
_LONGEST = 200


@dataclass(frozen=True)
class Asked:
    """What an address asks for; whatever it says that is nothing is left out.

    Attributes:
        texts: ``workflow``, ``queue``, ``step`` and ``error``, those that are given.
        statuses: Those that are wanted; all when empty.
        range: One of ``RANGES``, or "" where ``since`` and ``until`` say it.
        problem: Why a filter was left out.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    statuses: tuple[str, ...] = ()
    range: str = ""
    since: str = ""
    until: str = ""
    id: str = ""
    parent: str = ""
    contains: str = ""
    context: str = ""
    stuck: str = ""
    retrying: bool = False
    children: bool = False
    problem: str = ""

    def query(self, **changes: Any) -> dict[str, Any]:
        """Return this as an address's parameters, some of them changed; None leaves one out."""
        mine: dict[str, Any] = {
            **self.texts,
            "status": ",".join(self.statuses),
            "range": self.range,
            "from": self.since,
            "to": self.until,
            "id": self.id,
            "parent": self.parent,
            "contains": self.contains,
            "context": self.context,
            "stuck": self.stuck,
            "retrying": "1" if self.retrying else "",
            "children": "1" if self.children else "",
        }
        return {key: value for key, value in (mine | changes).items() if value}

    @property
    def words(self) -> list[tuple[str, str]]:
        """What is asked for, as (parameter, words)."""
        return [(key, f"{key}: {value}") for key, value in self.query().items()]

    def facets(self, now: datetime) -> Facets:
        """Return what the database is asked; ``now`` is its own time."""
        since, until = instant(self.since), instant(self.until)
        if self.range:
            since, until = now - timedelta(seconds=RANGES[self.range]), None
        base = Filters(
            workflow=self.texts.get("workflow"),
            status=self.statuses or (FAILED if "error" in self.texts else None),
            queue=self.texts.get("queue"),
            parent=self.parent or None,
            since=since,
            until=until,
            id_prefix=self.id or None,
            top_level=not (self.children or self.parent or self.id),
        )
        given, context = sought(self.contains), sought_in_context(self.context)
        return Facets(
            base,
            step=self.texts.get("step"),
            error=self.texts.get("error"),
            contains=given.contains,
            text=given.text,
            context=context.contains,
            context_text=context.text,
            retrying=self.retrying,
            stuck_for=float(STUCK[self.stuck]) if self.stuck else None,
        )


def asked(given: Mapping[str, str]) -> Asked:
    """Return what an address asks for."""
    statuses = given.get("status", "").split(",")
    id_ = _NOT_HEX.sub("", given.get("id", "").strip().lower())[:36]
    problem = ""
    if id_ and len(id_.replace("-", "")) < SHORTEST_ID_PREFIX:
        id_, problem = "", f"An id needs {SHORTEST_ID_PREFIX} or more digits."
    values = {"contains": "", "context": ""}
    for key, reads in (("contains", sought), ("context", sought_in_context)):
        try:
            reads(given.get(key, ""))
            values[key] = given.get(key, "").strip()
        except ValueError as error:
            problem = str(error)
    return Asked(
        texts={key: given[key].strip()[:_LONGEST] for key in TEXTS if given.get(key, "").strip()},
        statuses=tuple(state.value for state in State if state.value in statuses),
        range=given.get("range", "") if given.get("range") in RANGES else "",
        since=given.get("from", "") if instant(given.get("from", "")) else "",
        until=given.get("to", "") if instant(given.get("to", "")) else "",
        id=id_[:32] if "-" not in id_ else id_,
        parent=given.get("parent", "") if is_id(given.get("parent", "")) else "",
        **values,
        stuck=given.get("stuck", "") if given.get("stuck") in STUCK else "",
        retrying=given.get("retrying") == "1",
        children=given.get("children") == "1",
        problem=problem,
    )


def asked_exactly(given: Mapping[str, str]) -> Asked:
    """Return what an address asks for, of a program, which is told what it has got wrong.

    Raises:
        ValueError: Something in it is nothing that can be asked.
    """
    wanted = asked(given)
    if wanted.problem:
        raise ValueError(wanted.problem)
    unknown = sorted(given.keys() - set(PARAMETERS))
    if unknown:
        raise ValueError(
            f"There is no parameter {unknown[0]!r}; there are {', '.join(PARAMETERS)}."
        )
    understood = wanted.query()
    for key, value in given.items():
        is_part = key == "status" and len(value.split(",")) != len(wanted.statuses)
        if value.strip() not in ("", "0") and (key not in understood or is_part):
            raise ValueError(f"{key}={value[:80]} is nothing that can be asked for.")
    return wanted


def instant(text: str) -> datetime | None:
    """Return an instant as browsers write one, in UTC where it names no zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
