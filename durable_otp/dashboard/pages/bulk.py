"""Doing something to every execution of a filter: in batches, in the background, shown."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.client import Durable
from durable_otp.client.bulk import CANCELLABLE, RETRYABLE, Outcome, each_of
from durable_otp.dashboard.actions import Done, Order, action
from durable_otp.dashboard.console import Console
from durable_otp.dashboard.filters import Asked, asked
from durable_otp.dashboard.finding import every_id
from durable_otp.dashboard.guard import Refused
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.storage import dashboard
from durable_otp.storage.dashboard import Deed, audit
from durable_otp.storage.identity import is_id, new_id

BATCH = 200
TOLD_EVERY = 25
MOST_SELECTED = 1000
MOST_KEPT = 50
FEW_REASONS = 5

VERBS: dict[str, tuple[str, ...]] = {
    "cancel": CANCELLABLE,
    "retry": RETRYABLE,
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

    def count(self, outcome: Outcome) -> None:
        """Count what became of one, and keep the first reasons why nothing was done."""
        if outcome.refusal is None:
            self.done += 1
            return
        self.refused += 1
        if len(self.reasons) < FEW_REASONS:
            self.reasons.append(str(outcome.refusal))


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
    chosen = iter(ids[:MOST_SELECTED])
    found = _of_filter(order.console, wanted, verb) if everything else chosen
    _keep(order.console, bulk)
    threading.Thread(target=_work, args=(order.console, bulk, found), daemon=True).start()
    return Done(bulk.id, f"Begun: {verb} {what}.", f"/bulk/{bulk.id}", {"verb": verb, "what": what})


def _stop(order: Order) -> Done:
    bulk = order.console.bulk.get(order.path["id"])
    if bulk is None:
        raise ValueError("This is not known any more.")
    bulk.stopping = True
    return Done(bulk.id, "It stops after the one that it is at.", f"/bulk/{bulk.id}")


def _of_filter(console: Console, wanted: Asked, verb: str) -> Iterator[str]:
    """Yield the executions of a filter that were there when this was asked for."""
    now: datetime = console.run(dashboard.now)
    facets = wanted.facets(now)
    statuses = fitting(verb, wanted.statuses)
    until = facets.base.until or now
    facets = replace(facets, base=replace(facets.base, status=statuses, until=until))
    return every_id(console, facets, BATCH) if statuses else iter(())


def _work(console: Console, bulk: Bulk, ids: Iterator[str]) -> None:
    """Do it to one after another until there are no more; write down how it went."""
    try:
        for outcome in each_of(ids, _performer(console.client, bulk)):
            bulk.count(outcome)
            if (bulk.done + bulk.refused) % TOLD_EVERY == 0:
                console.hub.tell("bulk")
            if bulk.stopping:
                break
        bulk.status = "stopped" if bulk.stopping else "done"
    except Exception as error:  # noqa: BLE001 - the thread's border: it is said on the page
        bulk.status = "failed"
        bulk.reasons.append(str(error))
    outcome_words = f"{bulk.status}: {bulk.done} done, {bulk.refused} refused"
    console.run(audit, Deed(bulk.actor, f"{bulk.verb} many", bulk.id, outcome_words))
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
