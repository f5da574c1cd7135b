"""The options that many verbs have, declared once."""

from pathlib import Path
from typing import Annotated

import typer

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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NodeOption = Annotated[
    str | None,
    typer.Option("--node", metavar="ID", help="Only this node; the beginning of its id will do."),
]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="An execution's id, or 4 or more of its first digits.")
]
