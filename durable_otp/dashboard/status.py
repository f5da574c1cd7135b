"""What each status means to the eye: one table, used by every page, picture and style sheet."""

from durable_otp.workflow.state import State, StepState

TIERS = ("idle", "run", "warn", "ok", "bad", "undo")

_TIER = {
    State.PENDING.value: "idle",
    State.RUNNING.value: "run",
    State.WAITING.value: "warn",
    State.COMPLETED.value: "ok",
    State.FAILED.value: "bad",
    State.CANCELLED.value: "idle",
    State.COMPENSATING.value: "undo",
    State.COMPENSATED.value: "undo",
    State.COMPENSATION_FAILED.value: "bad",
    StepState.RUNNING.value: "run",
    # processes
    "up": "ok",
    "starting": "run",
    "restarting": "warn",
    "stopping": "warn",
    "down": "bad",
    # what else is shown with a pill
    "scheduled": "idle",
    "crashed": "bad",
    "open": "warn",
    "answered": "ok",
    "timed_out": "bad",
    "paused": "warn",
    "enabled": "ok",
    "disabled": "idle",
    "done": "ok",
    "refused": "bad",
    "skipped": "idle",
    "not_started": "bad",
    "unknown": "idle",
}


def tier(status: object) -> str:
    """Return which of the six meanings a status has; what is unknown is idle."""
    return _TIER.get(str(status), "idle")
