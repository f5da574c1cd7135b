"""Why an execution does not go on, in a sentence, and what would make it. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from durable_otp.dashboard.timeline import wait_words
from durable_otp.runtime.queue_view import QueueView
from durable_otp.workflow.execution import Execution
from durable_otp.workflow.state import State


class Why(NamedTuple):
    """The reason, when it ends by itself if it does, and the page where something can be done."""

    sentence: str
    until: Any = None
    page: str | None = None


def why(
    execution: Execution, waits: Sequence[dict[str, Any]], queue: QueueView | None, *, is_known: bool
) -> Why:
    """Return why nothing runs it now."""
    if execution.status is State.WAITING:
        return _waiting(execution, [wait for wait in waits if wait["status"] == "open"])
    if queue is None or not queue.managers:
        return Why(f"No living node runs queue “{execution.queue}”.", page="/processes")
    if queue.paused:
        return Why(f"Queue “{execution.queue}” is paused.", page="/queues")
    if not is_known:
        return Why("No living node knows this workflow in this version.", page="/processes")
    attempts = [step for step in execution.steps or () if step.status.value == "failed"]
    if attempts and execution.scheduled_at:
        return Why("It waits before its next attempt.", execution.scheduled_at)
    busy = sum(manager.busy for manager in queue.managers)
    if busy >= queue.concurrency > 0:
        return Why(f"All {queue.concurrency} workers of “{execution.queue}” are busy.", page="/queues")
    return Why("It is due, or will be at this time.", execution.scheduled_at)


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
