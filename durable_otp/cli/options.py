"""The options that many verbs have, declared once."""

from pathlib import Path
from typing import Annotated

import typer

from durable_otp.cli.times import INSTANT_HELP

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration, TOML.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The project's configuration; without a dsn in it: its private PostgreSQL.",
    ),
]
DsnOption = Annotated[
    str | None,
    typer.Option("--dsn", metavar="DSN", help="The database (default: $DURABLE_DSN)."),
]
SchemaOption = Annotated[
    str | None, typer.Option("--schema", metavar="NAME", help="The schema (default: durable).")
]
CodecOption = Annotated[
    str | None,
    typer.Option(
        "--codec",
        metavar="MODULE:NAME",
        help="What encoded payloads are read and written with (default: the configuration's).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NodeOption = Annotated[
    str | None,
    typer.Option("--node", metavar="ID", help="Only this node; the beginning of its id will do."),
]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="An execution's id, or 4 or more of its first digits.")
]
OptionalId = Annotated[
    str | None,
    typer.Argument(metavar="ID", help="An execution's id, or 4 or more of its first digits."),
]
WorkflowFilter = Annotated[
    str | None, typer.Option("--workflow", metavar="NAME", help="All of this name.")
]
StatusFilter = Annotated[
    list[str] | None,
    typer.Option("--status", metavar="STATUS", help="All in this status; may be repeated."),
]
QueueFilter = Annotated[
    str | None, typer.Option("--queue", metavar="NAME", help="All of this queue.")
]
SinceFilter = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help=f"Started then or later. {INSTANT_HELP}"),
]
UntilFilter = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help=f"Started before. {INSTANT_HELP}")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say how many it would be, change none.")]
