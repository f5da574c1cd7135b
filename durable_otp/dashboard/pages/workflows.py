"""Every workflow that is known, those that never ran too; and starting one."""

import json
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.client import Durable
from durable_otp.dashboard.actions import Done, Order, action
from durable_otp.dashboard.flow import Flow
from durable_otp.dashboard.flow_layout import drawing
from durable_otp.dashboard.form_values import json_of
from durable_otp.dashboard.json_view import restored, text_of
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.dashboard.schema_form import (
    Field,
    filled,
    problems_of,
    read,
    sentence_of,
    without_secrets,
)
from durable_otp.dashboard.schema_shape import MISSING, Shape, shape_of
from durable_otp.dashboard.still import still
from durable_otp.dashboard.wording import short_id
from durable_otp.storage import dashboard
from durable_otp.storage.definitions import published
from durable_otp.storage.identity import is_id
from durable_otp.workflow.execution import Execution

FIELDS = ("like", "input", "queue", "priority", "idempotency_key")
CHECKED = "checked"
"""In the address of a form that was refused: what is wrong is said beside its fields."""
LONGEST_SHOWN = 10_000
"""Characters in a text area, and in an address."""


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
    typed: dict[str, str] = {}
    if description is not None:
        typed = _typed(request, name)
    return render(
        request,
        "workflow.html",
        status=200 if description else 404,
        name=name,
        definition=description,
        picture=_picture(description) if description else None,
        typed=typed,
        fields=_fields(request, description, typed) if description else None,
    )


def _fields(request: Request, description: dict[str, Any], typed: dict[str, str]) -> Field | None:
    """Return the form of the workflow's input type, with what is typed in it; None without one."""
    shape = shape_of(description.get("input_schema"))
    if shape is None:
        return None
    try:
        value = json.loads(typed["input"])
    except (ValueError, RecursionError):
        return filled(shape, MISSING)
    is_checked = CHECKED in request.query_params
    return filled(shape, value, problems_of(shape, value) if is_checked else None)


def _picture(description: dict[str, object]) -> Flow:
    nodes = description["nodes"]
    return still(drawing(nodes))  # type: ignore[arg-type]


def _typed(request: Request, name: str) -> dict[str, str]:
    """Return what the form begins with: what was refused, or another execution's input."""
    given = {key: request.query_params.get(key, "") for key in FIELDS}
    source = _source(console_of(request).client, name, given["like"])
    if "input" not in request.query_params:
        given["input"] = "{}" if source is None else _shown(source.input)
    return given | {"like": "" if source is None else source.id}


def _source(client: Durable, name: str, id_: str) -> Execution | None:
    """Return the execution whose input is begun with: the one that is meant, or the newest."""
    if is_id(id_):
        return client.get_execution(id_)
    newest = client.list_executions(name, top_level=True, limit=1)
    return newest[0] if newest else None


def _shown(value: Any) -> str:
    """Return an input for a text area, secrets hidden."""
    text = "{}" if value is None else text_of(value)
    return text if len(text) < LONGEST_SHOWN else "{}"


def _start(order: Order) -> Done:
    name, like = order.path["name"], order.text("like")
    priority = order.text("priority").strip()
    source = order.console.client.get_execution(like).input if is_id(like) else None
    handle = order.console.client.start(
        name,
        _meant(order, source),
        queue=order.text("queue").strip() or None,
        priority=int(priority) if priority else None,
        idempotency_key=order.text("idempotency_key").strip() or None,
    )
    sentence = f"Started {name}: execution {short_id(handle.id)}."
    return Done(handle.id, sentence, f"/executions/{handle.id}", {"workflow": name})


def _meant(order: Order, source: Any) -> Any:
    """Return the input that a form means.

    Raises:
        ValueError: It is not JSON, or a field is not what it has to be.
    """
    shape = _shape(order)
    if shape is None:
        return restored(json_of(order.text("input"), "The input"), source)
    given = restored(read(shape, order.form), source)
    problems = problems_of(shape, given)
    if problems:
        raise ValueError(sentence_of(problems))
    return given


def _shape(order: Order) -> Shape | None:
    """Return the fields that a form was sent with; None when it was sent as JSON."""
    name = order.path["name"]
    if order.text("as") != "fields" or not name.isprintable():
        return None
    return shape_of((order.console.run(published, name) or {}).get("input_schema"))


def _back(order: Order) -> str:
    """Return the form with what was typed into it, but for secrets."""
    path = f"/workflows/{quote(order.path['name'], safe='')}"
    given = {key: order.text(key) for key in FIELDS}
    shape = _shape(order)
    if shape is not None:
        value = without_secrets(read(shape, order.form))
        given |= {"input": json.dumps(value, ensure_ascii=False), CHECKED: "1"}
    text = urlencode(given)
    return f"{path}?{text}#start" if len(text) <= LONGEST_SHOWN else path


ROUTES = [
    Route("/workflows", workflows),
    Route("/workflows/{name:path}/start", workflow, methods=["GET"]),
    action("/workflows/{name:path}/start", "start", _start, back=_back),
    Route("/workflows/{name:path}", workflow),
]
