"""Several nodes on one database: they share the work, and one that is killed loses nothing."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from tests.support.sink import sink
from tests.support.tree import Tree, all_gone, kill, running
from tests.support.waiting import wait_until

ALL = "default"
SECONDS = "0.06"  # longer than what is handed to a worker ahead of others
WORKERS = 2


def nodes(stack: ExitStack, dsn: str, schema: str, count: int, **settings: object) -> list[Tree]:
    """Start so many nodes that claim nothing yet."""
    with ExitStack() as started:
        trees: list[Tree] = []
        for _ in range(count):
            found = running(
                dsn, schema, sink(steps=("one",)), queues={"default": WORKERS}, **settings
            )
            trees.append(started.enter_context(found))
        trees[0].durable.pause_queue(ALL)
        wait_until(lambda: all(tree.manager()["paused"] for tree in trees), what="the pause")
        stack.push(started.pop_all())
    return trees


def put(tree: Tree, count: int) -> list[str]:
    """Have so many executions due."""
    return [tree.start(one=f"pause:{SECONDS}").id for _ in range(count)]


def release_all_but(paused: Tree) -> None:
    """Let every node claim but one."""
    paused.runtime.pause(ALL)
    paused.sql("UPDATE {s}.queues SET paused = false WHERE node_id = ''")
    paused.sql("SELECT pg_notify('{s}:command', '')")


def shares(trees: Sequence[Tree]) -> dict[str, int]:
    """Return how many executions each node's workers have begun, by node id."""
    pids = {pid: tree.runtime.node_id for tree in trees for pid in tree.pids()}
    return dict(Counter(pids[line["pid"]] for line in trees[0].ledger()))


def assert_each_ended_once(tree: Tree, ids: Sequence[str]) -> None:
    rows = tree.sql(
        "SELECT e.id::text, e.status, count(s.id) AS completed FROM {s}.workflow_executions e "
        "LEFT JOIN {s}.step_executions s ON s.execution_id = e.id AND s.status = 'completed' "
        "GROUP BY e.id, e.status"
    )
    assert {row["id"] for row in rows} == set(ids)
    assert {(row["status"], row["completed"]) for row in rows} == {("completed", 1)}


def what_is_left(tree: Tree) -> list[object]:
    """Return what tells why a node is not idle: what has not ended, who holds it, the manager."""
    open_ones = tree.sql(
        "SELECT id::text, status, locked_by, locked_at, scheduled_at, interruptions, now() "
        "FROM {s}.workflow_executions WHERE completed_at IS NULL"
    )
    managers = tree.sql("SELECT * FROM {s}.queue_managers")
    return [tree.runtime.node_id, open_ones, managers, tree.manager()]


def share_fairly(dsn: str, schema: str, count: int, work: int) -> None:
    with ExitStack() as stack:
        trees = nodes(stack, dsn, schema, count)
        ids = put(trees[0], work)
        trees[0].durable.resume_queue(ALL)
        assert trees[0].runtime.wait_until_idle(timeout=100)
        found = shares(trees)
        assert_each_ended_once(trees[0], ids)
        assert sum(found.values()) == work  # nothing ran twice
        assert len(found) == count
        assert min(found.values()) * 3 >= work / count, found


def test_two_nodes_share_the_work(dsn: str, schema: str) -> None:
    share_fairly(dsn, schema, 2, 80)


@pytest.mark.slow
def test_four_nodes_share_the_work(dsn: str, schema: str) -> None:
    share_fairly(dsn, schema, 4, 400)


def test_a_node_killed_amid_its_work_loses_nothing(dsn: str, schema: str) -> None:
    with ExitStack() as stack:
        left, killed = nodes(stack, dsn, schema, 2, node_timeout="2s")
        ids = put(left, 40)
        processes = killed.pids()
        release_all_but(left)
        wait_until(lambda: shares([left, killed]).get(killed.runtime.node_id), what="its share")
        kill(killed.runtime.pid)
        wait_until(lambda: all_gone(processes), what="the end of its processes")
        left.runtime.resume(ALL)
        assert left.runtime.wait_until_idle(timeout=100), what_is_left(left)
        assert_each_ended_once(left, ids)
        runs = Counter(str(line["execution_id"]) for line in left.ledger())
        again = [each for each, times in runs.items() if times > 1]
        assert len(again) <= WORKERS, again  # those whose bodies ran when the node was killed
