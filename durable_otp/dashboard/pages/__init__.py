"""The pages, one file each; every file says which addresses are its own."""

from starlette.routing import BaseRoute

from durable_otp.dashboard.pages import (
    api,
    api_actions,
    audit,
    bulk,
    doctor,
    execution,
    execution_actions,
    executions,
    inputs,
    overview,
    palette,
    processes,
    queues,
    schedule_form,
    schedules,
    settings,
    sign_in,
    stream,
    workflows,
)


def routes() -> list[BaseRoute]:
    """Return every address of the dashboard but its static files."""
    found: list[BaseRoute] = []
    for page in (
        overview, workflows, executions, bulk, execution_actions, execution, inputs, schedule_form,
        schedules,        queues, processes, doctor, audit, settings, palette, stream, sign_in,
    ):  # fmt: skip
        found += page.ROUTES
    return [*api.ROUTES, *api_actions.beside(found), *found]
