"""``durable-otp migrate``: the schema's version, and bringing it to another."""

from typing import Annotated

import typer

from durable_otp.cli.failures import CheckFailed
from durable_otp.cli.options import AsJson, ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import print_json, say
from durable_otp.cli.target import Target, Where, opened
from durable_otp.storage.migrator import Migrator


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 5 if anything is to be done.")
    ] = False,
    to: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="N", min=0, help="A version; 0 removes the tables with all they hold."
        ),
    ] = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    as_json: AsJson = False,
) -> None:
    """Bring the schema to the newest version, or to another."""
    with opened(Where(config, dsn, schema)) as target:
        migrator = Migrator(target.dsn, target.schema)
        ran = [] if check else [str(step) for step in migrator.migrate(to)]
        _report(target, migrator, ran, as_json=as_json)
        if check:
            _judge(target, migrator, to)


def _report(target: Target, migrator: Migrator, ran: list[str], *, as_json: bool) -> None:
    version, newest = migrator.current_version(), migrator.newest_version
    if as_json:
        pending = [str(step) for step in migrator.pending()]
        facts = {"schema": target.schema, "version": version, "newest": newest}
        print_json({**facts, "ran": ran, "pending": pending})
        return
    for step in ran:
        say(f"ran {step}")
    say(f'schema "{target.schema}" is at version {version} of {newest}')


def _judge(target: Target, migrator: Migrator, to: int | None) -> None:
    wanted = migrator.newest_version if to is None else to
    version = migrator.current_version()
    if version != wanted:
        raise CheckFailed(
            f'Schema "{target.schema}" is at version {version} and not at {wanted}; run '
            "`durable-otp migrate`."
        )
