"""Making and changing a schedule, and running what it has missed in the past."""

from datetime import datetime, timedelta
from typing import Any, get_args
from urllib.parse import quote, urlencode
from zoneinfo import available_timezones

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.actions import Done, Order, action
from durable_otp.dashboard.filters import instant
from durable_otp.dashboard.form_values import json_of
from durable_otp.dashboard.guard import Refused
from durable_otp.dashboard.json_view import restored, text_of
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.storage import dashboard
from durable_otp.storage.payloads import Unreadable
from durable_otp.workflow.schedule import CatchUp, Overlap, Schedule

FIELDS = (
    "name", "workflow", "cron", "timezone", "input", "queue", "catch_up", "overlap", "jitter",
)  # fmt: skip
LONGEST_KEPT = 4000
_NEW = {"timezone": "UTC", "catch_up": "one", "overlap": "allow", "jitter": "0", "enabled": "1"}


def form(request: Request) -> Response:
    """Show the form of a schedule, new or not, with what was typed before if it was refused."""
    if not request.scope["session"].person.may_act:
        raise Refused("Operators make and change schedules; you may look at them.")
    console = console_of(request)
    name = request.path_params.get("name")
    kept = _NEW if name is None else _typed(console.client.get_schedule(name))
    given = {key: request.query_params[key] for key in FIELDS if key in request.query_params}
    if given:  # a box that was not ticked is not sent
        given["enabled"] = request.query_params.get("enabled", "")
    return render(
        request,
        "schedule.html",
        name=name,
        typed={**dict.fromkeys(FIELDS, ""), **kept, **given},
        workflows=console.kept("names", lambda: console.run(dashboard.workflow_names), seconds=5.0),
        zones=sorted(available_timezones()),
        catch_ups=get_args(CatchUp),
        overlaps=get_args(Overlap),
    )


def _typed(schedule: Schedule) -> dict[str, str]:
    """Return a schedule as its form has it, secrets hidden."""
    return {
        "name": schedule.name,
        "workflow": schedule.workflow,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "input": "" if schedule.input is None else text_of(schedule.input),
        "queue": schedule.queue or "",
        "catch_up": schedule.catch_up,
        "overlap": schedule.overlap,
        "jitter": f"{schedule.jitter:g}",
        "enabled": "1" if schedule.enabled else "",
    }


def _create(order: Order) -> Done:
    name = order.text("name").strip()
    order.console.client.create_schedule(
        name, **_meant(order, None), enabled=order.text("enabled") == "1"
    )
    return _done(order, name, f"Schedule {name} is made.")


def _change(order: Order) -> Done:
    name, client = order.path["name"], order.console.client
    before = client.get_schedule(name).input
    is_kept = isinstance(before, Unreadable) and order.text("input") == text_of(before)
    if is_kept:
        order = order._replace(form={**order.form, "input": ""})
    changes = _meant(order, before)
    if is_kept:
        del changes["input"]
    client.update_schedule(name, **changes)
    return _done(order, name, f"Schedule {name} is changed.")


def _delete(order: Order) -> Done:
    name = order.path["name"]
    order.console.client.delete_schedule(name)
    return _done(order, name, f"Schedule {name} is deleted; its runs go on.")


def _backfill(order: Order) -> Done:
    name = order.path["name"]
    since, until = (_instant(order, each) for each in ("from", "to"))
    handles = order.console.client.backfill_schedule(name, since, until)
    sentence = f"Started {len(handles):,} runs of {name} that there had not been."
    return _done(order, name, sentence, {"from": str(since), "to": str(until)})


def _done(order: Order, name: str, sentence: str, detail: dict[str, Any] | None = None) -> Done:
    order.console.hub.tell("schedules")
    return Done(name, sentence, "/schedules", detail)


def _meant(order: Order, before: Any) -> dict[str, Any]:
    """Return the form's fields as the client takes them; hidden secrets are those of before."""
    jitter = order.text("jitter").strip() or "0"
    try:
        spread = timedelta(seconds=float(jitter))
    except (ValueError, OverflowError):
        raise ValueError(f"jitter must be a number of seconds, not {jitter!r}.") from None
    return {
        "workflow": order.text("workflow").strip(),
        "cron": order.text("cron").strip(),
        "timezone": order.text("timezone").strip() or "UTC",
        "input": restored(json_of(order.text("input"), "The input"), before),
        "queue": order.text("queue").strip() or None,
        "catch_up": order.text("catch_up"),
        "overlap": order.text("overlap"),
        "jitter": spread,
    }


def _instant(order: Order, name: str) -> datetime:
    found = instant(order.text(name))
    if found is None:
        raise ValueError(f"{name} must be a time, such as 2026-03-01T09:00 (UTC).")
    return found


def _back(order: Order) -> str:
    """Return the form with everything that was typed into it."""
    name = order.path.get("name")
    path = "/schedules/new" if name is None else f"/schedules/{quote(name, safe='')}/edit"
    typed = {key: order.text(key) for key in (*FIELDS, "enabled") if key in order.form}
    text = urlencode(typed)
    return f"{path}?{text}" if len(text) <= LONGEST_KEPT else path


ROUTES = [
    Route("/schedules/new", form, methods=["GET"]),
    Route("/schedules/{name:path}/edit", form, methods=["GET"]),
    action("/schedules/new", "create schedule", _create, back=_back),
    action("/schedules/{name:path}/edit", "change schedule", _change, back=_back),
    action("/schedules/{name:path}/delete", "delete schedule", _delete),
    action("/schedules/{name:path}/backfill", "backfill schedule", _backfill),
]
