"""``durable-otp event``: send an event to an execution."""

from typing import Annotated

import typer

from durable_otp.cli.identifying import execution_id
from durable_otp.cli.json_data import JsonFileOption, data
from durable_otp.cli.options import CodecOption, ConfigOption, DsnOption, IdArgument, SchemaOption
from durable_otp.cli.screen import say
from durable_otp.cli.target import Where, opened


def event(  # noqa: PLR0917 - typer calls it by keyword
    prefix: IdArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What a step waits for.")],
    payload: Annotated[
        str | None, typer.Argument(metavar="[PAYLOAD]", help="JSON, or else a text.")
    ] = None,
    json_file: JsonFileOption = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
) -> None:
    """Send an event to an execution; it is kept until a step waits for it."""
    value = data(payload, json_file, "PAYLOAD")
    with opened(Where(config, dsn, schema, codec)) as target:
        found = execution_id(target, prefix)
        target.client.send_event(found, name, value)
        say(f"sent {name!r} to {found}")
