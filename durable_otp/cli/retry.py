"""``durable-otp retry``: have executions go on that had ended."""

from durable_otp.cli.many import Meant, act_on_all
from durable_otp.cli.options import (
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


def retry(
    *,
    prefix: OptionalId = None,
    workflow: WorkflowFilter = None,
    status: StatusFilter = None,
    queue: QueueFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    dry_run: DryRun = False,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Let a failed or cancelled execution go on where it stopped, or all that filters find."""
    meant = Meant(prefix, workflow, status, queue, since, until)
    with opened(Where(config, dsn, schema)) as target:
        found = meant.one(target)
        if found is None:
            every = target.client.retry_executions
            act_on_all("retried", every, meant.filters(target), dry_run=dry_run)
        elif dry_run:
            say(f"would have retried {found}")
        else:
            target.client.retry(found)
            say(f"retried {found}: {target.client.status(found)}")
