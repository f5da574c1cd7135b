"""``durable-otp queues``: look at them; pause, resume, scale and drain them."""

from typing import Annotated

import typer

from durable_otp.cli.failures import UsageMistake
from durable_otp.cli.options import AsJson, ConfigOption, DsnOption, NodeOption, SchemaOption
from durable_otp.cli.screen import print_json, say
from durable_otp.cli.status import show_queues
from durable_otp.cli.target import Target, Where, opened
from durable_otp.cli.times import seconds_of
from durable_otp.clock import Deadline
from durable_otp.errors import DurableError
from durable_otp.otp.program import pause as wait
from durable_otp.runtime.capacity import too_many
from durable_otp.runtime.queue_view import Manager, managers_of, queue_views
from durable_otp.storage.nodes import ALL_NODES, set_queue
from durable_otp.storage.queue import check_queue, get_stats

LOOK_EVERY = 0.2

app = typer.Typer(help="The queues: list, pause, resume, scale and drain them.")

QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name.")]


@app.callback(invoke_without_command=True)
def queues(
    context: typer.Context,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    json: AsJson = False,
) -> None:
    """List the queues, or with a verb, change one."""
    where = Where(config, dsn, schema)
    context.obj = where
    if context.invoked_subcommand is not None:
        return
    with opened(where) as target:
        found = queue_views(target, target.nodes())
    if json:
        print_json([view.as_json() for view in found.values()])
    else:
        show_queues(found)


@app.command()
def pause(
    context: typer.Context,
    queue: QueueArgument,
    node: NodeOption = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Claim nothing more from a queue; what runs goes on."""
    with opened(Where(config, dsn, schema).over(context.obj)) as target:
        _set(target, queue, node, paused=True)
        say(f"paused {queue!r} {_reach(target, queue, node)}")


@app.command()
def resume(
    context: typer.Context,
    queue: QueueArgument,
    node: NodeOption = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Claim from a paused queue again."""
    with opened(Where(config, dsn, schema).over(context.obj)) as target:
        _set(target, queue, node, paused=False)
        say(f"resumed {queue!r} {_reach(target, queue, node)}")


@app.command()
def scale(
    *,
    context: typer.Context,
    queue: QueueArgument,
    concurrency: Annotated[
        int, typer.Argument(metavar="N", min=1, help="Executions in flight on each node.")
    ],
    node: NodeOption = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Run so many executions of a queue at once on each node."""
    with opened(Where(config, dsn, schema).over(context.obj)) as target:
        meant = None if node is None else target.node(node).id
        refusal = too_many(target, target.nodes(), queue, meant, concurrency)
        if refusal is not None:
            raise UsageMistake(refusal)
        _set(target, queue, node, concurrency=concurrency)
        say(f"scaled {queue!r} to {concurrency} {_reach(target, queue, node)}")


@app.command()
def drain(
    *,
    context: typer.Context,
    queue: QueueArgument,
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help='How long to wait, such as "30s" or "5m".')
    ] = "30s",
    node: NodeOption = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Pause a queue and wait until nothing of it runs; it stays paused. Exit 1 at the timeout."""
    limit = Deadline(seconds_of(timeout, "--timeout"))
    with opened(Where(config, dsn, schema).over(context.obj)) as target:
        _set(target, queue, node, paused=True)
        while left := _left(target, queue, node):
            if limit.passed:
                raise DurableError(f"{left} after {timeout}; the queue stays paused.")
            wait(LOOK_EVERY)
        say(f"drained {queue!r} {_reach(target, queue, node)}")


def _set(
    target: Target,
    queue: str,
    node: str | None,
    *,
    paused: bool | None = None,
    concurrency: int | None = None,
) -> None:
    check_queue(queue)
    node_id = ALL_NODES if node is None else target.node(node).id
    target.run(set_queue, queue, node_id, paused=paused, concurrency=concurrency)


def _reach(target: Target, queue: str, node: str | None) -> str:
    """Return where an order holds."""
    if node is not None:
        return f"on node {target.node(node).id}"
    count = len(_managers(target, queue, None))
    return "on all nodes" if count else "on all nodes (none that runs it lives)"


def _managers(target: Target, queue: str, node: str | None) -> list[Manager]:
    nodes = target.nodes() if node is None else [target.node(node)]
    return [manager for each in nodes for name, manager in managers_of(each) if name == queue]


def _left(target: Target, queue: str, node: str | None) -> str | None:
    """Return what keeps a queue from being drained; None when nothing does.

    A manager that has not noticed the pause yet may still claim; only then do the rows count.
    """
    managers = _managers(target, queue, node)
    if not all(manager.paused for manager in managers):
        return f"A manager of queue {queue!r} has not noticed the pause"
    if node is None:
        running = target.run(get_stats, queue).running
    else:
        running = sum(manager.busy for manager in managers)
    return f"{running} of queue {queue!r} still running" if running else None
