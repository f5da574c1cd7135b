"""What has been seen of processes: memory as a line, the dead as ghosts. Pure."""

from datetime import UTC, datetime, timedelta

import pytest

from durable_otp.dashboard.sightings import (
    HEIGHT,
    POINTS,
    WIDTH,
    Sightings,
    sparkline,
)
from durable_otp.dashboard.tree_rows import TreeRow, rows_of, with_ghosts
from durable_otp.storage.nodes import Node

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def tree(*, pid=7, rss=100):
    worker = {"id": "1", "role": "worker", "pid": pid, "status": "up", "restarts": 0}
    worker |= {"started_at": None, "rss_bytes": rss, "children": []}
    manager = {"id": "queue a", "role": "queue_manager", "queue": "a", "pid": 6, "status": "up"}
    manager |= {"restarts": 0, "started_at": None, "children": [worker]}
    root = {"id": "root", "role": "supervisor", "pid": 5, "status": "up", "restarts": 0}
    return root | {"started_at": None, "children": [manager]}


def node(seconds, **worker):
    at = NOW + timedelta(seconds=seconds)
    return Node("n", "app", "host", 5, tree(**worker), [], NOW, at)


def test_memory_is_kept_by_process_up_to_so_many_points_and_each_look_counts_once():
    seen = Sightings()
    for number in range(POINTS + 5):
        for _ in range(2):
            seen.take([node(number, rss=number)])
    assert seen.memory("n")[7] == tuple(range(5, POINTS + 5))
    seen.take([node(100, pid=8, rss=1)])
    assert seen.memory("n") == {8: (1,)}
    seen.take([])
    assert seen.memory("n") == {}


def test_a_line_ends_at_the_right_and_stays_within_its_picture():
    assert sparkline((1,)) == ""
    points = [tuple(map(float, each.split(","))) for each in sparkline((5, 1, 9)).split()]
    assert points[-1] == (WIDTH, 1.0)
    assert points[1][1] == HEIGHT - 1
    assert {each.split(",")[1] for each in sparkline((4, 4)).split()} == {f"{HEIGHT / 2:.1f}"}


@pytest.mark.parametrize(
    ("path", "below"), [("queue a/1", "queue a/1"), ("queue a/9", "queue a"), ("gone/1", "root")]
)
def test_the_dead_are_shown_where_they_were(path, below):
    ghost = {"path": path, "id": "x"}
    found = with_ghosts(rows_of(tree()), [ghost])
    at = found.index(ghost)
    before = found[at - 1]
    assert isinstance(before, TreeRow)
    assert before.path == below
    assert len(found) == 4
