"""What can be done to one execution: cancel, retry, fork from a step."""

from durable_otp.dashboard.actions import Done, Order, action


def _cancel(order: Order) -> Done:
    id_, reason = order.path["id"], order.text("reason").strip()
    order.console.client.cancel(id_, reason or f"cancelled by {order.actor}")
    return Done(id_, f"Cancelled {id_[:8]} and its children.", None, {"reason": reason})


def _retry(order: Order) -> Done:
    id_ = order.path["id"]
    order.console.client.retry(id_)
    return Done(id_, f"{id_[:8]} goes on where it stopped.")


def _fork(order: Order) -> Done:
    id_, step = order.path["id"], order.text("step")
    handle = order.console.client.fork(id_, step)
    sentence = f"Forked from {step}: this is the new execution {handle.id[:8]}."
    return Done(id_, sentence, f"/executions/{handle.id}", {"step": step, "fork": handle.id})


ROUTES = [
    action("/executions/{id}/cancel", "cancel", _cancel),
    action("/executions/{id}/retry", "retry", _retry),
    action("/executions/{id}/fork", "fork", _fork),
]
