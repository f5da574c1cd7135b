"""``durable-otp tree``: the processes of every live node, and what they are doing."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from durable_otp.cli.options import AsJson, ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import console, one_line, percent, print_json, size, table, uptime
from durable_otp.cli.target import Target, Where, opened
from durable_otp.cli.watching import watch_page
from durable_otp.clock import Deadline
from durable_otp.storage.journal import database_now
from durable_otp.storage.nodes import Node

COLUMNS = (
    "Process", "PID", "Status", "Restarts", "Uptime", "CPU", "Memory", "Doing", "Execution"
)  # fmt: skip
NARROWER_WITHOUT = ("Execution", "Restarts", "Uptime", "Memory", "CPU", "PID")
NOTED_EVERY = 2.0
MEASURED = ("cpu_percent", "rss_bytes")
"""Fields that change all the time, though nothing happens."""

Seen = tuple[list[Node], datetime]


def tree(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it anew when it changes, until Ctrl-C.")
    ] = False,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    json: AsJson = False,
) -> None:
    """Show the supervision tree of every live node."""
    with opened(Where(config, dsn, schema)) as target:
        if watch:
            show = _print_json if json else None
            watch_page(Looks(target), _everything, key=_shapes, show=show)
        elif json:
            print_json(as_published(target.nodes()))
        else:
            console().print(_everything((target.nodes(), target.run(database_now))))


def as_published(nodes: list[Node]) -> list[dict[str, Any]]:
    """Return nodes in the form of ``tree --json``."""
    return [
        {"node": node.id, "hostname": node.hostname, "tree": node.tree}
        for node in nodes
        if node.tree
    ]


def drawn(root: dict[str, Any], now: datetime, *, width: int | None = None) -> Table:
    """Return one node's tree as a table, a line for each process."""
    rows = [_row(node, branch, now) for node, branch in _lines(root)]
    return table(COLUMNS, rows, expendable=NARROWER_WITHOUT, whole=("Process",), width=width)


class Looks:
    """Looks at the live nodes; while they go on, the nodes know that somebody watches."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._noted = Deadline(0)

    def __call__(self) -> Seen:
        """Return the nodes, and the time by their clock."""
        nodes = self._target.client.nodes(watch=self._noted.passed)
        if self._noted.passed:
            self._noted = Deadline(NOTED_EVERY)
        return nodes, self._target.run(database_now)


def _print_json(seen: Seen) -> None:
    print_json(as_published(seen[0]))


def _shapes(seen: Seen) -> list[dict[str, Any]]:
    return [_shape(node["tree"]) for node in as_published(seen[0])]


def _shape(shown: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in shown.items() if name not in MEASURED}
    return kept | {"children": [_shape(child) for child in shown["children"]]}


def _everything(seen: Seen) -> Group:
    nodes, now = seen
    parts: list[Text | Table] = []
    for node in nodes:
        heading = f"{one_line(node.name)} on {one_line(node.hostname)}, node {node.id}"
        parts.append(Text(heading, style="bold"))
        parts += [drawn(node.tree, now), Text("")] if node.tree else [Text("")]
    return Group(*parts[:-1]) if parts else Group(Text("no live node"))


def _lines(root: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield every process with the branch that leads to it."""
    yield root, ""
    yield from _below(root, "")


def _below(node: dict[str, Any], indent: str) -> Iterator[tuple[dict[str, Any], str]]:
    children = node.get("children") or []
    for number, child in enumerate(children, start=1):
        is_last = number == len(children)
        yield child, indent + ("└─ " if is_last else "├─ ")
        yield from _below(child, indent + ("   " if is_last else "│  "))


def _row(node: dict[str, Any], branch: str, now: datetime) -> tuple[Any, ...]:
    return (
        Text(f"{branch}{one_line(_name(node))}"),
        node["pid"],
        node["status"],
        node["restarts"],
        uptime(node["started_at"] and datetime.fromisoformat(node["started_at"]), now),
        percent(node.get("cpu_percent")),
        size(node.get("rss_bytes")),
        _doing(node),
        node.get("execution_id") or Text(""),
    )


def _name(node: dict[str, Any]) -> str:
    is_worker = node["role"] == "worker" and not str(node["id"]).startswith("worker")
    return f"worker {node['id']}" if is_worker else str(node["id"])


def _doing(node: dict[str, Any]) -> Any:
    if node["role"] == "queue_manager" and node.get("concurrency"):
        paused = ", paused" if node.get("paused") else ""
        return Text(f"{node.get('busy') or 0} of {node.get('concurrency')} busy{paused}")
    if node.get("execution_id"):
        step = f":{node['step']}" if node.get("step") else ""
        others = len(node.get("executions") or ()) - 1
        more = f" and {others} more" if others > 0 else ""
        return f"{node.get('workflow')}{step}{more}"
    return Text("")
