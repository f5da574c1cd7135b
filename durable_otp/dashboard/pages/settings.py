"""What this dashboard knows of its configuration; nothing secret is among it."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.config import reference
from durable_otp.dashboard.rendering import console_of, render


def settings(request: Request) -> Response:
    """Show the configuration with the meaning of every key."""
    console = console_of(request)
    meanings = {row.key: row.meaning for row in reference()}
    return render(
        request,
        "settings.html",
        shown=console.limits.shown,
        meanings=meanings,
        nodes=console.nodes(),
        version=console.client.schema_version(),
    )


ROUTES = [Route("/settings", settings)]
