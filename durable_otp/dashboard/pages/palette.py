"""What the command palette finds: pages, workflows, executions, and actions on queues."""

from typing import NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.console import Console
from durable_otp.dashboard.rendering import NAVIGATION, console_of, render
from durable_otp.runtime.queue_view import queue_views
from durable_otp.storage import dashboard
from durable_otp.storage.dashboard import Facets
from durable_otp.storage.reports import SHORTEST_ID_PREFIX, Filters

SHOWN = 8
_HEX = set("0123456789abcdef-")


class Hit(NamedTuple):
    """One line of the palette; ``sends`` says that choosing it does something."""

    group: str
    words: str
    path: str
    hint: str = ""
    sends: bool = False


def palette(request: Request) -> Response:
    """Return the lines that fit what was typed."""
    asked = request.query_params.get("q", "").strip().lower()[:100]
    console = console_of(request)
    session = request.scope["session"]
    hits = [*_pages(asked), *_workflows(console, asked), *_executions(console, asked)]
    if asked and session.person.may_act:
        hits += _actions(console, asked)
    return render(request, "palette.html", hits=hits)


def _pages(asked: str) -> list[Hit]:
    pages = [page for _, group in NAVIGATION for page in group]
    return [
        Hit("Go to", words, path, f"g {key}")
        for words, path, key in pages
        if asked in words.lower()
    ]


def _workflows(console: Console, asked: str) -> list[Hit]:
    if not asked:
        return []
    rows = console.kept("workflows", lambda: console.run(dashboard.workflows))
    fitting = [row["workflow"] for row in rows if asked in row["workflow"].lower()]
    return [
        Hit("Workflows", name, f"/executions?workflow={_quoted(name)}") for name in fitting[:SHOWN]
    ]


def _executions(console: Console, asked: str) -> list[Hit]:
    digits = asked.replace("-", "")
    is_id = len(digits) >= SHORTEST_ID_PREFIX and set(asked) <= _HEX
    if asked and not is_id:
        return []
    filters = Filters(id_prefix=asked) if is_id else Filters(top_level=True)
    rows = console.run(dashboard.page, Facets(filters), limit=SHOWN).rows
    return [
        Hit(
            "Executions",
            f"{row['id'][:8]} {row['workflow']}",
            f"/executions/{row['id']}",
            row["status"],
        )
        for row in rows
    ]


def _actions(console: Console, asked: str) -> list[Hit]:
    views = queue_views(console, console.nodes(), {})
    found = []
    for name, view in views.items():
        verb = "resume" if view.paused else "pause"
        found.append(
            Hit("Do", f"{verb} queue {name}", f"/queues/{_quoted(name)}/{verb}", sends=True)
        )
    for schedule in console.client.list_schedules():
        path = f"/schedules/{_quoted(schedule.name)}"
        verb = "disable" if schedule.enabled else "enable"
        found.append(Hit("Do", f"{verb} schedule {schedule.name}", f"{path}/{verb}", sends=True))
        found.append(Hit("Do", f"trigger schedule {schedule.name}", f"{path}/trigger", sends=True))
    return [hit for hit in found if asked in hit.words.lower()][:SHOWN]


def _quoted(name: str) -> str:
    return quote(name, safe="")


ROUTES = [Route("/palette", palette)]
