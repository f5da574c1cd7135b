"""How an execution goes on that had ended: an operator's retry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from durable_otp.errors import NotRetryable, ParentFinished
from durable_otp.storage.identity import is_id
from durable_otp.storage.operation import Operation, Wish, transaction
from durable_otp.storage.reports import not_found
from durable_otp.storage.statements import Statement
from durable_otp.workflow.state import FINAL, State

_RETRYABLE = frozenset({State.FAILED, State.CANCELLED, State.COMPENSATION_FAILED})


@dataclass
class _Family:
    """Who is retried together, by what becomes of each."""

    going_on: list[str] = field(default_factory=list)
    beginning_anew: list[str] = field(default_factory=list)
    compensating: list[str] = field(default_factory=list)

    def add(self, execution_id: str, status: State) -> None:
        """Put an execution where its status says."""
        match status:
            case State.COMPENSATION_FAILED:
                self.compensating.append(execution_id)
            case State.COMPENSATED:
                self.beginning_anew.append(execution_id)
            case _:
                self.going_on.append(execution_id)

    @property
    def ids(self) -> list[str]:
        """Everybody."""
        return [*self.going_on, *self.beginning_anew, *self.compensating]


@transaction
def retry(execution_id: str, wish: Wish | None = None) -> Operation[None]:
    """Have an ended execution go on where it stopped, with the ended children of its open block.

    What completed is kept. Failed attempts and crashes recorded so far use up nothing any more.

    Raises:
        ExecutionNotFound: There is none with this id.
        NotRetryable: It has not failed, or its block has completed without it.
        ParentFinished: It is a child, and its parent has ended.
    """
    parents = (yield Statement("lock_parent", {"id": execution_id})) if is_id(execution_id) else ()
    rows = (yield Statement("lock_execution", {"id": execution_id})) if is_id(execution_id) else ()
    if not rows:
        raise not_found(execution_id)
    status = State(rows[0]["status"])
    if wish is not None and wish.is_repeated and status not in _RETRYABLE:
        return
    _check(execution_id, status, parents)
    family = yield from _family(execution_id, status)
    yield from _forget_all(family.beginning_anew)
    yield Statement("free_events", {"ids": family.going_on})
    yield Statement("keep_called_children", {"ids": family.going_on})
    yield Statement("forget_unanswered_waits", {"ids": family.going_on})
    yield Statement("run_handlers_again", {"ids": family.compensating})
    yield Statement("retry_executions", {"id": execution_id, "ids": family.ids})


def _check(
    execution_id: str, status: State, parents: Sequence[Mapping[str, str | bool | None]]
) -> None:
    if status not in _RETRYABLE:
        raise NotRetryable(
            f"Execution {execution_id} is {status}; only a failed, cancelled or "
            "compensation_failed one can be retried."
        )
    for parent in parents:
        parent_status = State(str(parent["status"]))
        if parent_status in FINAL or parent_status is State.COMPENSATING:
            raise ParentFinished(
                f"Execution {execution_id} is a child of {parent['id']}, which is "
                f"{parent_status}; retry that one."
            )
        if parent["block_completed"]:
            raise NotRetryable(
                f"Execution {execution_id} is a child of a block that {parent['id']} has "
                "completed without it; nothing would read its result."
            )


def _family(execution_id: str, status: State) -> Operation[_Family]:
    """Lock and return everybody who is retried with an execution, level by level."""
    family = _Family()
    family.add(execution_id, status)
    level = list(family.going_on)
    while level:
        children = yield Statement("lock_open_children", {"parents": level})
        level = []
        for child in children:
            state = State(child["status"])
            family.add(child["id"], state)
            if state in (State.FAILED, State.CANCELLED):
                level.append(child["id"])
    return family


def _forget_all(ids: Sequence[str]) -> Operation[None]:
    """Leave nothing of what executions did that was undone afterwards, their children included."""
    if not ids:
        return
    live = yield Statement("live_descendants", {"ids": ids})
    for row in live:
        raise NotRetryable(
            f"Execution {row['id']} would have to begin anew, and its descendant "
            f"{row['descendant']} is {row['status']}; try again when that has ended."
        )
    for name in (
        "delete_descendants",
        "forget_journal",
        "forget_blocks",
        "forget_once_results",
        "free_all_events",
        "forget_waits",
    ):
        yield Statement(name, {"ids": ids})
