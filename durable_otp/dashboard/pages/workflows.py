"""Every workflow that is known, those that never ran too; and starting one."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.actions import Done, Order, action
from durable_otp.dashboard.flow import Flow
from durable_otp.dashboard.flow_layout import drawing
from durable_otp.dashboard.form_values import json_of
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.dashboard.still import still
from durable_otp.dashboard.wording import short_id
from durable_otp.storage import dashboard
from durable_otp.storage.definitions import published
from durable_otp.workflow.json_form import encode


def workflows(request: Request) -> Response:
    """Show all workflows."""
    console = console_of(request)
    rows = console.kept("workflows", lambda: console.run(dashboard.workflows))
    known = {name for node in console.kept("nodes", console.nodes) for name, _ in node.workflows}
    return render(request, "workflows.html", workflows=rows, served=known)


def workflow(request: Request) -> Response:
    """Show one workflow: its picture, and a form to start it."""
    console = console_of(request)
    name = request.path_params["name"]
    description = console.run(published, name) if name.isprintable() else None
    last_input = None
    if description is not None:
        last_input = _last_input(request, name)
    return render(
        request,
        "workflow.html",
        status=200 if description else 404,
        name=name,
        definition=description,
        picture=_picture(description) if description else None,
        last_input=last_input,
    )


def _picture(description: dict[str, object]) -> Flow:
    nodes = description["nodes"]
    return still(drawing(nodes))  # type: ignore[arg-type]


def _last_input(request: Request, name: str) -> str:
    """Return the input of the newest execution as text, to begin with."""
    newest = console_of(request).client.list_executions(name, top_level=True, limit=1)
    if not newest or newest[0].input is None:
        return "{}"
    text = encode(newest[0].input).decode()
    return text if len(text) < 10_000 else "{}"  # noqa: PLR2004 - characters in a text area


def _start(order: Order) -> Done:
    name = order.path["name"]
    priority = order.text("priority").strip()
    handle = order.console.client.start(
        name,
        json_of(order.text("input"), "The input"),
        queue=order.text("queue").strip() or None,
        priority=int(priority) if priority else None,
        idempotency_key=order.text("idempotency_key").strip() or None,
    )
    sentence = f"Started {name}: execution {short_id(handle.id)}."
    return Done(handle.id, sentence, f"/executions/{handle.id}", {"workflow": name})


ROUTES = [
    Route("/workflows", workflows),
    Route("/workflows/{name:path}/start", workflow, methods=["GET"]),
    action("/workflows/{name:path}/start", "start", _start),
    Route("/workflows/{name:path}", workflow),
]
