"""``durable-otp status``: the queues, the nodes and the executions on one screen."""

from typing import Any

from rich.text import Text

from durable_otp.cli.options import AsJson, ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import console, print_json, say, table
from durable_otp.cli.target import Target, Where, opened
from durable_otp.runtime.queue_view import QueueView, queue_views
from durable_otp.storage.nodes import Node
from durable_otp.storage.overview import PendingWorkflow, pending_workflows
from durable_otp.workflow.execution import as_json
from durable_otp.workflow.state import State

COUNTS = ("pending", "scheduled", "running", "waiting", "completed", "failed")
QUEUE_COLUMNS = ("Queue", *(name.capitalize() for name in COUNTS), "Paused", "Concurrency")
QUEUES_NARROWER_WITHOUT = ("Scheduled", "Completed", "Concurrency")
NODE_COLUMNS = ("Node", "Name", "Host", "PID", "Workflows", "Started")
NODES_NARROWER_WITHOUT = ("Started", "PID", "Workflows")


def status(
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    json: AsJson = False,
) -> None:
    """Show queues, live nodes and how many executions are in each status."""
    with opened(Where(config, dsn, schema)) as target:
        nodes = target.nodes()
        queues = queue_views(target, nodes)
        unknown = unknown_workflows(target, nodes)
    if json:
        print_json(_as_json(nodes, queues, unknown))
        return
    show_queues(queues)
    _show_nodes(nodes)
    _show_executions(queues)
    for each in unknown:
        say(_unknown(each, nodes))


def show_queues(queues: dict[str, QueueView]) -> None:
    """Print the queues as a table."""
    rows = [
        (
            name,
            *(getattr(view.stats, count) for count in COUNTS),
            view.paused_text,
            view.concurrency,
        )
        for name, view in queues.items()
    ]
    if rows:
        drawn = table(QUEUE_COLUMNS, rows, expendable=QUEUES_NARROWER_WITHOUT, whole=("Queue",))
        console().print(drawn)
    else:
        say("no queues")


def unknown_workflows(target: Target, nodes: list[Node]) -> list[PendingWorkflow]:
    """Return what waits although no live node can run it."""
    known = {(name, version) for node in nodes for name, version in node.workflows}
    waiting = target.run(pending_workflows)
    return [each for each in waiting if (each.workflow, each.version) not in known]


def _show_nodes(nodes: list[Node]) -> None:
    say("")
    if not nodes:
        say("no live node")
        return
    rows = [
        (node.id, node.name, node.hostname, node.pid, len(node.workflows), node.started_at)
        for node in nodes
    ]
    console().print(table(NODE_COLUMNS, rows, expendable=NODES_NARROWER_WITHOUT, whole=("Node",)))


def _show_executions(queues: dict[str, QueueView]) -> None:
    counts = [(state, count) for state, count in _totals(queues).items() if count]
    say("")
    if counts:
        console().print(table(("Executions", "Count"), [(Text(s), c) for s, c in counts]))
    else:
        say("no executions")


def _totals(queues: dict[str, QueueView]) -> dict[str, int]:
    return {
        state.value: sum(getattr(view.stats, state) for view in queues.values()) for state in State
    }


def _unknown(pending: PendingWorkflow, nodes: list[Node]) -> str:
    knows = "no live node knows it" if nodes else "no node lives"
    return (
        f"{pending.pending} pending of workflow {pending.workflow!r} version "
        f"{pending.version!r}: {knows}"
    )


def _as_json(
    nodes: list[Node], queues: dict[str, QueueView], unknown: list[PendingWorkflow]
) -> dict[str, Any]:
    return {
        "queues": [view.as_json() for view in queues.values()],
        "nodes": [
            {key: value for key, value in as_json(node).items() if key != "tree"} for node in nodes
        ],
        "executions": _totals(queues),
        "unknown_workflows": [as_json(each) for each in unknown],
    }
