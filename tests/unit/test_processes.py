"""Processes by name, what they use, and what they are doing."""

import mmap
import os

import pytest

from durable_otp.client.finding import find_process
from durable_otp.errors import NotUnique, ProcessNotFound
from durable_otp.otp.stacks import since_birth
from durable_otp.runtime.usage import Measurement, Usage, measure
from durable_otp.storage.nodes import Node
from durable_otp.storage.processes import processes_of

BORN = "2026-01-02T03:04:05.678901Z"


def shown(id_, role, pid, *children, **fields):
    common = {"id": id_, "role": role, "pid": pid, "status": "up", "restarts": 0}
    return common | {"started_at": BORN if pid else None, "children": list(children)} | fields


def worker(number, pid):
    return shown(str(number), "worker", pid, execution_id=None, workflow=None, step=None)


def manager(queue, id_, pid, *workers):
    return shown(id_, "queue_manager", pid, *workers, queue=queue, concurrency=1, busy=0)


TREE = shown(
    "root",
    "supervisor",
    100,
    shown("scheduler", "scheduler", None, status="down"),
    manager("default", "queue default", 101, worker(1, 103), worker(2, 104)),
    manager("a/b", "queue a%2Fb", 105, worker(1, 106)),
    manager("7", "queue 7", 107, worker(1, 108)),
)


def node(id_, tree=TREE):
    return Node(id_, "n", "h", 100, tree, [], None, None)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("root", "root"),
        ("scheduler", "scheduler"),
        ("queue default", "queue default"),
        ("default", "queue default"),
        ("default/2", "queue default/2"),
        ("worker default/2", "queue default/2"),
        ("queue default/2", "queue default/2"),
        ("a/b", "queue a%2Fb"),
        ("a/b/1", "queue a%2Fb/1"),
        ("queue a%2Fb/1", "queue a%2Fb/1"),
        (104, "queue default/2"),
        ("104", "queue default/2"),
        ("queue 7", "queue 7"),
        ("7/1", "queue 7/1"),
    ],
)
def test_a_process_has_names_and_a_pid(name, path):
    assert find_process([node("n1")], name, None).path == path


@pytest.mark.parametrize("name", ["", "7", "nobody", "worker", "default/3", 0, "None", "²"])
def test_what_no_process_is_called_is_not_found(name):
    with pytest.raises(ProcessNotFound, match="there are: root, scheduler, queue default"):
        find_process([node("n1")], name, None)


def test_several_of_one_name_are_told_apart_by_their_node():
    live = [node("n1"), node("n2")]
    with pytest.raises(NotUnique, match=r"'default' may be any of: 'queue default' \(process 101 "):
        find_process(live, "default", None)
    assert find_process(live, "default", "n2").node == "n2"


def test_a_node_that_has_published_no_tree_has_no_processes():
    assert node("n1", None).processes == node("n1", {}).processes == []
    with pytest.raises(ProcessNotFound, match="there is none at all"):
        find_process([node("n1", None)], "root", None)


def test_a_process_says_what_the_tree_says_of_it():
    found = {each.name: each for each in processes_of("n1", TREE)}
    assert list(found)[:4] == ["root", "scheduler", "queue default", "default/1"]
    assert (found["scheduler"].pid, found["scheduler"].started_at) == (None, None)
    assert found["a/b/1"].queue == "a/b"
    assert found["root"].started_at.isoformat() == "2026-01-02T03:04:05.678901+00:00"


def test_processes_are_measured():
    mine = measure(os.getpid(), None)
    assert mine.rss_bytes > 1 << 20
    assert mine.cpu_percent >= 0
    half = Measurement(mine.at - 2.0, mine.born, mine.cpu_seconds - 1.0, 0, 0.0)
    assert 25 < measure(os.getpid(), half).cpu_percent <= 100
    other_life = Measurement(mine.at - 2.0, mine.born - 1, mine.cpu_seconds - 1.0, 0, 0.0)
    assert measure(os.getpid(), other_life).cpu_percent == pytest.approx(mine.cpu_percent, abs=10)
    assert measure(2**22 + 1, None) is None


def test_a_tree_is_measured_no_more_often_than_is_asked_for():
    usage = Usage()
    tree = {"pid": os.getpid(), "children": [{"pid": None, "children": []}]}
    usage.add_to(tree, every=3600)
    first = tree["rss_bytes"]
    assert first > 0
    assert tree["children"][0] == {
        "pid": None, "children": [], "cpu_percent": None, "rss_bytes": None
    }  # fmt: skip
    ballast = mmap.mmap(-1, 30 << 20)  # of its own, not out of what the heap has kept
    ballast.write(bytes(30 << 20))
    usage.add_to(tree, every=3600)
    assert tree["rss_bytes"] == first
    usage.add_to(tree, every=0)
    assert tree["rss_bytes"] > first + (20 << 20)
    del ballast


def test_a_dump_is_cut_where_its_process_was_born():
    text = (
        "Thread 0x1 (most recent call first):\n"
        '  File "/x/shop.py", line 3 in pay\n'
        "\n"
        "Current thread 0x2 (most recent call first):\n"
        '  File "/x/worker.py", line 3 in serve\n'
        '  File "/x/durable_otp/otp/birth.py", line 113 in _live\n'
        '  File "/x/durable_otp/otp/birth.py", line 97 in fork\n'
        '  File "<frozen runpy>", line 88 in _run_code\n'
    )
    assert since_birth(text).splitlines() == text.splitlines()[:6]
    assert since_birth("") == ""
