"""``durable-otp input``: answer an input that an execution asks for."""

from typing import Annotated

import typer

from durable_otp.cli.failures import UsageMistake
from durable_otp.cli.identifying import execution_id
from durable_otp.cli.json_data import JsonFileOption, data
from durable_otp.cli.options import CodecOption, ConfigOption, DsnOption, IdArgument, SchemaOption
from durable_otp.cli.screen import say
from durable_otp.cli.target import Where, opened


def provide(  # noqa: PLR0917 - typer calls it by keyword
    prefix: IdArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The input's; see `pending`.")],
    answer: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="The answer: JSON, or else a text.")
    ] = None,
    json_file: JsonFileOption = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
) -> None:
    """Answer an input; what does not fit its type is refused, and the input stays open."""
    if answer is None and json_file is None:
        raise UsageMistake("Give the answer as DATA, or a --json-file.")
    value = data(answer, json_file, "DATA")
    with opened(Where(config, dsn, schema, codec)) as target:
        found = execution_id(target, prefix)
        target.client.provide_input(found, name, value)
        say(f"answered {name!r} of {found}")
