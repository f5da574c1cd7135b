"""``durable-otp cleanup``: remove old executions now, by age or as the configuration says."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from durable_otp.cli.failures import UsageMistake
from durable_otp.cli.options import ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import say
from durable_otp.cli.target import Target, Where, configured, opened
from durable_otp.cli.times import instant
from durable_otp.storage.deletion import final_statuses


def cleanup(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="TIME",
            help='What ended "30d" ago or before an instant; by default as [retention] says.',
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help="Only roots in this status; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many it would be, and remove none.")
    ] = False,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Remove executions that ended long ago, with their children; only whole families go."""
    where = Where(config, dsn, schema)
    statuses = [each.value for each in final_statuses(status or None)]
    kept = {} if older_than is not None else _kept(where, statuses)
    with opened(where) as target:
        count = sum(
            target.client.delete_executions(limit, each, dry_run)
            for each, limit in _limits(target, older_than, statuses, kept).items()
        )
    executions = "1 execution" if count == 1 else f"{count} executions"
    say(f"{'would remove' if dry_run else 'removed'} {executions}")


def _kept(where: Where, statuses: list[str]) -> dict[str, timedelta]:
    """Return how long the configuration keeps what is meant."""
    retention = configured(where).retention.by_status()
    kept = {each: timedelta(seconds=retention[each]) for each in statuses if each in retention}
    if not kept:
        raise UsageMistake(
            "Nothing says what is old; add --older-than, or [retention] for these statuses to the "
            "configuration."
        )
    return kept


def _limits(
    target: Target, older_than: str | None, statuses: list[str], kept: dict[str, timedelta]
) -> dict[str, timedelta | datetime]:
    """Return by status before when, or how long ago, a root must have ended."""
    before = instant(target, older_than, "--older-than")
    return dict(kept) if before is None else dict.fromkeys(statuses, before)
