"""The living process tree of every node: who they are, how they are, and what they are doing."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.rendering import console_of, render
from durable_otp.dashboard.tree_rows import rows_of, totals


def processes(request: Request) -> Response:
    """Show the supervision tree of every living node."""
    console = console_of(request)
    nodes = console.nodes()
    budget = console.limits.shown.get("supervisor", {})
    trees: list[dict[str, Any]] = [
        {"node": node, "rows": rows_of(node.tree), "totals": totals(node.tree)}
        for node in nodes
        if node.tree
    ]
    return render(request, "processes.html", trees=trees, budget=budget)


ROUTES = [Route("/processes", processes)]
