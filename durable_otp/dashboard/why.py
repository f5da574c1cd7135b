"""Why an execution does not go on, in a sentence, and what would make it. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from durable_otp.dashboard.timeline import wait_words
from durable_otp.runtime.queue_view import QueueView
from durable_otp.workflow.execution import Execution
from durable_otp.workflow.state import State, StepState


class Why(NamedTuple):
    """The reason, when it ends by itself if it does, and the page where something can be done."""

    sentence: str
    until: Any = None
    page: str | None = None


def why(
    execution: Execution,
    waits: Sequence[dict[str, Any]],
    queue: QueueView | None,
    *,
    is_known: bool,
) -> Why:
    """Return why nothing runs it now."""
    if execution.status is State.WAITING:
        return _waiting(execution, [wait for wait in waits if wait["status"] == "open"])
    obstacle = _obstacle(execution, queue, is_known=is_known)
    if obstacle is not None:
        return obstacle
    if any(step.status is StepState.FAILED for step in execution.steps or ()):
        return Why("It waits before its next attempt.", execution.scheduled_at)
    return Why("It is due, or will be at this time.", execution.scheduled_at)


def _obstacle(execution: Execution, queue: QueueView | None, *, is_known: bool) -> Why | None:
    """Return what keeps every worker from it, if something does."""
    name = execution.queue
    if queue is None or not queue.managers:
        return Why(f"No living node runs queue “{name}”.", page="/processes")
    if queue.paused:
        return Why(f"Queue “{name}” is paused.", page="/queues")
    if not is_known:
        return Why("No living node knows this workflow in this version.", page="/processes")
    if sum(manager.busy for manager in queue.managers) >= queue.concurrency > 0:
        return Why(f"All {queue.concurrency} workers of “{name}” are busy.", page="/queues")
    return None


def _waiting(execution: Execution, waits: Sequence[dict[str, Any]]) -> Why:
    if not waits:
        return Why("It sleeps.", execution.scheduled_at)
    words = " and ".join(dict.fromkeys(wait_words(wait) for wait in waits[:3]))
    dues = [wait["due_at"] for wait in waits if wait["due_at"]]
    until = min(dues) if dues else execution.scheduled_at
    kinds = {wait["kind"] for wait in waits}
    page = "summary" if "input" in kinds else "events" if kinds & {"event", "any", "all"} else None
    tab = f"/executions/{execution.id}/{page}" if page else None
    return Why(f"It waits for {words}.", until, tab)
