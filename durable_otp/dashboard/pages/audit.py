"""Who did what on these pages."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.rendering import console_of, render
from durable_otp.storage import dashboard

SHOWN = 50


def audit(request: Request) -> Response:
    """Show the latest deeds."""
    after = request.query_params.get("after")
    deeds = console_of(request).run(dashboard.audited, limit=SHOWN + 1, after=after)
    more = deeds[SHOWN - 1]["id"] if len(deeds) > SHOWN else None
    return render(request, "audit.html", deeds=deeds[:SHOWN], more=more, after=after)


ROUTES = [Route("/audit", audit)]
