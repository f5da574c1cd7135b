"""``durable-otp queues``: look at them; pause, resume, scale, limit and drain them."""

from typing import Annotated

import typer

from durable_otp.cli.failures import UsageMistake
from durable_otp.cli.options import AsJson, ConfigOption, DsnOption, NodeOption, SchemaOption
from durable_otp.cli.screen import print_json, say
from durable_otp.cli.status import show_queues
from durable_otp.cli.target import Target, Where, opened
from durable_otp.cli.times import seconds_of
from durable_otp.config.quantities import read_rate
from durable_otp.errors import DurableError
from durable_otp.runtime.queue_view import managers_of, queue_views
from durable_otp.storage.limits import QueueLimits, remove_limits, set_limits
from durable_otp.storage.queue import check_queue

app = typer.Typer(help="The queues: list, pause, resume, scale, limit and drain them.")

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
        reached = target.client.pause_queue(queue, node=node)
        say(f"paused {queue!r} {_reach(reached, node)}")


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
        reached = target.client.resume_queue(queue, node=node)
        say(f"resumed {queue!r} {_reach(reached, node)}")


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
        reached = target.client.scale_queue(queue, concurrency, node=node)
        say(f"scaled {queue!r} to {concurrency} {_reach(reached, node)}")


@app.command()
def limit(
    *,
    context: typer.Context,
    queue: QueueArgument,
    concurrency: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Executions in flight on all nodes together."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="RATE", help='Claims in a time, such as "100/1m".')
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Remove what is set.")] = False,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Limit a queue on all nodes together, whatever their configurations say."""
    limits = _limits(concurrency, rate)
    if limits.are_none is not none:
        raise UsageMistake("Give --concurrency, --rate or both, or --none alone.")
    with opened(Where(config, dsn, schema).over(context.obj)) as target:
        if none:
            target.run(remove_limits, check_queue(queue))
        else:
            target.run(set_limits, check_queue(queue), limits, by_operator=True)
        say(f"{'no limits' if none else 'limited'} {queue!r} on all nodes")


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
    seconds = seconds_of(timeout, "--timeout")
    with opened(Where(config, dsn, schema).over(context.obj)) as target:
        if not target.client.drain_queue(queue, seconds, node=node):
            left = _left(target, queue, node)
            raise DurableError(f"{left} after {timeout}; the queue stays paused.")
        reached = target.client.pause_queue(queue, node=node)
        say(f"drained {queue!r} {_reach(reached, node)}")


def _limits(concurrency: int | None, rate: str | None) -> QueueLimits:
    if rate is None:
        return QueueLimits(concurrency)
    try:
        wanted = read_rate(rate)
    except ValueError as error:
        raise UsageMistake(f"--rate {error}.") from None
    return QueueLimits(concurrency, wanted.count, wanted.seconds)


def _reach(reached: list[str], node: str | None) -> str:
    """Return where an order holds."""
    if node is not None:
        return f"on node {reached[0]}" if reached else f"on node {node} (which does not run it)"
    return "on all nodes" if reached else "on all nodes (none that runs it lives)"


def _left(target: Target, queue: str, node: str | None) -> str:
    """Return what keeps a queue from being drained."""
    if node is None:
        running = target.client.stats(queue).running
    else:
        managers = managers_of(target.node(node))
        running = sum(manager.busy for name, manager in managers if name == queue)
    return f"{running} of queue {queue!r} still running"
