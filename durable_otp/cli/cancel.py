"""``durable-otp cancel``: call executions off."""

from typing import Annotated

import typer

from durable_otp.cli.many import Meant, act_on_all
from durable_otp.cli.options import (
    CodecOption,
    ConfigOption,
    DryRun,
    DsnOption,
    OptionalId,
    QueueFilter,
    SchemaOption,
    SinceFilter,
    StatusFilter,
    UntilFilter,
    WorkflowFilter,
)
from durable_otp.cli.screen import say
from durable_otp.cli.target import Where, opened


def cancel(
    *,
    prefix: OptionalId = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Kept as the error's message.")
    ] = None,
    workflow: WorkflowFilter = None,
    status: StatusFilter = None,
    queue: QueueFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    dry_run: DryRun = False,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
) -> None:
    """Cancel an execution and its children, or all that filters find; running steps are stopped."""
    meant = Meant(prefix, workflow, status, queue, since, until)
    with opened(Where(config, dsn, schema, codec)) as target:
        found = meant.one(target)
        if found is None:
            every = target.client.cancel_executions
            act_on_all("cancelled", every, meant.filters(target), reason=reason, dry_run=dry_run)
            return
        if not dry_run:
            target.client.cancel(found, reason)
        say(f"{'would have cancelled' if dry_run else 'cancelled'} {found}")
