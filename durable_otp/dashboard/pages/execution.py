"""One execution: summary, flow, timeline, logs, input and output, history, events and family."""

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from durable_otp.client.bulk import CANCELLABLE, RETRYABLE
from durable_otp.dashboard.console import Console
from durable_otp.dashboard.flow import flow
from durable_otp.dashboard.json_view import text_of
from durable_otp.dashboard.lanes import places_of
from durable_otp.dashboard.rendering import console_of, go, render
from durable_otp.dashboard.timeline import timeline, wait_words
from durable_otp.dashboard.why import why
from durable_otp.errors import ExecutionNotFound
from durable_otp.runtime.queue_view import queue_views
from durable_otp.storage import dashboard
from durable_otp.storage.dashboard import MOST_LOG_LINES
from durable_otp.storage.identity import is_id
from durable_otp.storage.processes import Process
from durable_otp.workflow.execution import Execution
from durable_otp.workflow.json_form import encode
from durable_otp.workflow.state import FINAL, State

TABS = ("summary", "flow", "timeline", "logs", "data", "history", "events", "family")
LEVELS = ("debug", "info", "warning", "error", "critical")
MOST_FOLLOWED = 100
ATTEMPTS = 100
"""On a page of the history; an execution may have had tens of thousands."""


def execution(request: Request) -> Response:
    """Show one tab of an execution."""
    console = console_of(request)
    id_, tab = request.path_params["id"], request.path_params.get("tab", "summary")
    if not is_id(id_):
        return _by_prefix(request, id_)
    if tab not in TABS:
        return go(request, f"/executions/{id_}")
    found = console.client.get_execution(id_, steps=True)
    family = console.run(dashboard.family, found.id)
    now = console.run(dashboard.now)
    facts = {
        "execution": found,
        "tab": tab,
        "tabs": TABS,
        "family": family,
        "now": now,
        "may_cancel": found.status in CANCELLABLE,
        "may_retry": found.status in RETRYABLE,
        "is_part": _is_part(found, family),
        "forkable": _forkable(found, family),
        "is_live": found.status not in FINAL,
        "topics": _topics(found, family),
        "why": _why(console, found),
    }
    return render(request, f"execution_{tab}.html", **facts, **_ASKED[tab](request, found, facts))


def _by_prefix(request: Request, prefix: str) -> Response:
    """Go to the one execution whose id begins so, or to the list of them."""
    return go(request, f"/executions?id={''.join(c for c in prefix if c in '0123456789abcdef-')}")


def _why(console: Console, found: Execution) -> Any:
    """Return why nothing goes on, if nothing does."""
    if found.status in FINAL or found.locked_by is not None:
        return None
    waits = console.run(dashboard.waits_of, found.id) if found.status is State.WAITING else []
    queue = queue_views(console, console.kept("nodes", console.nodes), {}).get(found.queue)
    known = {
        tuple(pair) for node in console.kept("nodes", console.nodes) for pair in node.workflows
    }
    is_known = (found.workflow, found.version) in known
    return why(found, waits, queue, is_known=is_known)


def _forkable(found: Execution, family: list[dict[str, Any]]) -> list[str]:
    """Return the paths that it has reached, to begin another from; none for a block's child."""
    if _is_part(found, family):
        return []
    steps = [step.path for step in found.steps or () if not step.is_compensation]
    return list(dict.fromkeys(steps))


def _is_part(found: Execution, family: list[dict[str, Any]]) -> bool:
    """Return whether it is a block's child, which is nothing without the block."""
    return any(row["id"] == found.id and row["parent_index"] is not None for row in family)


def _topics(found: Execution, family: list[dict[str, Any]]) -> str:
    ids = [found.id, *(row["id"] for row in family[:MOST_FOLLOWED])]
    return " ".join(dict.fromkeys(f"execution:{id_}" for id_ in ids))


def _summary(request: Request, found: Execution, _: dict[str, Any]) -> dict[str, Any]:
    console = console_of(request)
    is_waiting = found.status is State.WAITING
    return {
        "inputs": console.client.list_pending_inputs(found.id) if is_waiting else [],
        "waits": [
            wait | {"words": wait_words(wait)}
            for wait in (console.run(dashboard.waits_of, found.id) if is_waiting else ())
            if wait["status"] == "open"
        ],
        "answered": {**request.query_params, "id": found.id},
    }


def _flow(request: Request, found: Execution, facts: dict[str, Any]) -> dict[str, Any]:
    definition = console_of(request).run(dashboard.definition, found.workflow, found.version)
    return {"flow": flow(definition, found, facts["family"]) if definition else None}


def _timeline(request: Request, found: Execution, facts: dict[str, Any]) -> dict[str, Any]:
    waits = console_of(request).run(dashboard.waits_of, found.id)
    drawn = timeline(found, waits, facts["family"], facts["now"])
    return {"timeline": drawn, "places": _places(request)}


def _places(request: Request) -> dict[str, Process]:
    """Return the workers that live, by what they are called in the rows of their attempts."""
    console = console_of(request)
    return places_of(console.kept("nodes", console.nodes))


def _logs(request: Request, found: Execution, _: dict[str, Any]) -> dict[str, Any]:
    console, given = console_of(request), request.query_params
    levels = [level for level in given.get("level", "").split(",") if level in LEVELS]
    step, text = given.get("step") or None, given.get("q", "")[:200].replace("\0", "")
    after = int(given["after"]) if given.get("after", "").isdigit() else 0
    totals = console.run(dashboard.log_totals, found.id)
    matching = [
        row["count"]
        for row in totals
        if (not levels or row["level"] in levels) and (step is None or row["path"] == step)
    ]
    if not text and given.get("after") is None:  # the end of a log is what is looked for first
        after = max(0, sum(matching) - MOST_LOG_LINES)
    lines = console.run(dashboard.logs, found.id, step=step, levels=levels, text=text, after=after)
    return {
        "lines": lines,
        "levels": levels,
        "all_levels": LEVELS,
        "counts": {
            level: sum(row["count"] for row in totals if row["level"] == level) for level in LEVELS
        },
        "step": step,
        "paths": sorted({row["path"] for row in totals}),
        "text": text,
        "after": after,
        "page": MOST_LOG_LINES,
        "total": sum(matching),
    }


def _history(request: Request, found: Execution, _: dict[str, Any]) -> dict[str, Any]:
    """Return a page of the attempts: the one of the step that is asked for, else the last."""
    steps = found.steps or ()
    given = request.query_params.get("from", "")
    at = next(
        (n for n, each in enumerate(steps) if each.path == request.query_params.get("step")), -1
    )
    if given.isdigit():
        at = int(given)
    first = (at if 0 <= at < len(steps) else max(0, len(steps) - 1)) // ATTEMPTS * ATTEMPTS
    shown = {"shown": steps[first : first + ATTEMPTS], "first": first, "attempts": ATTEMPTS}
    return shown | {"places": _places(request)}


def _data(_request: Request, found: Execution, _: dict[str, Any]) -> dict[str, Any]:
    values = {"input": found.input, "context": found.context}
    return {"sizes": {name: len(encode(value)) for name, value in values.items()}}


def _nothing(_request: Request, _found: Execution, _facts: dict[str, Any]) -> dict[str, Any]:
    return {}


def _events(request: Request, found: Execution, _: dict[str, Any]) -> dict[str, Any]:
    client = console_of(request).client
    waits = client.list_pending_events(found.id)
    return {
        "events": client.list_events(found.id),
        "awaited": sorted({name for wait in waits for name in wait.names}),
    }


_ASKED = {
    "summary": _summary,
    "flow": _flow,
    "timeline": _timeline,
    "logs": _logs,
    "data": _data,
    "history": _history,
    "events": _events,
    "family": _nothing,
}


def raw(request: Request) -> Response:
    """Return the whole of a value, or of the log, as a file; what is secret stays hidden."""
    id_, part = request.path_params["id"], request.path_params["part"]
    found = console_of(request).client.get_execution(id_, steps=True)
    if part == "log.txt":
        lines = [
            f"{entry.get('level', 'info')}\t{step.path}\t{step.attempt}\t{entry.get('message', '')}"
            for step in found.steps or ()
            for entry in step.logs or ()
        ]
        return _file("\n".join(lines) + "\n", f"{id_}-log.txt")
    values = {"input": found.input, "context": found.context, "error": found.error}
    name = part.removesuffix(".json")
    if name not in values:
        raise ExecutionNotFound(f"An execution has no {part!r}.")
    return _file(text_of(values[name]) + "\n", f"{id_}-{name}.json")


def _file(text: str, name: str) -> Response:
    return PlainTextResponse(
        text, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


ROUTES = [
    Route("/executions/{id}/raw/{part}", raw),
    Route("/executions/{id}", execution),
    Route("/executions/{id}/{tab}", execution),
]
