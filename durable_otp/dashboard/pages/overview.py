"""The first page: how many are where, how many end, how long they take, and what is going on."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.charts import bars
from durable_otp.dashboard.console import Console, TookTooLong
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.storage import dashboard
from durable_otp.storage.dashboard import Facets
from durable_otp.storage.reports import Filters

WINDOWS = {"15m": 900, "1h": 3600, "6h": 21_600, "24h": 86_400}
BUCKETS = 60
LATEST = 10


def overview(request: Request) -> Response:
    """Show the whole schema at a glance."""
    console = console_of(request)
    asked = request.query_params.get("window", "1h")
    window = asked if asked in WINDOWS else "1h"
    facets = Facets(Filters(top_level=True))
    return render(
        request,
        "overview.html",
        counts=console.kept("counts", lambda: console.run(dashboard.counts)),
        window=window,
        windows=list(WINDOWS),
        ended=_ended(console, WINDOWS[window]),
        latest=console.kept(
            "latest", lambda: console.run(dashboard.page, facets, limit=LATEST).rows
        ),
        nodes=console.kept("nodes", console.nodes),
    )


def _ended(console: Console, seconds: int) -> dict[str, object] | None:
    """Return what ended within a time, drawn; None when that would take too long to ask."""

    def ask() -> dict[str, object] | None:
        try:
            buckets = console.run(dashboard.throughput, float(seconds), BUCKETS)
            took = console.run(dashboard.durations, float(seconds))
        except TookTooLong:
            return None
        total = sum(sum(bucket.values()) for bucket in buckets)
        return {
            "chart": bars(buckets),
            "total": total,
            "failed": sum(bucket.get("failed", 0) for bucket in buckets),
            "per_minute": round(60 * total / seconds, 1),
            "took": took["took"],
            "waited": took["waited"],
            "sample": took["count"],
        }

    return console.kept(("ended", seconds), ask, seconds=2.0)


ROUTES = [Route("/", overview)]
