"""Executions, narrowed by what the address says: a page of them, and what can be done to all."""

from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.console import Console, TookTooLong
from durable_otp.dashboard.filters import RANGES, STUCK, Asked, asked
from durable_otp.dashboard.finding import found
from durable_otp.dashboard.pages.bulk import VERBS, fitting
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.storage import dashboard
from durable_otp.storage.dashboard import Facets, Found

SHOWN = 50


class Count(NamedTuple):
    """How many there are; ``is_all`` is False where there may be more."""

    number: int
    is_all: bool


def executions(request: Request) -> Response:
    """Show a page of executions, the newest first."""
    console = console_of(request)
    wanted = asked(request.query_params)
    after = request.query_params.get("after")
    facets = wanted.facets(console.run(dashboard.now))
    part = found(console, facets, limit=SHOWN, after=after)
    is_first = after is None or not facets.is_search
    count = _count(console, wanted, facets, part) if is_first else None
    return render(
        request,
        "executions.html",
        part=part,
        rows=part.rows,
        after=after,
        wanted=wanted,
        encoded=encoded(console, wanted),
        count=count,
        ranges=list(RANGES),
        stuck=list(STUCK),
        workflows=console.kept("names", lambda: console.run(dashboard.workflow_names), seconds=5.0),
        verbs={verb: fitting(verb, wanted.statuses) for verb in VERBS},
    )


def encoded(console: Console, wanted: Asked) -> list[str]:
    """Return the codecs that hide from a search what it looks for; none where none is made."""
    if not (wanted.contains or wanted.context):
        return []
    return console.kept("encoded", lambda: console.run(dashboard.encoded), seconds=5.0)


def _count(console: Console, wanted: Asked, facets: Facets, part: Found) -> Count | None:
    """Return how many there are; None when that takes too long to say.

    What is searched for is counted no further than it has been found.
    """
    if facets.is_search:
        return Count(len(part.rows), part.after is None)
    try:
        number, is_all = console.kept(
            ("count", str(wanted)), lambda: console.run(dashboard.count, facets)
        )
    except TookTooLong:
        return None
    return Count(number, is_all)


ROUTES = [Route("/executions", executions)]
