"""``durable-otp cancel``: call an execution off."""

from typing import Annotated

import typer

from durable_otp.cli.identifying import execution_id
from durable_otp.cli.options import ConfigOption, DsnOption, IdArgument, SchemaOption
from durable_otp.cli.screen import say
from durable_otp.cli.target import Where, opened


def cancel(
    prefix: IdArgument,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Kept as the error's message.")
    ] = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Cancel an execution and its children; a running step is interrupted."""
    with opened(Where(config, dsn, schema)) as target:
        found = execution_id(target, prefix)
        target.client.cancel(found, reason)
        say(f"cancelled {found}")
