"""What a service manager, Prometheus and a prober of containers see of a node."""

import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Project
from tests.support.tree import kill
from tests.support.waiting import wait_until


@pytest.fixture
def project(tmp_path: Path, dsn: str, schema: str) -> Project:
    return Project(tmp_path, dsn, schema)


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        yield listener


def words(listener: socket.socket) -> str:
    return listener.recv(4096).decode()


def test_a_service_manager_is_told_of_a_life(
    project: Project, tmp_path: Path, notified: socket.socket
) -> None:
    told = ["env", f"NOTIFY_SOCKET={tmp_path / 'notify'}", "WATCHDOG_USEC=300000"]
    with project.started(prefix=told) as node:
        assert words(notified) == f"READY=1\nMAINPID={node.process.pid}"
        assert [words(notified) for _ in range(3)] == ["WATCHDOG=1"] * 3
        os.kill(node.process.pid, signal.SIGTERM)
        while (said := words(notified)) == "WATCHDOG=1":
            pass
        assert said == "STOPPING=1"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_node_serves_its_metrics_and_its_health(project: Project, dsn: str) -> None:
    port = free_port()
    project.write(
        dsn, sections=f"[queues.default]\nconcurrency = 1\n[metrics]\nenabled = true\nport = {port}"
    )
    with project.started():
        project.run("run", "hello", "--wait")
        wait_until(lambda: get(port, "/readyz") == (200, "ready\n"), what="the node to be ready")
        assert get(port, "/healthz") == (200, "ok\n")
        status, text = get(port, "/metrics?x=1")
        assert status == 200
        assert 'durable_otp_executions{queue="default",status="completed"} 1' in text
        assert get(port, "/else")[0] == 404
        (root,) = project.json("tree")
        served = next(each for each in root["tree"]["children"] if each["role"] == "metrics")
        kill(served["pid"])

        def answers_again() -> bool:
            try:
                return get(port, "/healthz")[0] == 200
            except OSError:
                return False

        wait_until(answers_again, what="the metrics to be served again")


def test_a_port_that_is_taken_is_one_sentence(project: Project, dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        project.write(dsn, sections=f"[metrics]\nenabled = true\nport = {port}")
        done = project.ask("start", project.config, code=2)
        assert f"127.0.0.1:{port}" in done.stderr
