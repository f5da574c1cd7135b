"""Cancelling executions together with everything below them."""

from collections.abc import Sequence

from durable_otp.storage.operation import Operation
from durable_otp.storage.statements import Statement
from durable_otp.workflow.json_form import encode


def cancelled(message: str) -> dict[str, str]:
    """Return the error of a cancelled execution."""
    return {"type": "cancelled", "message": message}


def cancel_families(roots: Sequence[str], message: str) -> Operation[set[str]]:
    """Cancel executions whose rows are locked, and their descendants; return who was cancelled.

    Ancestors are locked before descendants, level by level: a child that is being made either is
    there when its level is read, or finds its parent's claim gone.
    """
    family = level = list(roots)
    while level:
        children = yield Statement("lock_children", {"parents": level})
        level = [child["id"] for child in children]
        family = [*family, *level]
    error = encode(cancelled(message)).decode()
    rows = yield Statement("cancel_executions", {"ids": family, "error": error})
    return {row["id"] for row in rows}
