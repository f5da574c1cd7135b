"""The buttons of the pages for programs: the same deeds, guarded and written down alike, in JSON.

A token is proof enough. Who has a cookie sends ``X-Durable-Proof`` as well, which ``/api/session``
tells and no other site can read.
"""

import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from durable_otp.dashboard.actions import Action, Order, attempt
from durable_otp.dashboard.guard import LONGEST_BODY, PROOF, Refused, check_form
from durable_otp.dashboard.json_view import redacted
from durable_otp.dashboard.rendering import console_of
from durable_otp.errors import (
    AlreadyFinished,
    ExecutionNotFound,
    NoPendingInput,
    NotRetryable,
    ProcessNotFound,
    ScheduleExists,
    ScheduleNotFound,
    WorkflowNotFound,
)

PROOF_HEADER = "x-durable-proof"
_JSON_FIELDS = ("input", "payload")
_MISSING = (
    *(ExecutionNotFound, NoPendingInput, ProcessNotFound, ScheduleNotFound, WorkflowNotFound),
)
_CONFLICTS = (AlreadyFinished, NotRetryable, ScheduleExists)


def beside(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Return, for every action among these routes, the one that programs use."""
    return [
        Route(f"/api{each.path}", _endpoint(each), methods=["POST"])
        for each in routes
        if isinstance(each, Action)
    ]


def as_form(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a form that say the same as a JSON object."""
    form: dict[str, Any] = {}
    for key, value in body.items():
        if key == "answer":
            form |= {"as": "json", "json": json.dumps(value)}
        elif key in _JSON_FIELDS:
            form[key] = json.dumps(value)
        elif isinstance(value, list):
            form[key] = [str(each) for each in value]
        elif isinstance(value, bool):
            form[key] = "1" if value else ""
        elif value is not None:
            form[key] = value if isinstance(value, str) else json.dumps(value)
    return form


def _endpoint(action: Action) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def endpoint(request: Request) -> Response:
        console = console_of(request)
        proof = {PROOF: request.headers.get(PROOF_HEADER)}
        session = check_form(request, proof, console.access)
        form = as_form(await _body(request))
        path = {key: str(value) for key, value in request.path_params.items()}
        order = Order(console, form, path, session.person.name)
        done, refusal = await run_in_threadpool(attempt, action.verb, action.perform, order)
        if refusal is not None:
            return JSONResponse({"error": done.sentence}, _status(refusal))
        detail = redacted(dict(done.detail or {}))
        return JSONResponse({"done": done.sentence, "target": done.target, "detail": detail})

    return endpoint


async def _body(request: Request) -> dict[str, Any]:
    """Return what a program sends; nothing is an empty object.

    Raises:
        Refused: It is too large, or no JSON object.
    """
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > LONGEST_BODY:
        raise Refused(f"A body may have at most {LONGEST_BODY:,} bytes.", 413)
    text = await request.body()
    if not text:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused("A body is sent as application/json.", 415)
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"The body is not JSON: {error}.", 400) from None
    if not isinstance(body, dict):
        raise Refused("The body must be a JSON object.", 400)
    return body


def _status(refusal: Exception) -> int:
    if isinstance(refusal, _MISSING):
        return 404
    return 409 if isinstance(refusal, _CONFLICTS) else 400
