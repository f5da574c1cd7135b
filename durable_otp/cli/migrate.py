"""``durable-otp migrate``: the schema's version, and bringing it to another."""

from typing import Annotated

import typer

from durable_otp.cli.failures import CheckFailed, UsageMistake
from durable_otp.cli.options import AsJson, ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import print_json, say, shown
from durable_otp.cli.target import Target, Where, opened
from durable_otp.storage.migrator import Migrator


def migrate(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 5 if anything is to be done.")
    ] = False,
    to: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="N", min=0, help="A version; 0 removes the tables with all they hold."
        ),
    ] = None,
    grant_runtime: Annotated[
        str | None,
        typer.Option("--grant-runtime", metavar="ROLE", help="Let a role run nodes and operate."),
    ] = None,
    grant_producer: Annotated[
        str | None,
        typer.Option("--grant-producer", metavar="ROLE", help="Let a role start and send."),
    ] = None,
    grant_reader: Annotated[
        str | None, typer.Option("--grant-reader", metavar="ROLE", help="Let a role look.")
    ] = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    as_json: AsJson = False,
) -> None:
    """Bring the schema to the newest version, or to another; give roles their rights."""
    roles = {"runtime": grant_runtime, "producer": grant_producer, "reader": grant_reader}
    granted = {kind: role for kind, role in roles.items() if role is not None}
    if granted and (check or to is not None):
        raise UsageMistake("Rights are given at the newest version: leave --check and --to out.")
    with opened(Where(config, dsn, schema)) as target:
        migrator = Migrator(target.dsn, target.schema)
        ran = [] if check else [str(step) for step in migrator.migrate(to)]
        for kind, role in granted.items():
            migrator.grant(kind, role)
        _report(target, migrator, ran, granted, as_json=as_json)
        if check:
            _judge(target, migrator, to)


def _report(
    target: Target, migrator: Migrator, ran: list[str], granted: dict[str, str], *, as_json: bool
) -> None:
    version, newest = migrator.current_version(), migrator.newest_version
    if as_json:
        pending = [str(step) for step in migrator.pending()]
        facts = {"schema": target.schema, "version": version, "newest": newest}
        print_json({**facts, "ran": ran, "pending": pending, "granted": granted})
        return
    for step in ran:
        say(f"ran {step}")
    for kind, role in granted.items():
        say(f"granted {kind} to {shown(role)}")
    say(f'schema "{target.schema}" is at version {version} of {newest}')


def _judge(target: Target, migrator: Migrator, to: int | None) -> None:
    wanted = migrator.newest_version if to is None else to
    version = migrator.current_version()
    if version != wanted:
        raise CheckFailed(
            f'Schema "{target.schema}" is at version {version} and not at {wanted}; run '
            "`durable-otp migrate`."
        )
