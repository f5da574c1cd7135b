"""`status`, `tree`, `queues`, `migrate`: what operators look at, and what they change."""

import json

import pytest

from durable_otp import Durable, Workflow
from durable_otp.workflow.execution import QueueStats
from tests.support.cli import Project
from tests.support.waiting import wait_until

QUEUE_FIELDS = {*QueueStats.__dataclass_fields__, "paused", "concurrency", "nodes"}
MEASURED = {"cpu_percent", "rss_bytes", "last_exit", "budget", "policy"}
NODE_FIELDS = MEASURED | {"id", "role", "pid", "status", "restarts", "started_at", "children"}
FIELDS = {
    "queue_manager": {"queue", "concurrency", "busy", "paused", "workers_budget", "supervision"},
    "supervisor": {"supervision"},
    "worker": {"execution_id", "workflow", "step", "done", "failed", "died_at"},
}


@pytest.fixture
def project(tmp_path, dsn, schema):
    return Project(tmp_path, dsn, schema)


@pytest.fixture
def client(project, dsn, schema):
    with Durable(dsn, schema=schema) as client:
        client.migrate()
        yield client


def flat(node):
    yield node
    for child in node["children"]:
        yield from flat(child)


def start_gate(project, client, name="gate"):
    """Start an execution that holds a worker until its file is there; return the file."""
    file = project.directory / f"{name}.open"
    client.start("gate", {"file": str(file)})
    wait_until(lambda: file.with_suffix(".held").exists(), what="the execution")
    return file


def test_migrate_up_down_and_check(project):
    assert (
        "version 0 and not at"
        in project.ask("migrate", "--check", "-c", project.config, code=5).stderr
    )

    assert "ran 0001_foundation" in project.run("migrate")

    project.run("migrate", "--check")
    facts = project.json("migrate", "--check")
    assert (facts["schema"], facts["version"], facts["pending"]) == (
        project.schema,
        facts["newest"],
        [],
    )
    assert project.run("migrate", "--to", "0").endswith(f"version 0 of {facts['newest']}\n")
    assert "no version 99" in project.refused("migrate", "--to", "99", code=1).lower()
    assert "migrate" in project.refused("status", code=1)


def test_status_and_tree_show_the_living_node(project, client):
    assert json.loads(project.run("tree", "--json")) == []
    assert project.json("status")["nodes"] == []
    with project.started() as node:
        file = start_gate(project, client)
        (shown,) = wait_until(
            lambda: (found := project.json("tree")) and _busy(found[0]) and found, what="the tree"
        )
        assert set(shown) == {"node", "hostname", "tree"}
        processes = list(flat(shown["tree"]))
        for process in processes:
            assert set(process) == NODE_FIELDS | FIELDS.get(process["role"], set())
            assert process["status"] == "up"
        assert processes[0]["pid"] == node.process.pid
        roles = [process["role"] for process in processes]
        assert roles.count("worker") == 3
        assert {"supervisor", "queue_manager", "registrar", "sleep_waker"} <= set(roles)

        status = project.json("status")
        (queue,) = status["queues"]
        assert set(queue) == QUEUE_FIELDS
        assert (queue["running"], queue["concurrency"], queue["paused"]) == (1, 2, False)
        assert status["executions"]["running"] == 1
        assert [each["id"] for each in status["nodes"]] == [shown["node"]]
        assert "gate:hold" in project.run("tree")
        assert shown["node"] in project.run("status")

        file.touch()
        node.signal(15)
        assert node.stopped() == 0
    assert project.json("tree") == []


def _busy(node):
    return any(each.get("execution_id") for each in flat(node["tree"]))


def test_status_names_what_waits_although_no_live_node_knows_it(project, client):
    orphan = Workflow("orphan", version="9")

    @orphan.step
    def step(ctx): ...

    client.start(orphan)

    expected = "1 pending of workflow 'orphan' version '9': no node lives"
    assert expected in project.run("status")
    with project.started():
        (unknown,) = project.json("status")["unknown_workflows"]
        assert unknown == {"workflow": "orphan", "version": "9", "pending": 1}
        assert "no live node knows it" in project.run("status")


def test_queues_are_paused_resumed_scaled_and_drained_on_all_nodes(project, client):
    with project.started():
        file = start_gate(project, client)
        not_drained = project.ask(
            "queues", "drain", "default", "--timeout", "100ms", "-c", project.config, code=1
        )
        assert "the queue stays paused" in not_drained.stderr
        waiting = client.start("hello")
        file.touch()

        project.run("queues", "drain", "default")

        (queue,) = project.json("queues")
        assert (queue["paused"], queue["running"], queue["pending"]) == (True, 0, 1)
        assert waiting.status() == "pending"
        shown = project.ask("queues", "-c", project.config, "resume", "default").stdout
        assert shown == "resumed 'default' on all nodes\n"
        assert waiting.result(20)["signed"] is True

        project.run("queues", "scale", "default", "4")
        wait_until(lambda: project.json("queues")[0]["concurrency"] == 4, what="the new size")


def test_a_pause_of_one_node_ends_with_it_and_one_of_all_does_not(project, client):
    with project.started() as node:
        (found,) = wait_until(lambda: project.json("tree"), what="the node")
        shown = project.run("queues", "pause", "default", "--node", found["node"][:20])
        assert shown == f"paused 'default' on node {found['node']}\n"
        wait_until(lambda: project.json("queues")[0]["paused"], what="the pause")
        node.signal(15)
        node.stopped()
    assert project.json("queues") == []
    assert "none that runs it lives" in project.run("queues", "pause", "default")
    untouched = client.start("hello")
    with project.started():

        def nodes():
            return project.json("queues")[0]["nodes"]

        wait_until(lambda: (found := nodes()) and found[0]["paused"], what="a paused node")
        assert untouched.status() == "pending"


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("queues", "pause", "default", "--node", "ffff"), 3, "No live node"),
        (("queues", "pause", "a\tb"), 2, "printable"),
        (("queues", "scale", "default", "100000"), 2, "100001 workers and spares"),
        (("queues", "drain", "default", "--timeout", "x"), 2, "--timeout must be a duration"),
    ],
)
def test_wrong_orders_to_queues_are_refused(project, client, words, code, expected):
    assert expected in project.refused(*words, code=code)
