"""`durable-otp start`: the root in the foreground, from its start to its last signal."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from durable_otp import Durable
from durable_otp.storage import embedded
from tests.support.cli import Project, terminal
from tests.support.postgres import fresh_schema
from tests.support.waiting import wait_until


@pytest.fixture
def project(tmp_path, dsn, schema):
    return Project(tmp_path, dsn, schema)


@pytest.fixture
def client(project, dsn, schema):
    with Durable(dsn, schema=schema) as client:
        client.migrate()
        yield client


def start_gate(project, client):
    """Start an execution that holds a worker until its file is there; return both."""
    file = project.directory / "gate.open"
    handle = client.start("gate", {"file": str(file)})
    wait_until(lambda: file.with_suffix(".held").exists(), what="the execution")
    return handle, file


def family(node):
    root = psutil.Process(node.process.pid)
    return [root, *root.children(recursive=True)]


def no_longer(processes):
    wait_until(lambda: not any(p.is_running() for p in processes), what="the end of the tree")


def test_sigterm_lets_running_steps_finish_and_exits_0(project, client, dsn):
    queue = "[queues.default]\nconcurrency = 2\nmax_executions_per_worker = 1"
    project.write(dsn, sections=queue)  # so that a worker is to be replaced while it stops
    with project.started() as node:
        handle, file = start_gate(project, client)
        processes = family(node)
        node.signal(signal.SIGTERM)
        wait_until(lambda: "child_stopped" in node.log, what="the stop to begin")
        file.touch()

        assert node.stopped() == 0

        no_longer(processes)
        assert "never retrieved" not in node.log
        assert node.log.count(" worker_ended ") == 3  # two, and the spare
        assert "worker_died" not in node.log
    assert handle.status() == "completed"


def test_a_second_signal_ends_it_at_once_and_exits_1(project, client):
    with project.started() as node:
        handle, _ = start_gate(project, client)
        processes = family(node)
        node.signal(signal.SIGINT)
        wait_until(lambda: "child_stopped" in node.log, what="the stop to begin")
        node.signal(signal.SIGTERM)

        assert node.stopped() == 1

        no_longer(processes)
    assert handle.status() == "running"  # to be recovered by another node


def test_the_root_has_one_thread_and_no_secret_on_its_command_line(project, dsn):
    with project.started() as node:
        for process in family(node):
            assert process.num_threads() == 1
            assert dsn not in " ".join(process.cmdline())
        assert "database: PostgreSQL as configured" in node.log
        titles = [" ".join(process.cmdline()).strip() for process in family(node)]
    assert titles[0] == "durable-otp[shop]"
    assert any(title.startswith("durable-otp[shop] worker default/") for title in titles)


def test_ctrl_c_in_a_terminal_stops_it_in_order(project, client):
    with terminal("start", project.config, directory=project.directory) as screen:
        wait_until(lambda: "node_started" in screen.shown, what="the start")
        handle, file = start_gate(project, client)
        screen.press_ctrl_c()
        wait_until(lambda: "child_stopped" in screen.shown, what="the stop to begin")
        file.touch()

        assert screen.ended() == 0
    assert handle.status() == "completed"
    assert "Traceback" not in screen.shown


def can_unshare():
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "-p", "-f", "--mount-proc", "true"], capture_output=True, check=False
    )
    return tried.returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="needs the right to make a PID namespace")
def test_as_the_first_process_of_a_container_it_runs_keeps_its_server_and_stops(tmp_path, client):
    project = Project(tmp_path, None, "durable")
    try:
        with project.started(prefix=["unshare", "-p", "-f", "--mount-proc"]) as node:
            assert project.run("run", "hello", "--wait").endswith("}\n")
            (root,) = psutil.Process(node.process.pid).children()
            assert Path(f"/proc/{root.pid}/status").read_text().split("NSpid:")[1].split()[1] == "1"
            root.send_signal(signal.SIGTERM)

            assert node.stopped() == 0

        assert not embedded.status(tmp_path / ".durable-otp" / "pg").running
    finally:
        embedded.reset(tmp_path / ".durable-otp" / "pg", force=True)


def test_without_a_dsn_it_keeps_the_private_server_up_and_says_so(tmp_path):
    project = Project(tmp_path, None, "durable")
    place = tmp_path / ".durable-otp" / "pg"
    try:
        with project.started() as node:
            assert "database: private PostgreSQL" in node.log
            assert "at ./.durable-otp/pg" in node.log
            assert project.run("run", "hello", "--wait").endswith("}\n")
            assert embedded.status(place).in_use
            for process in family(node):
                assert not inheritable(process.pid)
            node.signal(signal.SIGTERM)
            assert node.stopped() == 0
        wait_until(lambda: not embedded.status(place).in_use, what="the release")
    finally:
        embedded.reset(place, force=True)


def inheritable(pid):
    """Return the lock files that a program started by this process would keep open."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        flags = int(Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text().split()[3], 8)
        if str(descriptor.readlink()).endswith(".lock") and not flags & os.O_CLOEXEC:
            found.append(descriptor)
    return found


def test_modules_are_found_beside_the_configuration_and_here(project, dsn, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "beside.py").write_text(
        "from durable_otp import Workflow\nw = Workflow('beside')\n@w.step\ndef a(ctx): ...\n"
    )
    with fresh_schema(dsn) as schema:
        other = Project(elsewhere, dsn, schema)
        other.config.write_text(other.config.read_text().replace('["shop"]', '["beside", "shop"]'))
        (elsewhere / "shop.py").unlink()
        with project.started(config=other.config):
            known = wait_until(
                lambda: other.json("status")["nodes"][0]["workflows"], what="the workflows"
            )
    assert [name for name, _ in known] == ["beside", "hello", "bad", "nap", "gate"]


def test_a_node_without_queues_runs_and_claims_nothing(project, client, dsn):
    project.write(dsn, durable="queue_enabled = false")
    with project.started() as node:
        (found,) = wait_until(lambda: project.json("tree"), what="the node")
        assert [each["role"] for each in found["tree"]["children"]] == ["registrar"]
        node.signal(signal.SIGTERM)
        assert node.stopped() == 0


def test_what_cannot_start_is_one_sentence(project, dsn):
    (project.directory / "shop.py").write_text("import nothing_like_this")
    done = project.ask("start", project.config, code=2)
    assert done.stderr.count("\n") == 1
    assert "nothing_like_this" in done.stderr

    project.config.write_text("[durable]\nnope = 1")
    assert "durable.nope" in project.ask("start", project.config, code=2).stderr
