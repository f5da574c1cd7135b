"""`processes` and `tree --watch`: what runs where, and orders to it."""

import re

import pytest

from durable_otp import Durable, Process
from tests.support.cli import Project, terminal
from tests.support.waiting import wait_until

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
CTRL_C = 130


@pytest.fixture
def project(tmp_path, dsn, schema):
    return Project(tmp_path, dsn, schema)


@pytest.fixture
def client(project, dsn, schema):
    with Durable(dsn, schema=schema) as client:
        client.migrate()
        yield client


def named(client, name):
    """Return a process as its node publishes it."""
    found = [each for node in client.nodes() for each in node.processes if each.name == name]
    return found[0] if found else None


@pytest.fixture
def node(project, client):
    with project.started() as node:
        wait_until(lambda: (last := named(client, "pruner")) and last.pid, what="all of them")
        yield node


def test_processes_are_listed(project, client, node):
    found = {each["name"]: each for each in project.json("processes")}
    root = found["root"]
    assert {"root", "registrar", "queue default", "default/1", "default/3"} <= set(found)
    assert set(root) == set(Process.__dataclass_fields__)
    assert root["pid"] == node.process.pid
    assert root["cpu_percent"] >= 0
    assert root["rss_bytes"] > 1 << 20
    listed = project.run("processes", "--node", root["node"][:20])
    row = rf"^default/1 +{root['node']} +\d+ +up +0 +0:\d\d:\d\d +\d+% +\d+MB"
    assert re.search(row, listed, re.MULTILINE)


def test_processes_are_ordered(project, client, node):
    said = project.run("processes", "restart", "sleep_waker")
    assert re.fullmatch(r"'sleep_waker' runs as process \d+ instead of \d+\.\n", said)
    worker = named(client, "default/1")
    said = project.run("processes", "kill", worker.pid, "--node", worker.node[:20])
    assert said == f"'default/1' (process {worker.pid}) has ended: killed.\n"
    assert "in receive" in project.run("processes", "stacks", "worker default/2")
    assert "until it is restarted" in project.run("processes", "stop", "pruner")
    wait_until(lambda: named(client, "pruner").status == "down", what="it to be down")
    assert "Nobody is above the root" in project.refused("processes", "kill", "root", code=1)
    assert project.run("processes", "stop", "root") == "The node has stopped.\n"
    assert node.stopped() == 0
    assert client.nodes() == []


def test_the_tree_is_watched(project, client, node):
    watch = ("tree", "--watch", "-c", project.config)
    with terminal(*watch, directory=project.directory, size=(30, 150)) as screen:

        def shows(row):
            wait_until(lambda: re.search(row, SEQUENCE.sub("", screen.shown)), what=row)

        shows(r"registrar +\d+ +up +0 +0:\d\d:\d\d +\d+% +\d+MB")
        gate = project.directory / "gate.open"
        client.start("gate", {"file": str(gate)})
        shows("gate:hold")
        gate.touch()
        client.kill_process("wait_timeouts")
        shows(r"wait_timeouts +\d+ +up +1 ")
        screen.press_ctrl_c()
        assert screen.ended() == CTRL_C


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("processes", "kill", "scheduler"), 3, "No process of 0 live nodes is called 'scheduler'"),
        (("processes", "stop", "root", "--node", "ffff"), 3, "No live node's id begins"),
        (("processes", "--node", "ffff"), 3, "No live node's id begins"),
        (("processes", "stacks", "root", "--timeout", "x"), 2, "--timeout must be a duration"),
    ],
)
def test_wrong_orders_to_processes_are_refused(project, client, words, code, expected):
    assert expected in project.refused(*words, code=code)
