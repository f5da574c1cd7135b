"""``durable-otp list``: a page of executions."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from durable_otp.cli.failures import UsageMistake
from durable_otp.cli.identifying import execution_id
from durable_otp.cli.options import AsJson, CodecOption, ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import console, duration, print_json, table
from durable_otp.cli.target import Target, Where, opened
from durable_otp.cli.times import INSTANT_HELP, instant
from durable_otp.cli.watching import watch_page
from durable_otp.workflow.execution import Execution, as_json
from durable_otp.workflow.state import State

COLUMNS = ("ID", "Workflow", "Status", "Queue", "Step", "Started", "Took")
NARROWER_WITHOUT = ("Step", "Queue", "Started", "Took")


def list_executions(
    *,
    workflow: Annotated[str | None, typer.Option(metavar="NAME", help="Of this name.")] = None,
    status: Annotated[
        list[str] | None, typer.Option(metavar="STATUS", help="In this status; may be repeated.")
    ] = None,
    queue: Annotated[str | None, typer.Option(metavar="NAME", help="Of this queue.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="Children of this one.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Started then or later. {INSTANT_HELP}")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Started before. {INSTANT_HELP}")
    ] = None,
    top_level: Annotated[bool, typer.Option("--top-level", help="No children.")] = False,
    oldest: Annotated[bool, typer.Option("--oldest", help="The oldest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The most.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="The last id of the page before.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it anew when it changes, until Ctrl-C.")
    ] = False,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
    json: AsJson = False,
) -> None:
    """List executions, the newest first."""
    with opened(Where(config, dsn, schema, codec)) as target:

        def page() -> list[Execution]:
            return target.client.list_executions(
                workflow,
                checked_statuses(status),
                queue=queue,
                parent=_id(target, parent),
                since=instant(target, since, "--since"),
                until=instant(target, until, "--until"),
                top_level=top_level,
                order="oldest" if oldest else "newest",
                limit=limit,
                after=_id(target, after),
            )

        if watch and not json:
            watch_page(page, _drawn)
        else:
            _print(page(), as_json_text=json)


def _print(found: list[Execution], *, as_json_text: bool) -> None:
    if as_json_text:
        print_json([as_json(execution) for execution in found])
    else:
        console().print(_drawn(found))


def _drawn(found: list[Execution]) -> Table | Text:
    if not found:
        return Text("no executions")
    rows = [row(execution) for execution in found]
    return table(COLUMNS, rows, expendable=NARROWER_WITHOUT, whole=("ID",))


def row(execution: Execution) -> tuple[object, ...]:
    """Return an execution as a line of the list."""
    return (
        execution.id,
        execution.workflow,
        execution.status,
        execution.queue,
        execution.current_step,
        execution.started_at,
        took(execution),
    )


def took(execution: Execution) -> str:
    """Return how long an ended execution took, from its start."""
    if execution.started_at is None or execution.completed_at is None:
        return duration(None)
    return duration((execution.completed_at - execution.started_at).total_seconds() * 1000)


def checked_statuses(given: list[str] | None) -> list[str] | None:
    """Return statuses that there are; None if none is given."""
    for status in given or ():
        if status not in tuple(State):
            raise UsageMistake(f"--status must be among {', '.join(State)}, not {status!r}.")
    return given or None


def _id(target: Target, prefix: str | None) -> str | None:
    return None if prefix is None else execution_id(target, prefix)
