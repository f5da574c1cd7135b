"""How a new execution begins in the middle: with a copy of another one's journal up to a step."""

from collections.abc import Mapping
from typing import Any

from durable_otp.errors import NotForkable
from durable_otp.storage.identity import is_id
from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.reports import not_found
from durable_otp.storage.statements import Statement

SHOWN = 20


@transaction
def fork(execution_id: str, from_step: str, new_id: str) -> Operation[str]:
    """Start an execution that has done what another one had done before a step; return its id.

    The source may be in any status; what it has committed is copied, and it is left alone.

    Args:
        execution_id: The source.
        from_step: The path of the step to begin with, or its name if that is unambiguous.
        new_id: The id of the execution to be, so that this can be repeated.

    Raises:
        ExecutionNotFound: There is no such source.
        NotForkable: It is a child of a block, or has not reached such a step itself.
    """
    if not is_id(execution_id):
        raise not_found(execution_id)
    rows = yield Statement("lock_fork_source", {"id": execution_id})
    if not rows:
        raise not_found(execution_id)
    source = rows[0]
    if source["is_block_child"]:
        raise NotForkable(
            f"Execution {execution_id} is a child of a block and means nothing without it; fork "
            f"its parent {source['parent_id']}."
        )
    reached = yield Statement("reached_paths", {"id": execution_id})
    positions = {} if source["first_path"] is None else {source["first_path"]: 0}
    positions |= {row["path"]: row["position"] for row in reached}
    path = _chosen(execution_id, from_step, positions)
    parameters = {"id": execution_id, "new_id": new_id, "path": path}
    yield Statement("fork", {**parameters, "position": positions[path]})
    return new_id


def _chosen(execution_id: str, from_step: Any, positions: Mapping[str, int]) -> str:
    """Return the path that a path or a name means."""
    if isinstance(from_step, str) and from_step in positions:
        return from_step
    named = [path for path in positions if path.rpartition("/")[2] == from_step]
    if len(named) == 1:
        return named[0]
    known = ", ".join(list(positions)[:SHOWN]) or "none"
    if named:
        raise NotForkable(
            f"Execution {execution_id} has reached several steps named {from_step!r}; give the "
            f"path of one of them: {', '.join(named[:SHOWN])}."
        )
    raise NotForkable(
        f"Execution {execution_id} has not reached a step {from_step!r} itself; it can be forked "
        f"from these: {known}."
    )
