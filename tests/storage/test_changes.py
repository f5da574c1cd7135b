"""What the feed of changes is told of nodes: another tree, or only what its processes use."""

from durable_otp.storage.changes import ChangeFeed
from durable_otp.storage.nodes import forget_nodes, publish_node
from tests.support.waiting import wait_until

NODE = {"id": "n", "name": "n", "hostname": "h", "pid": 1, "workflows": [], "node_timeout": 15.0}


def tree(restarts=0, cpu=0.0, rss=1):
    return {"id": "root", "restarts": restarts, "cpu_percent": cpu, "rss_bytes": rss}


def test_a_beat_tells_nobody_a_measurement_those_who_watch_and_a_change_all(tables, database):
    database.run(publish_node, {**NODE, "tree": tree()}, 1)
    with ChangeFeed(tables.dsn, tables.schema) as feed:

        def heard():
            return wait_until(lambda: {change.topic for change in feed.wait(0.2)}, what="a word")

        database.run(publish_node, {**NODE, "tree": tree()}, 2)
        database.run(publish_node, {**NODE, "tree": tree(cpu=1.5e-05, rss=2)}, 3)
        assert heard() == {"usage"}
        database.run(publish_node, {**NODE, "tree": tree(cpu=None, rss=None)}, 4)
        assert heard() == {"usage"}
        database.run(publish_node, {**NODE, "tree": tree(restarts=1)}, 5)
        assert heard() == {"nodes"}
        database.run(forget_nodes, ["n"])
        assert heard() == {"nodes"}


def is_open(tables):
    """Return whether moves are told."""
    (row,) = tables.sql("SELECT to_regclass('durable.subscribed') IS NOT NULL AS open")
    return row["open"]


def test_the_last_who_listens_leaves_nothing_behind(tables):
    with ChangeFeed(tables.dsn, tables.schema):
        with ChangeFeed(tables.dsn, tables.schema):
            assert is_open(tables)
        assert is_open(tables)
    assert not is_open(tables)
