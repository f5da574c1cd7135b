"""What can be done to one execution: cancel, retry, fork from a step."""

from durable_otp.dashboard.actions import Done, Order, action
from durable_otp.dashboard.wording import short_id


def _cancel(order: Order) -> Done:
    id_, reason = order.path["id"], order.text("reason").strip()
    order.console.client.cancel(id_, reason or f"cancelled by {order.actor}")
    return Done(id_, f"Cancelled {short_id(id_)} and its children.", None, {"reason": reason})


def _retry(order: Order) -> Done:
    id_ = order.path["id"]
    order.console.client.retry(id_)
    return Done(id_, f"{short_id(id_)} goes on where it stopped.")


def _fork(order: Order) -> Done:
    id_, step = order.path["id"], order.text("step")
    handle = order.console.client.fork(id_, step)
    sentence = f"Forked from {step}: this is the new execution {short_id(handle.id)}."
    return Done(id_, sentence, f"/executions/{handle.id}", {"step": step, "fork": handle.id})


ROUTES = [
    action("/executions/{id}/cancel", "cancel", _cancel),
    action("/executions/{id}/retry", "retry", _retry),
    action("/executions/{id}/fork", "fork", _fork),
]
