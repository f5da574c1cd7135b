"""The states of an execution and the moves between them: the one table everybody obeys.

::

                    claim                complete
        pending ────────────▶ running ─────────────▶ completed
         ▲ ▲                   │ │ │      fail
         │ └───────────────────┘ │ └───────────────▶ failed       (also from pending, waiting)
         │   release, interrupt, │        cancel
         │   retry_later         │ ────────────────▶ cancelled    (also from pending, waiting)
         │ wake                  │ suspend
         └──────── waiting ◀─────┘

        pending, running, waiting ──compensate──▶ compensating
        compensating ──claim, release, interrupt, retry_later──▶ compensating
        compensating ──finish_compensation──▶ compensated
        compensating ──fail_compensation──▶ compensation_failed

        failed, cancelled ──retry──▶ pending
        compensation_failed ──retry──▶ compensating

A state is final when nothing but an operator's ``retry`` leaves it. A ``compensated`` execution is
retried only as the child of a block whose parent is: what it did is undone, so it begins anew.
A ``compensating`` execution that nothing holds is claimed like a pending one and keeps its
status, so a compensation is resumed and never abandoned. The statements in ``storage/sql`` name
the move they make; a test holds them against this table.
"""

from enum import StrEnum


class State(StrEnum):
    """The status of an execution."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class StepState(StrEnum):
    """The status of one attempt of a step."""

    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"


class Move(StrEnum):
    """What may happen to an execution."""

    CLAIM = "claim"
    RELEASE = "release"
    """Given back unharmed: a graceful stop, or a crash that leaves another run."""
    INTERRUPT = "interrupt"
    """The claim was lost with its manager or node, or its lock went stale."""
    RETRY_LATER = "retry_later"
    """A back-off too long to hold a worker for."""
    SUSPEND = "suspend"
    WAKE = "wake"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    COMPENSATE = "compensate"
    FINISH_COMPENSATION = "finish_compensation"
    FAIL_COMPENSATION = "fail_compensation"
    RETRY = "retry"
    """An operator has it go on where it stopped."""


TRANSITIONS: dict[tuple[State, Move], State] = {
    (State.PENDING, Move.CLAIM): State.RUNNING,
    (State.PENDING, Move.FAIL): State.FAILED,
    (State.PENDING, Move.CANCEL): State.CANCELLED,
    (State.PENDING, Move.COMPENSATE): State.COMPENSATING,
    (State.RUNNING, Move.RELEASE): State.PENDING,
    (State.RUNNING, Move.INTERRUPT): State.PENDING,
    (State.RUNNING, Move.RETRY_LATER): State.PENDING,
    (State.RUNNING, Move.SUSPEND): State.WAITING,
    (State.RUNNING, Move.COMPLETE): State.COMPLETED,
    (State.RUNNING, Move.FAIL): State.FAILED,
    (State.RUNNING, Move.CANCEL): State.CANCELLED,
    (State.RUNNING, Move.COMPENSATE): State.COMPENSATING,
    (State.WAITING, Move.WAKE): State.PENDING,
    (State.WAITING, Move.FAIL): State.FAILED,
    (State.WAITING, Move.CANCEL): State.CANCELLED,
    (State.WAITING, Move.COMPENSATE): State.COMPENSATING,
    (State.COMPENSATING, Move.CLAIM): State.COMPENSATING,
    (State.COMPENSATING, Move.RELEASE): State.COMPENSATING,
    (State.COMPENSATING, Move.INTERRUPT): State.COMPENSATING,
    (State.COMPENSATING, Move.RETRY_LATER): State.COMPENSATING,
    (State.COMPENSATING, Move.FINISH_COMPENSATION): State.COMPENSATED,
    (State.COMPENSATING, Move.FAIL_COMPENSATION): State.COMPENSATION_FAILED,
    (State.FAILED, Move.RETRY): State.PENDING,
    (State.CANCELLED, Move.RETRY): State.PENDING,
    (State.COMPENSATED, Move.RETRY): State.PENDING,
    (State.COMPENSATION_FAILED, Move.RETRY): State.COMPENSATING,
}
"""Where each move leads; a pair that is not here cannot happen."""

FINAL: frozenset[State] = frozenset(State) - {
    state for state, move in TRANSITIONS if move is not Move.RETRY
}
"""The states that nothing but an operator's retry leaves."""
