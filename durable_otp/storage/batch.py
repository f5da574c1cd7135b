"""Finished steps of many executions, settled in one transaction (``commit = "batched"``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic_core import to_json

from durable_otp.storage.aftermath import parents_of
from durable_otp.storage.operation import Operation, Row, transaction
from durable_otp.storage.statements import Statement

JSON_COLUMNS = ("output", "changes", "snapshot", "results", "logs")
"""What is JSON text already, and goes into a row's text as it is."""


class Verdict(StrEnum):
    """How an execution's rows fared."""

    SETTLED = "settled"
    BUSY = "busy"
    """Somebody has locked it: to be tried again."""
    LOST = "lost"
    """The claim is not ours any more: nothing was written."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """A finished step on its way.

    Attributes:
        text: The row as `row_text` makes it.
        is_last: Whether the execution is completed with it.
        result: JSON text of what a block's child gives, with its last step.
    """

    execution_id: str
    lock_token: str
    step_id: str
    text: bytes
    is_last: bool
    result: str | None = None


@dataclass(frozen=True)
class Settled:
    """What became of a batch: a verdict by (execution id, lock token), and parents to be told."""

    verdicts: dict[tuple[str, str], Verdict]
    parents: tuple[str, ...]


def row_text(parameters: dict[str, Any]) -> bytes:
    """Return a finished step's parameters as the JSON that is read here."""
    plain = {key: value for key, value in parameters.items() if key not in JSON_COLUMNS}
    texts = [
        f',"{key}":{parameters[key]}' for key in JSON_COLUMNS if parameters.get(key) is not None
    ]
    return to_json(plain)[:-1] + "".join(texts).encode() + b"}"


@transaction
def settle_batch(rows: Sequence[StepRow]) -> Operation[Settled]:
    """Write finished steps, each execution's in their order, with its end if that is among them.

    An execution whose claim is lost writes nothing; repeating a batch changes nothing.
    """
    last = {(row.execution_id, row.lock_token): row for row in rows}
    held = yield Statement("lock_batch", _claims(last))
    ours = {(row["id"], row["lock_token"]): Verdict.SETTLED for row in held}
    left = [row for claim, row in last.items() if claim not in ours]
    ended: Sequence[Row] = ()
    if ours:
        ended = yield from _write([r for r in rows if (r.execution_id, r.lock_token) in ours])
    if not left:
        return Settled(ours, parents_of(ended))
    found = yield Statement("standing_of_batch", _standing(left))
    standing = {row["id"]: row for row in found}
    verdicts = ours | {
        (row.execution_id, row.lock_token): _verdict(standing.get(row.execution_id)) for row in left
    }
    written = [row for row in found if row["is_written"]]
    return Settled(verdicts, parents_of([*ended, *written]))


def _write(rows: Sequence[StepRow]) -> Operation[Sequence[Row]]:
    """Write the rows of executions that are locked; return those that have ended by it."""
    text = b"[" + b",".join(row.text for row in rows) + b"]"
    yield Statement("write_batch", {"rows": text.decode()})
    ends = {(row.execution_id, row.lock_token): row for row in rows if row.is_last}
    if not ends:
        return ()
    results = [row.result for row in ends.values()]
    return (yield Statement("complete_batch", {**_claims(ends), "results": results}))


def _verdict(standing: Row | None) -> Verdict:
    if standing is None:
        return Verdict.LOST
    if standing["is_written"]:
        return Verdict.SETTLED
    return Verdict.BUSY if standing["is_ours"] else Verdict.LOST


def _claims(claims: dict[tuple[str, str], StepRow]) -> dict[str, Any]:
    return {"ids": [each for each, _ in claims], "lock_tokens": [token for _, token in claims]}


def _standing(rows: Sequence[StepRow]) -> dict[str, Any]:
    return {
        "ids": [row.execution_id for row in rows],
        "lock_tokens": [row.lock_token for row in rows],
        "step_ids": [row.step_id for row in rows],
    }
