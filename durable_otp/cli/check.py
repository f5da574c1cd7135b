"""``durable-otp check``: whether a configuration would run, without running it."""

from pathlib import Path
from typing import Any

from durable_otp.cli.failures import CheckFailed
from durable_otp.cli.imports import FoundWorkflow, found_workflows
from durable_otp.cli.options import AsJson, ConfigArgument, DsnOption, SchemaOption
from durable_otp.cli.screen import print_json, say
from durable_otp.cli.target import Where, configured, import_paths
from durable_otp.config import Config
from durable_otp.errors import ConfigError, DatabaseUnreachable
from durable_otp.runtime.starting import check_connections, pooler_remark
from durable_otp.runtime.tree import connections
from durable_otp.storage import embedded
from durable_otp.workflow.execution import as_json


def check(
    config: ConfigArgument,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    json: AsJson = False,
) -> None:
    """Check a configuration, its workflows and its connections; exit 5 if they are too many."""
    settings = configured(Where(config, dsn, schema))
    workflows = found_workflows(
        settings.durable.modules, import_paths(config), settings.durable.codec or ()
    )
    needed, formula = connections(settings)
    note, finding = _connections_fit(settings, config)
    remark = _pooler_remark(settings)
    if json:
        plan = {"needed": needed, "formula": formula, "note": finding or note, "pooler": remark}
        print_json(_as_json(settings, workflows) | {"connections": plan})
    else:
        _show(settings, workflows)
        say(f"connections: at most {needed} ({formula}); {note}")
        if remark is not None:
            say(f"note: {remark}")
    if finding is not None:
        raise CheckFailed(finding)


def _show(settings: Config, workflows: list[FoundWorkflow]) -> None:
    for each in workflows:
        say(f"workflow {each.name!r} version {each.version!r}: {each.steps} steps")
        if each.queue not in settings.queues:
            say(f"  its queue {each.queue!r} is not run by this configuration")
    if not workflows:
        say("no workflows")
    sizes = (f"{name!r} x {section.concurrency}" for name, section in settings.queues.items())
    say(f"queues: {', '.join(sizes) if settings.durable.queue_enabled else 'not run here'}")


def _connections_fit(settings: Config, config: Path) -> tuple[str, str | None]:
    """Return a remark on the plan, and what is wrong with it if something is."""
    dsn = settings.durable.dsn or _running_private_server(config)
    if dsn is None:
        return "the private PostgreSQL does not run, its limit is checked at the start", None
    try:
        check_connections(settings, dsn)
    except DatabaseUnreachable as error:
        return f"not compared with the server's limit: {error}", None
    except ConfigError as error:
        return "the server has fewer", str(error)
    return "the server has more", None


def _pooler_remark(settings: Config) -> str | None:
    if settings.durable.dsn is None:
        return None
    try:
        return pooler_remark(settings, settings.durable.dsn)
    except DatabaseUnreachable:
        return None  # the plan's remark has said it


def _running_private_server(config: Path) -> str | None:
    found = embedded.status(embedded.default_directory(config))
    return found.dsn if found.running else None


def _as_json(settings: Config, workflows: list[FoundWorkflow]) -> dict[str, Any]:
    return {
        "name": settings.durable.name,
        "schema": settings.durable.schema_name,
        "workflows": [as_json(each) for each in workflows],
        "queues": {name: each.concurrency for name, each in settings.queues.items()},
    }
