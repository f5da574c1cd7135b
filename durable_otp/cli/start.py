"""``durable-otp start``: prepare, and become the root of the tree."""

from typing import Annotated

import typer

from durable_otp.cli.imports import found_workflows
from durable_otp.cli.options import ConfigArgument, DsnOption, SchemaOption
from durable_otp.cli.reloading import start_reloading
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

Reload = Annotated[
    bool,
    typer.Option(
        "--reload",
        help="For development: start again when a Python file here or the configuration changes.",
    ),
]


def start(
    config: ConfigArgument,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    until_idle: UntilIdle = False,
    reload: Reload = False,
) -> None:
    """Run a configuration's tree in the foreground, until Ctrl-C or SIGTERM; again: at once."""
    if reload:
        if until_idle:
            raise typer.BadParameter("It cannot be used with --until-idle.", param_hint="--reload")
        given = {"--dsn": dsn, "--schema": schema}
        options = [word for name, value in given.items() if value for word in (name, value)]
        raise typer.Exit(start_reloading(config, options))
    settings = configured(Where(config, dsn, schema))
    paths = import_paths(config)
    found_workflows(settings.durable.modules, paths, settings.durable.codec or ())
    prepared = prepare(settings, migrate=True, beside=config)
    schema_name = settings.durable.schema_name
    typer.echo(f"database: {prepared.description}, schema {schema_name}", err=True)
    if prepared.remark is not None:
        typer.echo(f"note: {prepared.remark}", err=True)
    become_root(settings, prepared, paths, until_idle=until_idle)
