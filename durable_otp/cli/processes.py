"""``durable-otp processes``: list them; restart, stop and kill one, or see what it is doing."""

from collections.abc import Callable
from typing import Annotated

import typer

from durable_otp.cli.options import AsJson, ConfigOption, DsnOption, NodeOption, SchemaOption
from durable_otp.cli.screen import (
    console,
    percent,
    print_json,
    say,
    size,
    table,
    uptime,
)
from durable_otp.cli.target import Where, opened
from durable_otp.cli.times import seconds_of
from durable_otp.client import Durable
from durable_otp.storage.journal import database_now
from durable_otp.workflow.execution import as_json

COLUMNS = ("Process", "Node", "PID", "Status", "Restarts", "Uptime", "CPU", "Memory", "Execution")
NARROWER_WITHOUT = ("Execution", "Restarts", "Uptime", "Memory", "CPU", "Status", "PID")

app = typer.Typer(help="The processes of every node: list, restart, stop and kill them.")

ProcessArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROCESS",
        help='"sleep_waker", "queue NAME" or its worker "NAME/1", "root", or a pid.',
    ),
]
TimeoutOption = Annotated[
    str, typer.Option(metavar="TIME", help='How long to wait for the answer, such as "2m".')
]


@app.callback(invoke_without_command=True)
def processes(
    context: typer.Context,
    node: NodeOption = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    json: AsJson = False,
) -> None:
    """List the processes, or with a verb, order one to do something."""
    where = Where(config, dsn, schema)
    context.obj = where
    if context.invoked_subcommand is not None:
        return
    with opened(where) as target:
        nodes = target.nodes() if node is None else [target.node(node)]
        if json:
            print_json([as_json(process) for each in nodes for process in each.processes])
            return
        now = target.run(database_now)
    rows = [
        (
            process.name,
            process.node,
            process.pid,
            process.status,
            process.restarts,
            uptime(process.started_at, now),
            percent(process.cpu_percent),
            size(process.rss_bytes),
            process.execution_id,
        )
        for each in nodes
        for process in each.processes
    ]
    if rows:
        console().print(table(COLUMNS, rows, expendable=NARROWER_WITHOUT, whole=COLUMNS[:2]))
    else:
        say("no live node")


@app.command()
def restart(
    *,
    context: typer.Context,
    process: ProcessArgument,
    node: NodeOption = None,
    timeout: TimeoutOption = "60s",
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Have it end in order and start again; a worker finishes its step."""
    where = Where(config, dsn, schema).over(context.obj)
    _order(where, Durable.restart_process, process, node, timeout)


@app.command()
def stop(
    *,
    context: typer.Context,
    process: ProcessArgument,
    node: NodeOption = None,
    timeout: TimeoutOption = "60s",
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Have it end in order: "root" with its whole node; a worker is replaced."""
    where = Where(config, dsn, schema).over(context.obj)
    _order(where, Durable.stop_process, process, node, timeout)


@app.command()
def kill(
    *,
    context: typer.Context,
    process: ProcessArgument,
    node: NodeOption = None,
    timeout: TimeoutOption = "60s",
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Kill it (SIGKILL); its supervisor starts another."""
    where = Where(config, dsn, schema).over(context.obj)
    _order(where, Durable.kill_process, process, node, timeout)


@app.command()
def stacks(
    *,
    context: typer.Context,
    process: ProcessArgument,
    node: NodeOption = None,
    timeout: TimeoutOption = "15s",
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Show what all its threads are doing, also when it hangs."""
    where = Where(config, dsn, schema).over(context.obj)
    _order(where, Durable.dump_stacks, process, node, timeout)


def _order(
    where: Where, verb: Callable[..., str], process: str, node: str | None, timeout: str
) -> None:
    seconds = seconds_of(timeout, "--timeout")
    with opened(where) as target:
        said = verb(target.client, process, node=node, timeout=seconds)
    for line in said.splitlines():
        say(line.rstrip())
