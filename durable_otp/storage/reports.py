"""What can be asked about executions: one whole, pages of many, and counts."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from durable_otp.durations import in_utc
from durable_otp.errors import ExecutionNotFound
from durable_otp.storage.identity import is_id
from durable_otp.storage.operation import Operation, Row
from durable_otp.storage.payloads import Unreadable
from durable_otp.storage.statements import Statement
from durable_otp.workflow.delta import fold
from durable_otp.workflow.execution import Execution, StepExecution
from durable_otp.workflow.state import State, StepState

SHORTEST_ID_PREFIX = 4
CHILDREN_AT_ONCE = 1000
MOST_ROWS = 2**31 - 1
_ID_DIGITS = 32
_HEX = re.compile(r"[0-9a-f]*")
_PAGES = {"newest": "list_newest", "oldest": "list_oldest"}

Order = Literal["newest", "oldest"]
Statuses = State | str | Collection[State | str] | None


@dataclass(frozen=True)
class Filters:
    """Which executions are meant; a field that is None leaves out nothing.

    Attributes:
        since: Inserted at this instant or later.
        until: Inserted before this instant.
        id_prefix: The first 4 or more hex digits of the id; dashes do not count.
        top_level: Leave out children.
    """

    workflow: str | None = None
    status: Statuses = None
    queue: str | None = None
    parent: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    id_prefix: str | None = None
    top_level: bool = False

    def parameters(self) -> dict[str, Any] | None:
        """Return the statements' parameters; None when nothing can fit.

        Raises:
            ValueError: A status, an instant or the prefix is none.
        """
        first, last = _id_range(self.id_prefix)
        if not self._can_fit():
            return None
        return {
            "workflow": self.workflow,
            "statuses": _statuses(self.status),
            "queue": self.queue,
            "parent": self.parent,
            "since": _aware(self.since, "since"),
            "until": _aware(self.until, "until"),
            "first_id": first,
            "last_id": last,
            "top_level": bool(self.top_level),
        }

    def _can_fit(self) -> bool:
        """Return whether there can be such a name and such a parent at all."""
        names = [name for name in (self.workflow, self.queue) if name is not None]
        return all(isinstance(name, str) and name.isprintable() for name in names) and (
            self.parent is None or is_id(self.parent)
        )


def get_execution(execution_id: str, *, steps: bool = False) -> Operation[Execution]:
    """Return an execution with its context, and with its steps if asked for.

    Raises:
        ExecutionNotFound: There is none with this id.
    """
    rows = yield from _known("get_execution", execution_id)
    row = dict(rows[0])
    begun = row.pop("begun")
    if row["status"] == State.COMPENSATING:
        row["compensation_results"] = yield from compensation_results(execution_id)
    before = row.pop("block_context")  # a block's child begins with the context before the block
    given = row["input"] if before is None else before
    context = yield from folded_context(execution_id, given)
    return _execution(
        row,
        context=context,
        output=context if row["status"] == State.COMPLETED else None,
        steps=(yield from _steps(row, begun)) if steps else None,
    )


def folded_context(execution_id: str, given: Any) -> Operation[dict[str, Any]]:
    """Return an execution's context: its input's keys, changed by every step it has completed."""
    about = {"id": execution_id, "lock_token": None}  # whoever holds it
    rows = yield Statement("journal_since_snapshot", about)
    context = dict(given) if isinstance(given, dict) else {}
    for row in rows:
        changes, snapshot = row["changes"] or (), row["snapshot"]
        for part in (snapshot, changes):
            if isinstance(part, Unreadable):
                return {"context": part}  # to be shown; nothing can be folded into it
        context = fold(context, changes) if snapshot is None else snapshot
    return context


def compensation_results(execution_id: str) -> Operation[list[dict[str, Any]]]:
    """Return how each handler ended so far, in the order in which they ran."""
    rows = yield Statement("compensation_results", {"id": execution_id})
    return [dict(row) for row in rows]


def list_executions(
    filters: Filters, *, order: Order = "newest", limit: int = 50, after: str | None = None
) -> Operation[list[Execution]]:
    """Return a page of executions without contexts and steps.

    Args:
        filters: Which.
        order: By when they were inserted.
        limit: The most.
        after: The last id of the page before.

    Raises:
        ExecutionNotFound: There is no execution `after`.
        ValueError: A filter, the order or the limit is none.
    """
    if order not in _PAGES:
        raise ValueError(f'order must be "newest" or "oldest", not {order!r}.')
    parameters = filters.parameters()
    place = {"after": after, "after_inserted_at": None, "limit": page_limit(limit)}
    if after is not None:
        found = yield from _known("inserted_at_of", after)
        place["after_inserted_at"] = found[0]["inserted_at"]
    if parameters is None:
        return []
    rows = yield Statement(_PAGES[order], {**parameters, **place})
    return [_execution(row) for row in rows]


def list_children(parent: str, status: Statuses = None) -> Operation[list[Execution]]:
    """Return all children of an execution, in the order in which they were created.

    Raises:
        ExecutionNotFound: There is no such parent.
        ValueError: A status is none.
    """
    filters = Filters(status=status, parent=parent)
    yield from _known("inserted_at_of", parent)
    found: list[Execution] = []
    while True:
        after = found[-1].id if found else None
        page = yield from list_executions(
            filters, order="oldest", limit=CHILDREN_AT_ONCE, after=after
        )
        found += page
        if len(page) < CHILDREN_AT_ONCE:
            return found


def count_executions(filters: Filters) -> Operation[int]:
    """Return how many executions there are."""
    parameters = filters.parameters()
    if parameters is None:
        return 0
    rows = yield Statement("count_executions", parameters)
    count: int = rows[0]["count"]
    return count


def status_of(execution_id: str) -> Operation[State]:
    """Return an execution's status.

    Raises:
        ExecutionNotFound: There is none with this id.
    """
    rows = yield from _known("execution_status", execution_id)
    return State(rows[0]["status"])


def not_found(execution_id: object) -> ExecutionNotFound:
    """Return the error that says an id is nobody's."""
    return ExecutionNotFound(f"There is no execution {execution_id!r} in this schema.")


def _known(statement: str, execution_id: str) -> Operation[list[Row]]:
    rows = (yield Statement(statement, {"id": execution_id})) if is_id(execution_id) else ()
    if not rows:
        raise not_found(execution_id)
    return list(rows)


def _execution(
    row: Row,
    *,
    context: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
    steps: list[StepExecution] | None = None,
) -> Execution:
    return Execution(
        **{**row, "status": State(row["status"])}, context=context, output=output, steps=steps
    )


def _steps(execution: Row, begun: dict[str, Any] | None) -> Operation[list[StepExecution]]:
    """Return every recorded attempt, then what is open: the step in progress, or those waiting."""
    rows = yield Statement("steps_of", {"id": execution["id"]})
    steps = [StepExecution(**{**row, "status": StepState(row["status"])}) for row in rows]
    if execution["status"] == State.WAITING:
        visits = yield Statement("open_visits_of", {"id": execution["id"]})
        steps += [_open_step(execution["id"], visit, StepState.WAITING) for visit in visits]
    elif execution["locked_by"] is not None and begun and not _is_recorded(begun, steps):
        steps.append(_open_step(execution["id"], begun, StepState.RUNNING))
    return steps


def _is_recorded(begun: dict[str, Any], steps: list[StepExecution]) -> bool:
    """Return whether the reported attempt has ended since: reports are older than checkpoints."""
    place = (begun["path"], begun["visit"], bool(begun.get("is_compensation")))
    return any(
        (step.path, step.visit, step.is_compensation) == place
        and (step.attempt >= begun["attempt"] or step.status is StepState.COMPLETED)
        for step in steps
    )


def _open_step(execution_id: str, visit: dict[str, Any], status: StepState) -> StepExecution:
    """Return a row for an attempt that has none yet; its id stays the same until it has."""
    path, number, attempt = visit["path"], visit["visit"], visit["attempt"]
    started = visit.get("started_at")
    is_compensation = bool(visit.get("is_compensation"))
    key = f"{path} {number} {attempt}{' undone' if is_compensation else ''}"
    return StepExecution(
        id=str(uuid5(UUID(execution_id), key)),
        path=path,
        name=visit.get("name") or path.rpartition("/")[2],
        type=visit.get("type") or "step",
        visit=number,
        attempt=attempt,
        status=status,
        output=None,
        error=None,
        logs=[],
        started_at=datetime.fromisoformat(started) if isinstance(started, str) else started,
        completed_at=None,
        duration_ms=None,
        is_compensation=is_compensation,
        compensation_for=path if is_compensation else None,
        child_id=visit.get("child_id"),
    )


def _statuses(status: Statuses) -> list[str]:
    if status is None:
        return [each.value for each in State]
    wanted = [status] if isinstance(status, str) else list(status)
    try:
        return list(dict.fromkeys(State(each).value for each in wanted))
    except ValueError:
        raise ValueError(f"status must be among {', '.join(State)}; {wanted!r} is not.") from None


def page_limit(limit: Any) -> int:
    """Return the most rows of a page; there are never more than SQL can count.

    Raises:
        ValueError: It is not a whole number of at least 1.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ValueError(f"limit must be a whole number of at least 1, not {limit!r}.")
    return min(limit, MOST_ROWS)


def _aware(instant: datetime | None, what: str) -> datetime | None:
    return None if instant is None else in_utc(instant, what=what)


def _id_range(prefix: str | None) -> tuple[str | None, str | None]:
    """Return the first and the last id that begin with a prefix."""
    if prefix is None:
        return None, None
    digits = prefix.replace("-", "").lower() if isinstance(prefix, str) else ""
    if not SHORTEST_ID_PREFIX <= len(digits) <= _ID_DIGITS or _HEX.fullmatch(digits) is None:
        raise ValueError(
            f"id_prefix must be {SHORTEST_ID_PREFIX} to {_ID_DIGITS} hex digits of an id, "
            f"not {prefix!r}."
        )
    return str(UUID(digits.ljust(_ID_DIGITS, "0"))), str(UUID(digits.ljust(_ID_DIGITS, "f")))
