"""The dashboard as a process of the tree, and on the command line."""

import signal
import socket
import subprocess
import sys

import httpx
import psutil
import pytest

from durable_otp.dashboard.passwords import fits, hashed
from durable_otp.errors import ConfigError
from durable_otp.runtime.runtime import Runtime
from durable_otp.runtime.tree import connections
from tests.support.cli import Project, clean_environment
from tests.support.tree import kill, running
from tests.support.waiting import wait_until


@pytest.fixture
def port():
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/processes", timeout=10).text
    except httpx.TransportError:
        return ""


def test_it_is_a_supervised_process_that_comes_back(dsn, schema, port):
    pages = {"enabled": True, "port": port}
    with running(dsn, schema, queues={"default": 1}, dashboard=pages) as tree:
        node = tree.child("dashboard")
        assert node["role"] == "dashboard"
        assert "dashboard" in answers(port)
        kill(node["pid"])
        tree.replaced("dashboard", node["pid"])
        wait_until(lambda: "dashboard" in answers(port), what="its pages again")
        root = psutil.Process(tree.runtime.pid)
        assert not any("starlette" in line.path for line in root.memory_maps())
    wait_until(lambda: not answers(port), what="its end")


def test_a_tree_whose_dashboard_has_no_port_does_not_start(dsn, schema, port):
    with socket.create_server(("127.0.0.1", port)):
        runtime = Runtime(
            dsn=dsn, schema=schema, queues={"default": 1}, dashboard={"enabled": True, "port": port}
        )
        with pytest.raises(Exception, match=f"cannot listen on 127.0.0.1 port {port}"):
            runtime.start()


def test_its_connections_are_counted():
    plain = Runtime(dsn="postgresql:///x", queues={"default": 1})
    shown = Runtime(dsn="postgresql:///x", queues={"default": 1}, dashboard={"enabled": True})
    difference = connections(shown._config)[0] - connections(plain._config)[0]
    assert difference == 5
    assert "5 dashboard" in connections(shown._config)[1]


def test_a_mistake_in_its_section_shows_no_password():
    with pytest.raises(ConfigError) as refused:
        Runtime(dsn="postgresql:///x", dashboard={"operators": {"ann": "hunter2"}})
    assert "hunter2" not in str(refused.value)
    assert "--hash-password" in str(refused.value)


def test_the_command_serves_until_it_is_told_to_stop(tmp_path, dsn, schema, port):
    project = Project(tmp_path, dsn, schema)
    project.run("migrate")
    words = [sys.executable, "-m", "durable_otp", "dashboard", str(project.config)]
    with subprocess.Popen(
        [*words, "--port", str(port)],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: "No node lives" in answers(port), what="the pages")
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            process.kill()
        assert process.stdout.read() == f"dashboard: http://127.0.0.1:{port}/\n"
        assert process.returncode == 130
    assert not answers(port)


def test_the_command_refuses_what_others_could_reach(tmp_path, dsn, schema):
    project = Project(tmp_path, dsn, schema)
    sentence = project.refused("dashboard", "--host", "0.0.0.0", code=2)
    assert "open to everybody" in sentence
    assert "IP address" in project.refused("dashboard", "--host", "example.com", code=2)


def test_a_hash_fits_its_password_alone():
    kept = hashed("a word")
    assert fits("a word", kept)
    assert not fits("another", kept)
    assert kept != hashed("a word")
