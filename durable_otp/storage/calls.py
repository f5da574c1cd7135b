"""The workflows that a step has called: how they are created, and what their caller hears."""

from collections.abc import Sequence
from typing import Any

from durable_otp.engine.journal import Answer
from durable_otp.storage.identity import new_id
from durable_otp.storage.operation import Operation, Row
from durable_otp.storage.reports import folded_context
from durable_otp.storage.statements import Statement
from durable_otp.workflow.child_call import COMPLETED, TIMED_OUT, ChildCall, ChildEnd
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.state import FINAL
from durable_otp.workflow.suspension import WaitRequest

CHILD = "child"


def called_parameters(waits: Sequence[tuple[int, WaitRequest]]) -> dict[str, Any] | None:
    """Return the parameters of `create_called_children`; None when nothing is called."""
    calls = [(ordinal, wait.child) for ordinal, wait in waits if wait.child is not None]
    if not calls:
        return None
    children: list[ChildCall] = [child for _, child in calls]
    options = [child.options for child in children]
    return {
        "ordinals": [ordinal for ordinal, _ in calls],
        "child_ids": [new_id() for _ in calls],
        "refs": [each.ref for each in options],
        "workflows": [child.workflow for child in children],
        "versions": [child.version for child in children],
        "queues": [child.queue for child in children],
        "priorities": [child.priority for child in children],
        "inputs": [child.input for child in children],
        "timeouts": [child.timeout for child in children],
        "patiences": [each.patience for each in options],
        "have_values": [each.has_timeout_value for each in options],
        "timeout_values": [
            encode(each.timeout_value).decode() if each.has_timeout_value else None
            for each in options
        ],
    }


def called_answers(key: dict[str, Any], attempt: int) -> Operation[dict[int, Answer | None]]:
    """Return what a visit's calls have come to, by ordinal; None: to be asked afresh.

    A completed child is kept over the attempts; a failure or a timeout belongs to the attempt that
    had asked. One that has not ended is waited for by whichever attempt comes.
    """
    rows = yield Statement("called_children_of", key)
    answers: dict[int, Answer | None] = {}
    for row in rows:
        answers[row["ordinal"]] = yield from _answer(row, attempt)
    return answers


def _answer(row: Row, attempt: int) -> Operation[Answer | None]:
    names = tuple(row["names"])
    if row["status"] == COMPLETED and row["wait_status"] != TIMED_OUT:
        context = yield from folded_context(row["id"], row["input"])
        end = ChildEnd(row["id"], row["workflow"], COMPLETED, context)
        return Answer(CHILD, is_answered=True, value=end, names=names)
    if row["wait_status"] != TIMED_OUT and row["status"] not in FINAL:
        return Answer(CHILD, is_answered=False, names=names)
    if row["attempt"] != attempt:
        return None
    end = ChildEnd(
        execution_id=row["id"],
        workflow=row["workflow"],
        status=TIMED_OUT if row["wait_status"] == TIMED_OUT else row["status"],
        error=row["error"],
        has_timeout_value=row["has_timeout_value"],
        timeout_value=row["timeout_value"],
    )
    return Answer(CHILD, is_answered=True, value=end, names=names)
