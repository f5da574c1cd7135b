"""What the pages show, as JSON for programs: the same questions, the same rights, no secret."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from durable_otp.dashboard.filters import asked_exactly
from durable_otp.dashboard.finding import found
from durable_otp.dashboard.guard import Refused
from durable_otp.dashboard.json_view import redacted
from durable_otp.dashboard.pages.doctor import findings
from durable_otp.dashboard.pages.executions import encoded
from durable_otp.dashboard.rendering import console_of
from durable_otp.runtime.queue_view import queue_views
from durable_otp.storage import dashboard, lives
from durable_otp.storage.definitions import published
from durable_otp.workflow.execution import as_json, instant_text

SHOWN, MOST_SHOWN = 50, 200

Answer = Callable[[Request], Any]


def _endpoint(answer: Answer) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        return JSONResponse(redacted(plain(answer(request))))

    return endpoint


def plain(value: Any) -> Any:
    """Return a value as JSON has it: instants as ISO 8601 in UTC with Z."""
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return plain(as_json(value))
    return value


def _session(request: Request) -> Response:
    """Say who asks, and what a request of theirs has to carry to change something."""
    session = request.scope["session"]
    proof = console_of(request).access.proof(session)
    person = {"name": session.person.name, "role": session.person.role}
    return JSONResponse(person | {"proof": proof})


def _overview(request: Request) -> Any:
    console = console_of(request)
    return {"counts": console.kept("counts", lambda: console.run(dashboard.counts))}


def _workflows(request: Request) -> Any:
    console = console_of(request)
    rows = console.kept("workflows", lambda: console.run(dashboard.workflows))
    return {"workflows": rows}


def _workflow(request: Request) -> Any:
    name = request.path_params["name"]
    description = console_of(request).run(published, name) if name.isprintable() else None
    if description is None:
        raise Refused(f"No workflow {name!r} is published.", 404)
    return description


def _executions(request: Request) -> Any:
    console, given = console_of(request), dict(request.query_params)
    after, limit = given.pop("after", None), _limit(given.pop("limit", str(SHOWN)))
    wanted = asked_exactly(given)
    facets = wanted.facets(console.run(dashboard.now))
    part = found(console, facets, limit=limit, after=after)
    rows = [{key: row[key] for key in row if key != "now"} for row in part.rows]
    looked = {"among": part.among, "about": part.about, "back_to": part.back_to}
    answer = {"executions": rows, "after": part.after, "searched": looked if part.among else None}
    return answer | {"not_searched": encoded(console, wanted)}


def _limit(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST_SHOWN:
        raise ValueError(f"limit must be a whole number from 1 to {MOST_SHOWN}, not {text[:20]!r}.")
    return int(text)


def _execution(request: Request) -> Any:
    console = console_of(request)
    execution = console.client.get_execution(request.path_params["id"], steps=True)
    return as_json(execution) | {
        "waits": console.run(dashboard.waits_of, execution.id),
        "family": console.run(dashboard.family, execution.id),
    }


def _inputs(request: Request) -> Any:
    client = console_of(request).client
    inputs = client.list_pending_inputs(limit=MOST_SHOWN)
    return {"inputs": inputs, "events": client.list_pending_events(limit=MOST_SHOWN)}


def _schedules(request: Request) -> Any:
    return {"schedules": console_of(request).client.list_schedules()}


def _queues(request: Request) -> Any:
    console = console_of(request)
    views = queue_views(console, console.nodes())
    return {"queues": [each.as_json() for each in views.values()]}


def _processes(request: Request) -> Any:
    nodes = [
        {"node": node.id, "name": node.name, "hostname": node.hostname, "seen_at": node.seen_at}
        | {"tree": node.tree}
        for node in console_of(request).nodes()
    ]
    return {"nodes": nodes}


def _lives(request: Request) -> Any:
    given = request.query_params
    limit = _limit(given.get("limit", str(SHOWN)))
    places = {"node_id": given.get("node"), "path": given.get("path"), "after": given.get("after")}
    if any("\0" in (each or "") for each in places.values()):
        raise ValueError("A place has no NUL characters.")
    rows = console_of(request).run(lives.lives, limit=limit, **places)
    return {"lives": rows, "after": rows[-1]["id"] if len(rows) == limit else None}


def _doctor(request: Request) -> Any:
    return {"findings": findings(console_of(request))}


def _audit(request: Request) -> Any:
    given = request.query_params
    limit = _limit(given.get("limit", str(SHOWN)))
    deeds = console_of(request).run(dashboard.audited, limit=limit, after=given.get("after"))
    return {"deeds": deeds, "after": deeds[-1]["id"] if len(deeds) == limit else None}


def _bulk(request: Request) -> Any:
    bulk = console_of(request).bulk.get(request.path_params["id"])
    if bulk is None:
        raise Refused("This is not known any more; the audit says what was begun.", 404)
    return bulk


READS: dict[str, Answer] = {
    "/api/overview": _overview,
    "/api/workflows": _workflows,
    "/api/workflows/{name:path}": _workflow,
    "/api/executions": _executions,
    "/api/executions/{id}": _execution,
    "/api/inputs": _inputs,
    "/api/schedules": _schedules,
    "/api/queues": _queues,
    "/api/processes": _processes,
    "/api/processes/log": _lives,
    "/api/doctor": _doctor,
    "/api/audit": _audit,
    "/api/bulk/{id}": _bulk,
}
ROUTES = [
    Route("/api/session", _session),
    *(Route(path, _endpoint(answer), methods=["GET"]) for path, answer in READS.items()),
]
