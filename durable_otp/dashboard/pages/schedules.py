"""Schedules: when they run next, how the last runs went, and switching them."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.actions import Done, Order, action
from durable_otp.dashboard.form_values import json_of
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.dashboard.wording import short_id
from durable_otp.errors import ScheduleError
from durable_otp.storage import dashboard
from durable_otp.workflow.schedule import Schedule

NEXT = 5
LAST = 20


def schedules(request: Request) -> Response:
    """Show all schedules, in order of name."""
    console = console_of(request)
    found = console.client.list_schedules()
    now = console.run(dashboard.now)
    last = console.run(dashboard.last_slots, [each.name for each in found], LAST)
    rows = [{"schedule": each, "next": _next(each, now), "last": last[each.name]} for each in found]
    return render(request, "schedules.html", schedules=rows)


def _next(schedule: Schedule, now: object) -> list[object]:
    try:
        return list(schedule.next_runs(NEXT, now))  # type: ignore[arg-type]
    except ScheduleError:
        return []


def _enable(order: Order) -> Done:
    name = order.path["name"]
    order.console.client.enable_schedule(name)
    return _changed(order, name, f"Schedule {name} is enabled.")


def _disable(order: Order) -> Done:
    name = order.path["name"]
    order.console.client.disable_schedule(name)
    return _changed(order, name, f"Schedule {name} is disabled; what runs goes on.")


def _trigger(order: Order) -> Done:
    name = order.path["name"]
    given = json_of(order.text("input"), "The input")
    handle = order.console.client.trigger_schedule(name, given)
    sentence = f"Schedule {name} runs now: execution {short_id(handle.id)}."
    return Done(name, sentence, f"/executions/{handle.id}", {"execution": handle.id})


def _changed(order: Order, name: str, sentence: str) -> Done:
    order.console.hub.tell("schedules")
    return Done(name, sentence, "/schedules")


ROUTES = [
    Route("/schedules", schedules),
    action("/schedules/{name:path}/enable", "enable schedule", _enable),
    action("/schedules/{name:path}/disable", "disable schedule", _disable),
    action("/schedules/{name:path}/trigger", "trigger schedule", _trigger),
]
