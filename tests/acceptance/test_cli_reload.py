"""`durable-otp start --reload`: the tree follows the files, and waits while they are wrong."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from durable_otp import Durable
from tests.support.cli import STARTED, WORKFLOWS, Node, Project
from tests.support.waiting import wait_until


@pytest.fixture
def project(tmp_path: Path, dsn: str, schema: str) -> Project:
    return Project(tmp_path, dsn, schema)


@pytest.fixture
def client(project: Project, dsn: str, schema: str) -> Iterator[Durable]:
    with Durable(dsn, schema=schema) as client:
        client.migrate()
        yield client


def starts(node: Node) -> int:
    return node.log.count(STARTED)


def roots(node: Node) -> list[psutil.Process]:
    return psutil.Process(node.process.pid).children()


def test_a_change_starts_it_again_when_running_steps_have_ended(
    project: Project, client: Durable
) -> None:
    gate = project.directory / "gate.open"
    with project.started("--reload") as node:
        held = client.start("gate", {"file": str(gate)})
        wait_until(lambda: gate.with_suffix(".held").exists(), what="the step")
        (project.directory / "shop.py").write_text(WORKFLOWS.replace("Hello", "Good morning"))
        wait_until(lambda: "reload: shop.py changed" in node.log, what="the change")
        gate.touch()
        wait_until(lambda: starts(node) == 2, timeout=60, what="the second start")
        execution = held.execution()
        assert (execution.status, execution.interruptions) == ("completed", 0)
        said: Any = client.start("hello", {"name": "you"}).result(timeout=60)
        assert said["greeting"] == "Good morning, you!"


@pytest.mark.slow
def test_a_mistake_is_told_and_waits_to_be_mended(project: Project, client: Durable) -> None:
    source = project.directory / "shop.py"
    with project.started("--reload") as node:
        source.write_text(WORKFLOWS + "\ndef broken(:\n")
        waits = "starts again when a file changes"
        wait_until(lambda: waits in node.log, timeout=60, what="the mistake")
        assert "shop" in node.log
        assert "Traceback" not in node.log
        assert roots(node) == []
        source.write_text(WORKFLOWS)
        wait_until(lambda: starts(node) == 2, timeout=60, what="the second start")
        (root,) = roots(node)
        family = [root, *root.children(recursive=True)]

        node.signal(signal.SIGTERM)

        assert node.stopped() == 0
        wait_until(lambda: not any(p.is_running() for p in family), what="the end of the tree")


@pytest.mark.slow
def test_the_tree_goes_with_who_watches_it(project: Project) -> None:
    with project.started("--reload") as node:
        (root,) = roots(node)
        family = [root, *root.children(recursive=True)]
        node.signal(signal.SIGKILL)
        wait_until(lambda: not any(p.is_running() for p in family), what="the end of the tree")


def test_it_is_not_for_a_run_that_ends_by_itself(project: Project) -> None:
    done = project.ask("start", project.config, "--reload", "--until-idle", code=2)
    assert "--until-idle" in done.stderr
