"""``durable-otp dashboard``: the pages, served alone in the foreground."""

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from durable_otp.cli.options import CodecOption, ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import say
from durable_otp.cli.target import Where, configured, opened
from durable_otp.config import Config
from durable_otp.errors import ConfigError, DurableError
from durable_otp.otp.program import take_sigterm_for_ctrl_c
from durable_otp.runtime.carried import carry_codecs
from durable_otp.runtime.dashboard import MISSING, settings_of
from durable_otp.runtime.settings import DatabaseSettings

LOOK_EVERY = 0.5


def dashboard(
    *,
    configuration: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The configuration (TOML).")
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The address to listen on.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port to listen on.")
    ] = None,
    hash_password: Annotated[
        bool,
        typer.Option("--hash-password", help="Ask for a password, print its hash, and end."),
    ] = False,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
) -> None:
    """Serve the pages that show every execution and the processes, until Ctrl-C."""
    if hash_password:
        _hash()
        return
    where = Where(configuration or config, dsn, schema, codec)
    settings = _with(configured(where), host, port)
    server = _package("server")
    take_sigterm_for_ctrl_c()
    with opened(where) as target:
        database = DatabaseSettings(target.dsn, target.schema, codecs=carry_codecs(target.codecs))
        serving = server.Server(settings_of(settings, database))
        serving.start()
        say(f"dashboard: {serving.address}")
        try:
            while serving.is_alive:
                serving.join(LOOK_EVERY)
        finally:
            serving.stop()
    raise DurableError("The dashboard stopped serving.")


def _with(settings: Config, host: str | None, port: int | None) -> Config:
    """Return the configuration with what the options say instead."""
    changes = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    if not changes:
        return settings
    section = type(settings.dashboard)
    given = settings.dashboard.model_dump() | changes
    try:
        return settings.model_copy(update={"dashboard": section.model_validate(given)})
    except ValueError:
        raise ConfigError(
            f"--host {host!r} is not an IP address; use one such as 127.0.0.1, or localhost."
        ) from None


def _hash() -> None:
    """Print what to keep of a password."""
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    typer.echo(_package("passwords").hashed(password))


def _package(module: str) -> Any:
    """Return a module of the dashboard, which needs packages of its own."""
    try:
        return importlib.import_module(f"durable_otp.dashboard.{module}")
    except ImportError as error:
        raise ConfigError(f"{MISSING} ({error})") from None
