"""Orders to the processes of running nodes, and how a test sees what became of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from durable_otp import Process
from tests.support.postgres import fresh_schema
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, running, still_queue
from tests.support.waiting import wait_until

TWO = {"default": still_queue(2)}
NAMED = ("worker", "queue_manager")
TERM, STOP, CONT = 15, 19, 18


@contextmanager
def lasting_tree(dsn: str) -> Iterator[Tree]:
    """Run a tree for many tests: what they do to it, it survives."""
    settings = {**STILL, "supervisor": {"shutdown_timeout": 0.5}}
    with (
        fresh_schema(dsn) as schema,
        running(dsn, schema, sink(), queues=TWO, **settings) as tree,
    ):
        yield tree


def calm(tree: Tree) -> Tree:
    """Return a tree once it is idle and unordered."""
    tree.durable.scale_queue("default", 2)
    for node in tree.nodes():
        process(tree, node["id"] if node["role"] not in NAMED else "queue default")
    wait_until(lambda: len(tree.idle()) == 3, what="every worker to be idle")
    tree.sql("DELETE FROM {s}.commands")
    return tree


def process(tree: Tree, name: str, node_id: str | None = None) -> Process:
    """Return a process as its node publishes it, once it is as the tree has it."""

    def found() -> Process | None:
        pids = {each["pid"] for each in tree.nodes() if each["status"] == "up"}
        shown = [each for node in tree.durable.nodes() for each in node.processes]
        return next(
            (
                each
                for each in shown
                if each.name == name and each.pid in pids and node_id in (None, each.node)
            ),
            None,
        )

    up = wait_until(found, what=name)
    assert up is not None
    return up


def published(tree: Tree, name: str) -> Process:
    """Return a process of this tree's own node."""
    return process(tree, name, tree.runtime.node_id)


def status_of(tree: Tree, name: str) -> str:
    """Return what the node publishes of a process."""
    (node,) = tree.durable.nodes()
    return next(each.status for each in node.processes if each.name == name)
