"""Settling an attempt whose worker died or was stopped; see sql/settlement.sql for the order.

The manager runs these: first `condemn`, committed, then one of the others under the new token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from durable_otp.storage.aftermath import aftermath, parents_of
from durable_otp.storage.compensations import settle_handler_crash
from durable_otp.storage.identity import new_id
from durable_otp.storage.journal_writing import json_text
from durable_otp.storage.operation import Operation, Row, transaction
from durable_otp.storage.statements import Statement
from durable_otp.workflow.execution import Settled

COMPENSATION = "compensation"
"""The type of an attempt that undoes a step."""


@dataclass(frozen=True)
class LostAttempt:
    """The attempt that did not end by itself, as its worker had reported it."""

    path: str
    name: str
    type: str
    visit: int
    number: int
    duration: float
    error: Mapping[str, Any]
    logs: Sequence[Mapping[str, Any]]
    peak_rss: int | None = None
    """The most memory in bytes that its process held, if that has ended."""
    process: str | None = None
    """Which process ran it, as `processes.process_key` names it."""


@dataclass(frozen=True)
class HeldClaim:
    """A claim as its manager refreshes it, with the step that has begun."""

    id: str
    lock_token: str
    begun: Mapping[str, Any] | None


@dataclass(frozen=True)
class Verdict:
    """What became of the execution: its status now, and when it is due if it is pending."""

    status: str
    crashes: int
    due_in: float | None
    is_held: bool = False
    """Whether the claim stays, to run again at once under the new token."""
    parents: tuple[str, ...] = ()
    """Whom to tell, if a child has ended."""


def condemn(execution_id: str, lock_token: str, new_token: str) -> Operation[bool]:
    """Change the lock token, so that nothing the old holder still sends counts.

    Returns whether the new token is in force, by this try or an earlier one.
    """
    tokens = {"lock_token": lock_token, "new_token": new_token}
    rows = yield Statement("condemn", {"id": execution_id, **tokens})
    return bool(rows)


@transaction
def settle_crash(
    execution_id: str, tokens: tuple[str, str], attempt: LostAttempt, most: int, backoff: float
) -> Operation[Verdict | None]:
    """Count a death against the execution and decide whether it runs again; None: claim lost.

    Args:
        execution_id: Whose worker died.
        tokens: The lock token in force, and the one under which it runs again at once.
        attempt: What the worker was at.
        most: The execution's `max_crashes`.
        backoff: Seconds until the second rerun at a position; they double from there.
    """
    lock_token, new_token = tokens
    parameters = _parameters(execution_id, lock_token, attempt) | {"new_token": new_token}
    parameters |= {"max_crashes": most, "backoff": backoff}
    rows: Sequence[Row] = ()
    if attempt.type != COMPENSATION:
        rows = yield Statement("settle_crash", parameters)
        yield from aftermath(rows)
    if not rows:
        rows = yield Statement("crash_was_settled", {"id": execution_id, "new_token": new_token})
    return _verdict(rows or (yield from settle_handler_crash(parameters, attempt.type)))


@transaction
def settle_timeout(
    execution_id: str, lock_token: str, attempt: LostAttempt, delay: float | None
) -> Operation[Verdict | None]:
    """Record a failed attempt and retry after ``delay``; if that is None, it was the last one."""
    parameters = _parameters(execution_id, lock_token, attempt)
    parameters["delay"] = delay
    if attempt.type == COMPENSATION:
        return _verdict((yield Statement("settle_handler_timeout", parameters)))
    rows = yield Statement("settle_timeout", parameters)
    yield from aftermath(rows)
    return _verdict(rows)


def release(claims: Sequence[tuple[str, str]]) -> Operation[int]:
    """Give claims (id, lock token) back to the queue uncounted; return how many were held."""
    ids = [execution_id for execution_id, _ in claims]
    tokens = [token for _, token in claims]
    rows = yield Statement("release", {"ids": ids, "lock_tokens": tokens})
    return len(rows)


def set_aside(execution_id: str, lock_token: str, delay: float) -> Operation[bool]:
    """Give a claim back unharmed for ``delay`` seconds; return whether it was held."""
    claim = {"id": execution_id, "lock_token": lock_token}
    return bool((yield Statement("set_aside", {**claim, "delay": delay})))


def refresh(claims: Sequence[HeldClaim]) -> Operation[dict[str, Settled]]:
    """Keep claims from going stale, and tell their steps; return how each token fared."""
    rows = yield Statement(
        "heartbeat_many",
        {
            "ids": [claim.id for claim in claims],
            "lock_tokens": [claim.lock_token for claim in claims],
            "begun": [claim.begun and json_text(claim.begun) for claim in claims],
        },
    )
    return {row["lock_token"]: Settled(row["settled"]) for row in rows}


def _parameters(execution_id: str, lock_token: str, attempt: LostAttempt) -> dict[str, Any]:
    return {
        "id": execution_id,
        "lock_token": lock_token,
        "step_id": new_id(),
        "path": attempt.path,
        "name": attempt.name,
        "type": attempt.type,
        "visit": attempt.visit,
        "attempt": attempt.number,
        "duration": attempt.duration,
        "error": json_text(attempt.error),
        "logs": json_text(list(attempt.logs)),
        "peak_rss": attempt.peak_rss,
        "process": attempt.process,
    }


def _verdict(rows: Sequence[Row]) -> Verdict | None:
    if not rows:
        return None
    row = rows[0]
    parents = parents_of(rows)
    return Verdict(row["status"], row["crashes"], row["due_in"], row["is_held"], parents)
