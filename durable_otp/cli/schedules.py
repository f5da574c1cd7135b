"""``durable-otp schedules``: look at them; enable, disable and trigger them."""

from typing import Annotated, Any

import typer

from durable_otp.cli.failures import UsageMistake
from durable_otp.cli.options import AsJson, CodecOption, ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import console, print_json, say, shown, table
from durable_otp.cli.target import Where, opened
from durable_otp.cli.times import INSTANT_HELP, instant
from durable_otp.errors import SerializationError
from durable_otp.workflow.execution import as_json
from durable_otp.workflow.json_form import decode
from durable_otp.workflow.schedule import Schedule

COLUMNS = ("Name", "Workflow", "Cron", "Zone", "Enabled", "Next run", "Last run", "Failures")
NARROWER_WITHOUT = ("Last run", "Zone", "Failures", "Workflow")

app = typer.Typer(help="The schedules: list, enable, disable, trigger and backfill them.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


@app.callback(invoke_without_command=True)
def schedules(
    context: typer.Context,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
    json: AsJson = False,
) -> None:
    """List the schedules, or with a verb, change one."""
    where = Where(config, dsn, schema, codec)
    context.obj = where
    if context.invoked_subcommand is not None:
        return
    with opened(where) as target:
        found = target.client.list_schedules()
    if json:
        print_json([as_json(schedule) for schedule in found])
    else:
        _show(found)


@app.command()
def enable(
    context: typer.Context,
    name: NameArgument,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
) -> None:
    """Enable a schedule and forget its failures; if it was disabled, it begins from now."""
    with opened(Where(config, dsn, schema, codec).over(context.obj)) as target:
        schedule = target.client.enable_schedule(name)
        say(f"enabled {name!r}, next run {shown(schedule.next_run_at)}")


@app.command()
def disable(
    context: typer.Context,
    name: NameArgument,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
) -> None:
    """Let no slot of a schedule run; what runs goes on."""
    with opened(Where(config, dsn, schema, codec).over(context.obj)) as target:
        target.client.disable_schedule(name)
        say(f"disabled {name!r}")


@app.command()
def trigger(  # noqa: PLR0917 - typer calls it by keyword
    context: typer.Context,
    name: NameArgument,
    given: Annotated[
        str | None, typer.Option("--input", metavar="JSON", help="Another input.")
    ] = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
) -> None:
    """Start a run of a schedule now, enabled or not, and print its id."""
    value = None if given is None else _parsed(given)
    with opened(Where(config, dsn, schema, codec).over(context.obj)) as target:
        say(target.client.trigger_schedule(name, value).id)


@app.command()
def backfill(
    *,
    context: typer.Context,
    name: NameArgument,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help=f"The first slot. {INSTANT_HELP}")
    ],
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help=f"Slots before then. {INSTANT_HELP}")
    ] = "0s",
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
) -> None:
    """Start the runs of past slots that have had none, and print their ids."""
    with opened(Where(config, dsn, schema, codec).over(context.obj)) as target:
        first, last = instant(target, since, "--since"), instant(target, until, "--until")
        for handle in target.client.backfill_schedule(name, first, last):
            say(handle.id)


def _show(found: list[Schedule]) -> None:
    if not found:
        say("no schedules")
        return
    rows = [_row(schedule) for schedule in found]
    console().print(table(COLUMNS, rows, expendable=NARROWER_WITHOUT, whole=("Name",)))
    for schedule in found:
        if schedule.last_error is not None:
            say(f"{shown(schedule.name)}: last failure: {shown(schedule.last_error)}")


def _row(schedule: Schedule) -> tuple[object, ...]:
    return (
        schedule.name,
        schedule.workflow,
        schedule.cron,
        schedule.timezone,
        _enabled(schedule),
        schedule.next_run_at if schedule.enabled else None,
        schedule.last_run_at,
        schedule.consecutive_failures,
    )


def _enabled(schedule: Schedule) -> str:
    """Return whether it is, and whether it was disabled for its failures."""
    if schedule.enabled:
        return "yes"
    return "no" if schedule.auto_disabled_at is None else "no, it failed"


def _parsed(text: str) -> Any:
    try:
        return decode(text)
    except SerializationError as error:
        raise UsageMistake(f"--input is not JSON: {error}") from None
