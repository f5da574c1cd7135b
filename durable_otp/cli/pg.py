"""``durable-otp pg``: the private PostgreSQL server, as an operator sees it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from durable_otp.cli.options import ConfigOption
from durable_otp.config import load
from durable_otp.errors import ConfigError, EmbeddedServerError
from durable_otp.storage import embedded
from durable_otp.storage.embedded import Status

app = typer.Typer(
    help="The private PostgreSQL server: start, look at, use, stop and remove it.",
    no_args_is_help=True,
)

Directory = Annotated[
    Path | None,
    typer.Option("--dir", metavar="PATH", help="Where it lives (default: ./.durable-otp/pg)."),
]
LongConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration of the project whose server is meant."
    ),
]
"""Without the short form, which is psql's."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Also under processes that use it.")]


@app.command()
def start(
    directory: Directory = None,
    config: ConfigOption = None,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Commit without waiting for the disk: a power cut loses some."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the server, and keep it up until `pg stop`."""
    directory = _place(directory, config)
    with _failure_in_one_sentence():
        with embedded.acquire(directory, mode="fast" if fast else "durable") as server:
            embedded.hold(server)
        _show(embedded.status(directory), as_json=as_json)


@app.command()
def stop(directory: Directory = None, config: ConfigOption = None, force: Force = False) -> None:
    """Stop the server; its data stays."""
    directory = _place(directory, config)
    with _failure_in_one_sentence():
        was_running = embedded.stop(directory, force=force)
        typer.echo("stopped" if was_running else "it was not running")


@app.command()
def status(
    directory: Directory = None, config: ConfigOption = None, as_json: AsJson = False
) -> None:
    """Show whether the server runs, its version and where it is."""
    directory = _place(directory, config)
    with _failure_in_one_sentence():
        _show(embedded.status(directory), as_json=as_json)


@app.command(context_settings={"ignore_unknown_options": True})
def psql(
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to psql.")] = None,
    directory: Directory = None,
    config: LongConfigOption = None,
) -> None:
    """Open psql on the server, which is started if it does not run."""
    directory = _place(directory, config)
    with _failure_in_one_sentence():
        embedded.psql(directory, arguments or [])


@app.command()
def dsn(directory: Directory = None, config: ConfigOption = None, as_json: AsJson = False) -> None:
    """Print how to connect to the running server."""
    directory = _place(directory, config)
    with _failure_in_one_sentence():
        found = embedded.status(directory)
        if not found.running:
            raise EmbeddedServerError(
                f"The private PostgreSQL server at {found.directory} does not run; start it with "
                f"`durable-otp pg start`."
            )
        typer.echo(json.dumps({"dsn": found.dsn}) if as_json else found.dsn)


@app.command()
def reset(
    directory: Directory = None,
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Force = False,
) -> None:
    """Stop the server and delete all of its data."""
    directory = _place(directory, config)
    with _failure_in_one_sentence():
        found = embedded.status(directory)
        if not found.exists:
            typer.echo(found.description)
            return
        if not yes:
            typer.confirm(f"Delete all data in {found.directory}?", abort=True)
        embedded.reset(directory, force=force)
        typer.echo("removed")


def _place(directory: Path | None, config: Path | None) -> Path | None:
    """Return where the server is that is meant; None: where one is by default."""
    if config is None:
        return directory
    if directory is not None:
        raise ConfigError("--dir and --config both say where the server is; leave one out.")
    if load(config, environ={}).durable.dsn is not None:
        raise ConfigError(
            f"{config} names a database (`dsn`), so its project has no private PostgreSQL; give "
            "--dir instead, or take the key out."
        )
    return embedded.default_directory(config)


def _show(found: Status, *, as_json: bool) -> None:
    if not as_json:
        typer.echo(found.description)
        return
    typer.echo(json.dumps(asdict(found) | {"directory": str(found.directory)}, indent=2))


@contextmanager
def _failure_in_one_sentence() -> Iterator[None]:
    try:
        yield
    except EmbeddedServerError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
