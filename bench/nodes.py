"""Do several nodes on one database share the work, and what does each more of them bring?"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from bench import figures, summary
from bench.meter import Meter
from bench.probe import Probe
from bench.question import Question, Row, Rows, Setting, Table, WrongResultError, wait_for
from bench.tree import COMPLETED, HELD, SECONDS, SETTLE, Tree, made
from bench.workload import PER_PLACE, PLACE
from durable_otp import Runtime
from durable_otp.runtime.tree_view import flatten

NODES = (1, 2, 4)
WORKERS = 2
COUNT = 20_000


def run(setting: Setting) -> Iterator[Row]:
    """Measure each number of nodes, all with as many workers."""
    for repetition in setting.passes():
        for nodes in (2,) if setting.quick else NODES:
            setting.progress(f"{nodes} nodes")
            yield {"nodes": nodes, "repetition": repetition, **_measured(setting, nodes)}


def _measured(setting: Setting, nodes: int) -> Row:
    count = setting.size(COUNT, 60)
    with (
        Probe(count * PER_PLACE) as probe,
        made(setting, WORKERS, probe) as tree,
        ExitStack() as stack,
    ):
        tree.put("placed", count)
        tree.pause()
        runtimes = [tree.runtime, *(_another(tree) for _ in range(nodes - 1))]
        for runtime in runtimes:
            stack.enter_context(runtime)
        time.sleep(SETTLE)
        found = _work(setting, tree, runtimes, probe)
        tree.pause()
        wait_for(lambda: tree.count(HELD) == 0, "the end of what was running")
        return found | _shares(tree, runtimes, probe)


def _another(tree: Tree) -> Runtime:
    return Runtime(
        dsn=tree.dsn,
        schema=tree.schema,
        workflows=["bench.workload"],
        queues={"default": {"concurrency": WORKERS}},
    )


def _work(setting: Setting, tree: Tree, runtimes: list[Runtime], probe: Probe) -> Row:
    meter = Meter(setting.dsn, [runtime.pid for runtime in runtimes])
    tree.release()
    wait_for(lambda: not probe.is_empty(), "the first body", every=0.002)
    first = meter.now()
    if setting.quick:
        wait_for(lambda: tree.left() == 0, "the end of all executions")
    else:
        probe.wait_until(first + SECONDS)
    completed, used, now = tree.count(COMPLETED), meter.read(), meter.now()
    return {
        "completed": completed,
        "rate": round(completed / (now - first)),
        **used.per(completed),
    }


def _shares(tree: Tree, runtimes: list[Runtime], probe: Probe) -> Row:
    """Return which part of its fair share each node ran, the least first."""
    node_of = {
        int(process["pid"]): number
        for number, runtime in enumerate(runtimes)
        for process in flatten(runtime.tree()["tree"])
        if process["role"] == "worker" and process["pid"] is not None
    }
    times = probe.times()[::PER_PLACE]
    ran = [slot for slot, number in enumerate(times) if number]
    if max(times) > 1 or len(ran) != tree.count(COMPLETED):
        raise WrongResultError(f"{len(ran)} bodies ran, one of them {max(times)} times")
    by_node = Counter(node_of[int(probe.at(PER_PLACE * slot + PLACE))] for slot in ran)
    fair = len(ran) / len(runtimes)
    shares = sorted(by_node[number] / fair for number in range(len(runtimes)))
    return {"shares": [round(share, 3) for share in shares], "least_share": round(shares[0], 3)}


def tables(rows: Rows) -> list[Table]:
    """Tell every number of nodes."""
    head = (
        "nodes",
        "workers",
        "executions/s",
        "shares of the fair share",
        "client ms",
        "server ms",
    )
    return [Table(head, [_line(rows, nodes) for (nodes,) in summary.distinct(rows, "nodes")])]


def _line(rows: Rows, nodes: int) -> list[str]:
    found = summary.where(rows, nodes=nodes)
    shares = [share for row in found for share in row["shares"]]
    return [
        str(nodes),
        str(nodes * WORKERS),
        summary.told(found, "rate"),
        f"{min(shares):.2f} - {max(shares):.2f}",
        summary.middle(found, "client_ms"),
        summary.middle(found, "server_ms"),
    ]


def picture(rows: Rows, figure: Any) -> None:
    """Draw the rate for each number of nodes."""
    entries = [
        (f"{nodes} nodes", summary.values(summary.where(rows, nodes=nodes), "rate"))
        for (nodes,) in summary.distinct(rows, "nodes")
    ]
    figures.bars(figure, [("executions/s", entries)])


QUESTION = Question(
    name="nodes",
    title="Do several nodes share the work of one database?",
    about="Trees of 2 workers each, on this one machine and one schema, run no-op executions of "
    "one queue that is filled while it is paused. Every body must have run exactly once, and says "
    "in which process. All nodes and PostgreSQL share the machine's cores, so the rate ends where "
    "they do; the CPU of an execution is what more nodes must not raise.",
    run=run,
    tables=tables,
    picture=picture,
)
