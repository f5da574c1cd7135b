"""Cancelling executions together with everything below them."""

from collections.abc import Sequence

from durable_otp.storage.operation import Operation, Row
from durable_otp.storage.statements import Statement
from durable_otp.workflow.json_form import encode


def cancelled(message: str) -> dict[str, str]:
    """Return the error of a cancelled execution."""
    return {"type": "cancelled", "message": message}


def lock_descendants(roots: Sequence[str]) -> Operation[list[str]]:
    """Lock all descendants of executions that are locked already; return them.

    Ancestors are locked before descendants, level by level: a child that is being made either is
    there when its level is read, or finds its parent's claim gone.
    """
    family: list[str] = []
    level = list(roots)
    while level:
        children = yield Statement("lock_children", {"parents": level})
        level = [child["id"] for child in children]
        family += level
    return family


def cancel_descendants(roots: Sequence[str], message: str) -> Operation[Sequence[Row]]:
    """Cancel what is below executions whose rows are locked; return the rows of the cancelled."""
    family = yield from lock_descendants(roots)
    return (yield from _cancel(family, message)) if family else []


def cancel_families(roots: Sequence[str], message: str) -> Operation[Sequence[Row]]:
    """Cancel executions whose rows are locked, and their descendants; return the rows of all."""
    family = [*roots, *(yield from lock_descendants(roots))]
    return (yield from _cancel(family, message))


def _cancel(ids: Sequence[str], message: str) -> Operation[Sequence[Row]]:
    error = encode(cancelled(message)).decode()
    return (yield Statement("cancel_executions", {"ids": list(ids), "error": error}))
