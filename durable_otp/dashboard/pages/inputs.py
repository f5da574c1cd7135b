"""What people are asked, each with the form that answers it; and what waits for events."""

from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.actions import Done, Order, action
from durable_otp.dashboard.form_values import answer_of, json_of
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.dashboard.wording import short_id
from durable_otp.errors import NoPendingInput
from durable_otp.workflow.human_input import TYPES

SHOWN = 50
LONGEST_TYPED = 10_000
"""Characters in an address."""


def inputs(request: Request) -> Response:
    """Show what is asked, the first to time out first."""
    client = console_of(request).client
    kind = request.query_params.get("type")
    asked = client.list_pending_inputs(limit=SHOWN * 4)
    shown = [each for each in asked if kind not in TYPES or each.type == kind][:SHOWN]
    return render(
        request,
        "inputs.html",
        inputs=shown,
        events=client.list_pending_events(limit=SHOWN),
        kind=kind if kind in TYPES else None,
        kinds=TYPES,
        total=len(asked),
        answered={},
    )


def _answer(order: Order) -> Done:
    id_, name = order.path["id"], order.text("name")
    open_inputs = order.console.client.list_pending_inputs(id_, limit=1000)
    asked = next((each for each in open_inputs if each.name == name), None)
    if asked is None:
        raise NoPendingInput(f"Execution {short_id(id_)} asks for no input {name!r} any more.")
    as_json = order.text("as") == "json"
    answer = json_of(order.text("json"), "The answer") if as_json else answer_of(asked, order.form)
    order.console.client.provide_input(id_, name, answer)
    return Done(id_, f"Answered “{name}” of {asked.workflow}.", None, {"input": name})


def _question(order: Order) -> str:
    """Return the page of the question, with what was typed into its form."""
    typed = {key: value for key, value in order.form.items() if key.startswith("field-")}
    typed |= {key: order.text(key) for key in ("name", "as", "answer", "json")}
    path = f"/executions/{quote(order.path['id'], safe='')}"
    query = urlencode({key: value for key, value in typed.items() if value}, doseq=True)
    return f"{path}?{query}" if len(query) <= LONGEST_TYPED else path


def _send(order: Order) -> Done:
    id_, name = order.path["id"], order.text("name").strip()
    payload: Any = json_of(order.text("payload"), "The payload")
    order.console.client.send_event(id_, name, payload)
    return Done(id_, f"Sent “{name}” to {short_id(id_)}.", None, {"event": name})


ROUTES = [
    Route("/inputs", inputs),
    action("/executions/{id}/input", "answer", _answer, back=_question),
    action("/executions/{id}/event", "send event", _send),
]
