"""Queues over all nodes: what waits in them, who runs them; pause, resume, scale, drain."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.actions import Done, Order, action
from durable_otp.dashboard.console import Console, TookTooLong
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.runtime.queue_view import queue_views
from durable_otp.storage import dashboard
from durable_otp.storage.queue import check_queue
from durable_otp.workflow.execution import QueueStats

LOAD = ("pending", "running", "waiting", "compensating")
MOST_WORKERS = 10_000
RATE_SECONDS, MOST_RATED = 300.0, 5000


def queues(request: Request) -> Response:
    """Show every queue that has work, a manager or a setting."""
    console = console_of(request)
    load = console.kept("load", lambda: console.run(dashboard.queue_load))
    stats = {
        queue: QueueStats(queue, **{key: row.get(key, 0) for key in (*LOAD, "scheduled")})
        for queue, row in load.items()
    }
    nodes = console.nodes()
    return render(
        request,
        "queues.html",
        queues=queue_views(console, nodes, stats),
        load=load,
        hosts={node.id: node.hostname for node in nodes},
        rates=_rates(console),
    )


def _rates(console: Console) -> dict[str, float] | None:
    """Return how many a minute end, by queue; None when that takes too long to ask."""

    def ask() -> dict[str, float] | None:
        try:
            return console.run(dashboard.queue_rates, RATE_SECONDS, MOST_RATED)
        except TookTooLong:
            return None

    return console.kept("rates", ask, seconds=2.0)


def _pause(order: Order) -> Done:
    order.console.client.pause_queue(_name(order), node=_node(order))
    return _changed(order, f"Queue {_name(order)} is paused {_where(order)}; what runs goes on.")


def _resume(order: Order) -> Done:
    order.console.client.resume_queue(_name(order), node=_node(order))
    return _changed(order, f"Queue {_name(order)} goes on {_where(order)}.")


def _drain(order: Order) -> Done:
    order.console.client.pause_queue(_name(order), node=_node(order))
    name = _name(order)
    return _changed(order, f"Queue {name} is draining {_where(order)}: nothing more is claimed.")


def _scale(order: Order) -> Done:
    name, text = _name(order), order.text("concurrency").strip()
    if not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise ValueError(f"Concurrency must be a whole number from 1 to {MOST_WORKERS:,}.")
    order.console.client.scale_queue(name, int(text), node=_node(order))
    return _changed(order, f"Queue {name} runs {text} at once {_where(order)}.")


def _changed(order: Order, sentence: str) -> Done:
    order.console.hub.tell("queues")
    detail = {key: order.text(key) for key in ("node", "concurrency") if order.text(key)}
    return Done(_name(order), sentence, None, detail)


def _node(order: Order) -> str | None:
    return order.text("node") or None


def _name(order: Order) -> str:
    return check_queue(order.path["name"])


def _where(order: Order) -> str:
    node = order.text("node")
    return f"on node {node[:8]}" if node else "on all nodes"


ROUTES = [
    Route("/queues", queues),
    action("/queues/{name:path}/pause", "pause queue", _pause),
    action("/queues/{name:path}/resume", "resume queue", _resume),
    action("/queues/{name:path}/drain", "drain queue", _drain),
    action("/queues/{name:path}/scale", "scale queue", _scale),
]
