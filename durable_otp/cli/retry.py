"""``durable-otp retry``: have an execution go on that had ended."""

from durable_otp.cli.identifying import execution_id
from durable_otp.cli.options import ConfigOption, DsnOption, IdArgument, SchemaOption
from durable_otp.cli.screen import say
from durable_otp.cli.target import Where, opened


def retry(
    prefix: IdArgument,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Let a failed or cancelled execution go on where it stopped; completed steps are kept."""
    with opened(Where(config, dsn, schema)) as target:
        found = execution_id(target, prefix)
        target.client.retry(found)
        say(f"retried {found}: {target.client.status(found)}")
