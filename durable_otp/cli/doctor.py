"""``durable-otp doctor``: what is wrong, and with ``--fix`` the cures that lose nothing."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from durable_otp.cli.failures import CheckFailed
from durable_otp.cli.options import AsJson, ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import print_json, say
from durable_otp.cli.status import unknown_workflows
from durable_otp.cli.target import Target, Where, configured, opened
from durable_otp.client.doctor import Finding, cure, examine
from durable_otp.config import DurableSection
from durable_otp.errors import MigrationError
from durable_otp.runtime.queue_view import managers_of
from durable_otp.storage.diagnosis import Bounds
from durable_otp.storage.migrator import Migrator
from durable_otp.storage.nodes import Node
from durable_otp.workflow.execution import as_json

SILENCES = 2
"""A node that is silent for so many node_timeouts is beyond what another would have waited for."""


@dataclass(frozen=True)
class Report:
    """What was found, what was cured of it, and what is found afterwards."""

    found: list[Finding]
    cured: dict[str, int]
    left: list[Finding]

    def as_json(self) -> dict[str, Any]:
        """Return everything; what nobody tried to cure has ``cured`` null."""
        return {
            "healthy": not self.left,
            "findings": [
                as_json(each) | {"cured": self.cured.get(each.check)} for each in self.found
            ],
            "left": [as_json(each) for each in self.left],
        }


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Cure what can be cured without losing anything.")
    ] = False,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    json: AsJson = False,
) -> None:
    """Look for what is stuck, lost, late or misconfigured; exit 5 if anything is left."""
    where = Where(config, dsn, schema)
    limits = configured(where).durable
    with opened(where) as target:
        report = _report(target, limits, fix=fix)
    if json:
        print_json(report.as_json())
    else:
        _show(report)
    if report.left:
        count = len(report.left)
        raise CheckFailed(f"{'1 thing needs' if count == 1 else f'{count} things need'} attention.")


def _report(target: Target, limits: DurableSection, *, fix: bool) -> Report:
    found = _behind(target)
    if found:
        return Report(found, {}, found)
    bounds = Bounds(stale=limits.stale_lock_timeout, silent=SILENCES * limits.node_timeout)
    found = _examined(target, bounds)
    if not fix:
        return Report(found, {}, found)
    cured = {each.check: cure(target, each, bounds) for each in found if each.curable}
    return Report(found, cured, _examined(target, bounds))


def _behind(target: Target) -> list[Finding]:
    """Return that the schema is not this code's; nothing else can be asked of it then."""
    try:
        Migrator(target.dsn, target.schema).check()
    except MigrationError as error:
        return [Finding("schema", 1, str(error), "Run `durable-otp migrate`.")]
    return []


def _examined(target: Target, bounds: Bounds) -> list[Finding]:
    nodes = target.nodes()
    served = sorted({queue for node in nodes for queue, _ in managers_of(node)})
    return [*examine(target, bounds, served), *_unknown(target, nodes)]


def _unknown(target: Target, nodes: list[Node]) -> list[Finding]:
    """Return the workflows that have work and that no living node knows."""
    unknown = unknown_workflows(target, nodes)
    if not unknown:
        return []
    names = tuple(f"{each.workflow} version {each.version}" for each in unknown)
    count = sum(each.pending for each in unknown)
    waiting = "1 execution waits" if count == 1 else f"{count} executions wait"
    text = f"{waiting} for a worker and no living node knows the workflow."
    remedy = "Start a node whose `workflows` have it, in this version."
    return [Finding("unknown_workflows", count, text, remedy, names)]


def _show(report: Report) -> None:
    if not report.found:
        say("nothing found")
    for each in report.found:
        cured = report.cured.get(each.check)
        say(f"{each.message} {each.remedy if cured is None else f'Cured: {cured}.'}")
        _show_examples(each)
    for each in report.left if report.cured else ():
        say(f"left: {each.message} {each.remedy}")
        _show_examples(each)


def _show_examples(finding: Finding) -> None:
    for example in finding.examples:
        say(f"  {example}")
    if finding.count > len(finding.examples) > 0:
        say(f"  ... and {finding.count - len(finding.examples)} more")
