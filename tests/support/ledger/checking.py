"""Asking a record of every invariant that applies to it."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.support.ledger import invariants, invariants_claims, invariants_steps, invariants_waiting
from tests.support.ledger.record import Record, Rows

Invariant = Callable[[Record], list[str]]

ALWAYS: Mapping[str, Invariant] = {
    "I-1": invariants.nothing_is_lost,
    "I-2": invariants.nothing_is_invented,
    "I-4": invariants.an_end_is_final,
    "I-5": invariants.only_known_moves_are_made,
    "I-6": invariants_steps.what_committed_never_runs_again,
    "I-7": invariants_steps.repetition_is_bounded,
    "I-8": invariants_claims.claims_exclude_each_other,
    "I-9": invariants_claims.only_the_holder_writes,
    "I-13": invariants_waiting.events_are_consumed_once,
    "I-14": invariants_waiting.slots_run_once,
    "I-16": invariants_waiting.parents_wait_for_their_children,
    "I-20": invariants.poison_stops,
    "I-21": invariants.no_claim_is_stolen,
    "I-23": invariants_steps.attempts_are_counted,
    "I-25": invariants.a_key_starts_one,
    "I-26": invariants_steps.logs_are_their_own,
}
"""What holds at every moment."""

AT_REST: Mapping[str, Invariant] = {
    "I-3": invariants.every_execution_ends_once,
    "I-11": invariants_claims.nothing_is_left,
    "I-15": invariants_steps.undoing_is_complete,
}
"""What holds when no fault is active and the queues are empty.

I-10, I-12, I-17, I-18, I-19, I-22, I-24 and I-27 need to be told more than a record holds; whoever
can, asks them by name.
"""


def violations(
    record: Record,
    *,
    at_rest: bool = True,
    without: tuple[str, ...] = (),
    sessions: Rows | None = None,
    max_crashes: int = 3,
) -> list[str]:
    """Return every violation of the invariants that a record can be asked of.

    Args:
        record: What happened.
        at_rest: Whether everything ought to have ended.
        without: Invariants that do not apply, such as "I-2".
        sessions: The product's sessions at rest, for I-11.
        max_crashes: What the workflows allow, for I-20.
    """
    asked = dict(ALWAYS) | (dict(AT_REST) if at_rest else {})
    found = []
    for name, invariant in asked.items():
        if name in without:
            continue
        more: dict[str, Any] = {}
        if name == "I-20":
            more["max_crashes"] = max_crashes
        if name == "I-11" and sessions is not None:
            more["sessions"] = sessions
        found += invariant(record, **more)
    return found


def check(record: Record, **options: Any) -> None:
    """Fail with every violation in one message."""
    found = violations(record, **options)
    assert not found, f"{len(found)} violations:\n" + "\n".join(found)
