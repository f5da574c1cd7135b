"""``durable-otp start``: prepare, and become the root of the tree."""

from typing import Annotated

import typer

from durable_otp.cli.imports import found_workflows
from durable_otp.cli.options import ConfigArgument, DsnOption, SchemaOption
from durable_otp.cli.target import Where, configured, import_paths
from durable_otp.runtime.foreground import become_root
from durable_otp.runtime.starting import prepare

UntilIdle = Annotated[
    bool,
    typer.Option(
        "--until-idle",
        help="Stop in order, with exit code 0, when nothing is running, due or to be retried.",
    ),
]


def start(
    config: ConfigArgument,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    until_idle: UntilIdle = False,
) -> None:
    """Run a configuration's tree in the foreground, until Ctrl-C or SIGTERM; again: at once."""
    settings = configured(Where(config, dsn, schema))
    paths = import_paths(config)
    found_workflows(settings.durable.modules, paths)
    prepared = prepare(settings, migrate=True, beside=config)
    schema_name = settings.durable.schema_name
    typer.echo(f"database: {prepared.description}, schema {schema_name}", err=True)
    if prepared.remark is not None:
        typer.echo(f"note: {prepared.remark}", err=True)
    become_root(settings, prepared, paths, until_idle=until_idle)
