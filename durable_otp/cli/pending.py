"""``durable-otp pending``: what executions wait for: answers of people, and events."""

from typing import Annotated

import typer

from durable_otp.cli.identifying import execution_id
from durable_otp.cli.options import AsJson, CodecOption, ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import console, print_json, say, table
from durable_otp.cli.target import Where, opened
from durable_otp.workflow.execution import as_json
from durable_otp.workflow.human_input import PendingInput
from durable_otp.workflow.mailbox import PendingEvent

INPUT_COLUMNS = ("Execution", "Workflow", "Step", "Input", "Type", "Prompt", "Until")
EVENT_COLUMNS = ("Execution", "Workflow", "Step", "Waits for", "Until")


def pending(  # noqa: PLR0917 - typer calls it by keyword
    prefix: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only of this execution.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The most of each.")] = 50,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
    json: AsJson = False,
) -> None:
    """List the inputs and events that executions wait for, the first to time out first."""
    with opened(Where(config, dsn, schema, codec)) as target:
        only = None if prefix is None else execution_id(target, prefix)
        inputs = target.client.list_pending_inputs(only, limit)
        events = target.client.list_pending_events(only, limit)
    if json:
        print_json({"inputs": [*map(as_json, inputs)], "events": [*map(as_json, events)]})
        return
    if not inputs and not events:
        say("nothing is waited for")
    if inputs:
        rows = [_input_row(each) for each in inputs]
        expendable = ("Prompt", "Step", "Until", "Workflow")
        console().print(table(INPUT_COLUMNS, rows, expendable=expendable, whole=("Execution",)))
    if inputs and events:
        say("")
    if events:
        rows = [_event_row(each) for each in events]
        narrower = ("Step", "Until", "Workflow")
        console().print(table(EVENT_COLUMNS, rows, expendable=narrower, whole=("Execution",)))


def _input_row(each: PendingInput) -> tuple[object, ...]:
    return (
        each.execution_id,
        each.workflow,
        each.step,
        each.name,
        each.type,
        each.prompt,
        each.timeout_at,
    )


def _event_row(each: PendingEvent) -> tuple[object, ...]:
    return each.execution_id, each.workflow, each.step, waited_for(each), each.timeout_at


def waited_for(each: PendingEvent) -> str:
    """Return the events of a wait in a few words."""
    names = ", ".join(each.names)
    return names if each.kind == "single" else f"{each.kind} of {names}"
