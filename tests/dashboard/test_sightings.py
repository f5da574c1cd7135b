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
from durable_otp.dashboard.tree_picture import HEIGHT as HIGH
from durable_otp.dashboard.tree_picture import LINE, picture
from durable_otp.dashboard.tree_picture import WIDTH as WIDE
from durable_otp.dashboard.tree_rows import Ghost, TreeRow, rows_of, with_ghosts
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
    life = {"path": path, "id": "x", "reason": "killed"}
    found = with_ghosts(rows_of(tree()), [life], {"x": ["oh"]})
    (ghost,) = (each for each in found if isinstance(each, Ghost))
    before = found[found.index(ghost) - 1]
    assert isinstance(before, TreeRow)
    assert before.path == below
    assert (ghost.words, ghost.has_escalated) == (["oh"], False)
    assert len(found) == 4


def test_the_lines_of_the_tree_go_on_beside_the_dead():
    second = {"id": "2", "role": "worker", "pid": 8, "status": "up", "restarts": 0}
    shown = tree()
    manager = shown["children"][0]
    manager["children"].append(second | {"started_at": None, "children": []})
    shown["children"].append(manager | {"id": "queue b", "children": []})
    rows = with_ghosts(rows_of(shown), [{"path": row.path, "id": "x", "reason": ""}
                                        for row in rows_of(shown)])  # fmt: skip
    guides = {row.life["path"]: row.guides for row in rows if isinstance(row, Ghost)}
    assert guides == {
        "root": (True,),
        "queue a": (True, True),
        "queue a/1": (True, True),
        "queue a/2": (True, False),
        "queue b": (False,),
    }


def test_a_picture_has_a_box_for_each_row_and_none_overlaps():
    life = {"path": "queue a/1", "id": "x", "reason": "exit 1", "pid": 3, "role": "worker"}
    gone = {"path": "queue b/1", "id": "y", "reason": "killed", "pid": 4, "role": "worker"}
    drawn = picture(with_ghosts(rows_of(tree()), [life, gone]))
    assert [(box.path, box.is_ghost) for box in drawn.boxes] == [
        ("root", False), ("queue b/1", True), ("queue a", False), ("queue a/1", False),
        ("queue a/1", True),
    ]  # fmt: skip
    places = [(box.x, box.y) for box in drawn.boxes]
    for x, y in places:
        beside = [other for at, other in places if at == x and other != y]
        assert all(abs(y - other) >= LINE for other in beside)
        assert x + WIDE <= drawn.width
        assert y + HIGH <= drawn.height
    assert len(drawn.lines) == len(drawn.boxes) - 1
    assert picture([]).boxes == ()


def test_who_gave_up_is_shown_as_an_escalation():
    shown = tree()
    shown["children"][0]["last_exit"] = "shutdown (workers died too often)"
    rows = rows_of(shown)
    assert [row.has_escalated for row in rows] == [False, True, False]
    assert [line.has_escalated for line in picture(rows).lines] == [True, False]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, ""),
        ({"policy": {"restart": "permanent", "shutdown": 5.0}}, "permanent, 5 s to stop"),
        (
            {"policy": {"restart": "transient", "shutdown": "infinity"}}
            | {"supervision": {"strategy": "one_for_one", "on_exceeded": "backoff"}},
            "one for one; beyond the budget ever more slowly; transient, as long as it needs",
        ),
    ],
)
def test_how_a_process_is_supervised_is_said_in_words(facts, words):
    policy = rows_of(tree() | facts)[0].policy
    assert policy.removesuffix(" to stop") == words.removesuffix(" to stop")
