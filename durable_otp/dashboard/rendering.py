"""From what a page knows to what a browser gets: templates, escaped throughout, nothing inline."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from durable_otp import __version__
from durable_otp.clock import wall_clock
from durable_otp.dashboard import wording
from durable_otp.dashboard.access import Session
from durable_otp.dashboard.console import Console
from durable_otp.dashboard.flash import said
from durable_otp.dashboard.guard import local_path
from durable_otp.dashboard.json_view import highlighted
from durable_otp.dashboard.status import tier
from durable_otp.workflow.state import State

NAVIGATION = (
    ("Observe", (("Overview", "/", "o"), ("Workflows", "/workflows", "w"),
                 ("Executions", "/executions", "e"))),
    ("Operate", (("Inputs", "/inputs", "i"), ("Schedules", "/schedules", "s"),
                 ("Queues", "/queues", "q"))),
    ("Run", (("Processes", "/processes", "p"), ("Doctor", "/doctor", "d"),
             ("Audit", "/audit", "a"), ("Settings", "/settings", "t"))),
)  # fmt: skip


@cache
def environment() -> Environment:
    """Return the templates; made once."""
    made = Environment(
        loader=PackageLoader("durable_otp.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "short": wording.short_id,
        "seconds": wording.seconds,
        "instant": wording.instant,
        "iso": wording.iso,
        "number": wording.number,
        "size": wording.size,
        "json": highlighted,
        "tier": tier,
        "spoken": wording.spoken,
        "field_id": wording.field_id,
    }
    made.globals |= {"STATES": [state.value for state in State], "VERSION": __version__}
    return made


def console_of(request: Request) -> Console:
    """Return the dashboard that a request is made to."""
    console: Console = request.app.state.console
    return console


def render(request: Request, template: str, *, status: int = 200, **facts: Any) -> Response:
    """Return a page. ``facts`` are the template's, beside what every page knows."""
    console = console_of(request)
    session: Session | None = request.scope.get("session")
    notice = said(request)
    url = _url_of(request)
    text = (
        environment()
        .get_template(template)
        .render(
            url=url,
            here=local_path(request),
            asked=local_path(request) + (f"?{request.url.query}" if request.url.query else ""),
            person=session.person if session else None,
            proof=console.access.proof(session) if session else "",
            access=console.access,
            schema=console.schema,
            navigation=NAVIGATION,
            keyed={key: url(path) for _, group in NAVIGATION for _, path, key in group},
            clock=f"{wall_clock():.3f}",
            notice=notice,
            **facts,
        )
    )
    response = HTMLResponse(text, status)
    if notice is not None:
        response.delete_cookie("durable_said", path=request.scope.get("root_path", "") or "/")
    return response


def go(request: Request, path: str) -> Response:
    """Return the way to another page of this dashboard."""
    return RedirectResponse(request.scope.get("root_path", "") + path, 303)


def _url_of(request: Request) -> Any:
    base = request.scope.get("root_path", "")

    def url(path: str, /, **query: Any) -> str:
        """Return a path of this dashboard, wherever it is mounted; what is None is left out."""
        given = {key: value for key, value in query.items() if value not in (None, "", [])}
        if path.startswith("/static/"):
            given["v"] = fingerprint(path.removeprefix("/static/"))
        text = urlencode(given, doseq=True)
        return f"{base}{path}{'?' + text if text else ''}"

    return url


@cache
def fingerprint(name: str) -> str:
    """Return what changes when a static file does."""
    content = files("durable_otp.dashboard").joinpath("static", name).read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]
