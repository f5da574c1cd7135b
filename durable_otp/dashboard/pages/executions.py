"""Executions, narrowed by what the address says: a page of them, and what can be done to all."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.console import Console, TookTooLong
from durable_otp.dashboard.filters import RANGES, STUCK, asked
from durable_otp.dashboard.pages.bulk import VERBS, fitting
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.storage import dashboard
from durable_otp.storage.dashboard import MOST_COUNTED, Facets

SHOWN = 50


def executions(request: Request) -> Response:
    """Show a page of executions, the newest first."""
    console = console_of(request)
    wanted = asked(request.query_params)
    after = request.query_params.get("after")
    facets = wanted.facets(console.run(dashboard.now))
    rows = console.run(dashboard.page, facets, limit=SHOWN + 1, after=after)
    count = console.kept(("count", str(wanted)), lambda: _count(console, facets))
    known = console.kept("workflows", lambda: console.run(dashboard.workflows), seconds=5.0)
    return render(
        request,
        "executions.html",
        rows=rows[:SHOWN],
        more=rows[SHOWN - 1]["id"] if len(rows) > SHOWN else None,
        after=after,
        wanted=wanted,
        count=count,
        most=MOST_COUNTED,
        ranges=list(RANGES),
        stuck=list(STUCK),
        workflows=[row["workflow"] for row in known],
        verbs={verb: fitting(verb, wanted.statuses) for verb in VERBS},
    )


def _count(console: Console, facets: Facets) -> int | None:
    """Return how many there are; None when that takes too long to say."""
    try:
        return console.run(dashboard.count, facets)
    except TookTooLong:
        return None


ROUTES = [Route("/executions", executions)]
