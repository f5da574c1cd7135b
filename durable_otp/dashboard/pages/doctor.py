"""What is wrong with the installation, and the cures that lose nothing: the doctor's page."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.client.doctor import Finding, cure, examine
from durable_otp.dashboard.actions import Done, Order, action
from durable_otp.dashboard.console import Console
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.runtime.queue_view import managers_of
from durable_otp.storage.diagnosis import Bounds
from durable_otp.storage.server_limits import database_health

SILENCES = 2


def doctor(request: Request) -> Response:
    """Show what is stuck, lost, late or misconfigured."""
    console = console_of(request)
    facts, tables = console.kept("health", lambda: console.run(database_health), seconds=5.0)
    return render(request, "doctor.html", findings=findings(console), facts=facts, tables=tables)


def findings(console: Console) -> list[Finding]:
    """Return what is wrong; asked anew every few seconds."""
    return console.kept("doctor", lambda: _found(console), seconds=5.0)


def _bounds(console: Console) -> Bounds:
    limits = console.limits
    return Bounds(stale=limits.stale_lock_timeout, silent=SILENCES * limits.node_timeout)


def _found(console: Console) -> list[Finding]:
    served = sorted({queue for node in console.nodes() for queue, _ in managers_of(node)})
    return examine(console, _bounds(console), served)


def _cure(order: Order) -> Done:
    check = order.path["check"]
    finding = next((each for each in _found(order.console) if each.check == check), None)
    if finding is None or not finding.curable:
        raise ValueError("There is nothing of this kind to be cured any more.")
    cured = cure(order.console, finding, _bounds(order.console))
    order.console.forget("doctor")
    return Done(check, f"Cured: {cured}.", "/doctor", {"cured": cured})


ROUTES = [Route("/doctor", doctor), action("/doctor/{check}/cure", "cure", _cure)]
