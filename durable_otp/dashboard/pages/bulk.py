"""Doing something to every execution of a filter: in batches, in the background, shown."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.client import Durable
from durable_otp.dashboard.actions import Done, Order, action
from durable_otp.dashboard.console import Console
from durable_otp.dashboard.filters import Asked, asked
from durable_otp.dashboard.guard import Refused
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.errors import DurableError
from durable_otp.storage import dashboard
from durable_otp.storage.dashboard import Deed, Facets, audit
from durable_otp.storage.identity import is_id, new_id
from durable_otp.workflow.state import State

BATCH = 200
MOST_SELECTED = 1000
MOST_KEPT = 50
FEW_REASONS = 5

VERBS: dict[str, tuple[str, ...]] = {
    "cancel": (State.PENDING, State.RUNNING, State.WAITING),
    "retry": (State.FAILED, State.CANCELLED, State.COMPENSATION_FAILED),
}
"""What can be done to many, and to executions in which status."""


@dataclass
class Bulk:
    """One thing that is done to many; counts grow while it goes on."""

    verb: str
    what: str
    actor: str
    id: str = field(default_factory=new_id)
    done: int = 0
    refused: int = 0
    reasons: list[str] = field(default_factory=list)
    status: str = "running"
    stopping: bool = False

    def refuse(self, reason: str) -> None:
        """Count one that was not done, and keep the first reasons."""
        self.refused += 1
        if len(self.reasons) < FEW_REASONS:
            self.reasons.append(reason)


def fitting(verb: str, statuses: Sequence[str]) -> tuple[str, ...]:
    """Return the wanted statuses in which something can be done; all such when none is wanted."""
    return tuple(each for each in VERBS[verb] if not statuses or each in statuses)


def progress(request: Request) -> Response:
    """Show how far it is."""
    found = console_of(request).bulk.get(request.path_params["id"])
    if found is None:
        raise Refused("This is not known any more; the audit says what was begun.", 404)
    return render(request, "bulk.html", bulk=found)


def _begin(order: Order) -> Done:
    verb = order.text("verb")
    if verb not in VERBS:
        raise ValueError(f"There is no {verb!r} for many; there are: {', '.join(VERBS)}.")
    ids = order.form.get("selected", [])
    ids = [each for each in (ids if isinstance(ids, list) else [ids]) if is_id(each)]
    everything = order.text("scope") == "filter"
    if not everything and not ids:
        raise ValueError("Nothing is selected.")
    wanted = asked(dict(parse_qsl(order.text("filter"))))
    what = _words(wanted) if everything else f"{len(ids)} selected"
    bulk = Bulk(verb, what, order.actor)
    source = _of_filter(order.console, wanted, verb) if everything else _of_ids(ids)
    _keep(order.console, bulk)
    threading.Thread(target=_work, args=(order.console, bulk, source), daemon=True).start()
    return Done(bulk.id, f"Begun: {verb} {what}.", f"/bulk/{bulk.id}", {"verb": verb, "what": what})


def _stop(order: Order) -> Done:
    bulk = order.console.bulk.get(order.path["id"])
    if bulk is None:
        raise ValueError("This is not known any more.")
    bulk.stopping = True
    return Done(bulk.id, "It stops after the batch that it is in.", f"/bulk/{bulk.id}")


Source = Callable[[str | None], list[str]]
"""Returns the next ids after one."""


def _of_filter(console: Console, wanted: Asked, verb: str) -> Source:
    """Return the executions of a filter that were there when this was asked for."""
    now: datetime = console.run(dashboard.now)
    facets = wanted.facets(now)
    statuses = fitting(verb, wanted.statuses)
    until = facets.base.until or now
    facets = replace(facets, base=replace(facets.base, status=statuses, until=until))
    return lambda after: _ids(console, facets, after)


def _ids(console: Console, facets: Facets, after: str | None) -> list[str]:
    if not facets.base.status:
        return []
    return [row["id"] for row in console.run(dashboard.page, facets, limit=BATCH, after=after)]


def _of_ids(ids: list[str]) -> Source:
    chosen = ids[:MOST_SELECTED]
    return lambda after: chosen if after is None else []


def _work(console: Console, bulk: Bulk, source: Source) -> None:
    """Do it to one after another until there are no more; write down how it went."""
    perform = _performer(console.client, bulk)
    after: str | None = None
    try:
        while not bulk.stopping and (batch := source(after)):
            for id_ in batch:
                try:
                    perform(id_)
                    bulk.done += 1
                except DurableError as error:
                    bulk.refuse(str(error))
            after = batch[-1]
            console.hub.tell("bulk")
        bulk.status = "stopped" if bulk.stopping else "done"
    except Exception as error:  # noqa: BLE001 - the thread's border: it is said on the page
        bulk.status = "failed"
        bulk.refuse(str(error))
    outcome = f"{bulk.status}: {bulk.done} done, {bulk.refused} refused"
    console.run(audit, Deed(bulk.actor, f"{bulk.verb} many", bulk.id, outcome))
    console.hub.tell("bulk", "audit")


def _performer(client: Durable, bulk: Bulk) -> Callable[[str], None]:
    if bulk.verb == "cancel":
        return lambda id_: client.cancel(id_, f"cancelled with others by {bulk.actor}")
    return client.retry


def _words(wanted: Asked) -> str:
    return "all that fit: " + (", ".join(words for _, words in wanted.words) or "everything")


def _keep(console: Console, bulk: Bulk) -> None:
    console.bulk[bulk.id] = bulk
    for old in list(console.bulk)[:-MOST_KEPT]:
        console.bulk.pop(old, None)


ROUTES = [
    Route("/bulk/{id}", progress),
    action("/bulk", "begin many", _begin),
    action("/bulk/{id}/stop", "stop many", _stop),
]
