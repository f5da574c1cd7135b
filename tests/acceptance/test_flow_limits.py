"""Limits that hold for all nodes together, in real trees."""

import os
from pathlib import Path
from typing import Any

import pytest

from durable_otp import Workflow
from durable_otp.storage.migrator import Migrator
from tests.support.cli import Project
from tests.support.tree import STILL, Tree, running
from tests.support.waiting import wait_until

work = Workflow("work")


@work.step
def hold(ctx: Any) -> None:
    import time
    from pathlib import Path

    place = Path(ctx.input)
    (place / f"{ctx.execution_id}.{os.getpid()}").touch()
    while not (place / "go").exists():
        time.sleep(0.01)


quick = Workflow("quick")


@quick.step
def pass_by() -> None: ...


def in_flight(tree: Tree) -> int:
    (row,) = tree.sql("SELECT count(*) FROM {s}.workflow_executions WHERE status = 'running'")
    return int(row["count"])


def test_two_nodes_keep_to_one_number(dsn: str, schema: str, tmp_path: Path) -> None:
    queues = {"default": {"concurrency": 4, "global_concurrency": 3, "poll_interval": "100ms"}}
    with (
        running(dsn, schema, work, queues=queues) as one,
        running(dsn, schema, work, queues=queues) as two,
    ):
        handles = one.durable.start_many(work, [str(tmp_path)] * 10)
        wait_until(lambda: len(list(tmp_path.iterdir())) == 3, what="three bodies")
        assert in_flight(two) == 3
        (tmp_path / "go").touch()
        for handle in handles:
            handle.result(timeout=60)
        bodies = {path.name for path in tmp_path.iterdir()} - {"go"}
        assert len(bodies) == 10


def test_a_node_follows_its_rate_without_polling_for_it(dsn: str, schema: str) -> None:
    queues = {"default": {"concurrency": 2, "rate_limit": "5/500ms", "poll_interval": 3600}}
    with running(dsn, schema, quick, queues=queues, **STILL) as tree:
        for handle in tree.durable.start_many(quick, [None] * 12):
            handle.result(timeout=60)
        (row,) = tree.sql(
            "SELECT extract(epoch FROM max(started_at) - min(started_at)) AS seconds "
            "FROM {s}.workflow_executions"
        )
        assert row["seconds"] >= 0.6  # 5 at once, and 7 of 0.1 s each, less what has come in before


def test_an_operator_limits_a_queue_that_runs(
    dsn: str, schema: str, tmp_path: Path, project: Project
) -> None:
    queues = {"default": {"concurrency": 4, "poll_interval": "100ms"}}
    with running(dsn, schema, work, queues=queues) as tree:
        assert project.run("queues", "limit", "default", "--concurrency", 1, "--rate", "100/s") == (
            "limited 'default' on all nodes\n"
        )
        (shown,) = project.json("queues")
        assert shown["limits"] == {"concurrency": 1, "rate_count": 100, "rate_seconds": 1.0}
        tree.durable.start_many(work, [str(tmp_path)] * 3)
        wait_until(lambda: list(tmp_path.iterdir()), what="a body")
        assert in_flight(tree) == 1
        project.run("queues", "limit", "default", "--none")
        wait_until(lambda: len(list(tmp_path.iterdir())) == 3, what="three bodies")
        (tmp_path / "go").touch()


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, dsn: str, schema: str) -> Project:
    return Project(tmp_path_factory.mktemp("project"), dsn, schema)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), "--none"),
        (("--none", "--concurrency", "3"), "--none"),
        (("--rate", "fast"), "--rate"),
        (("--rate", "0/1m"), "--rate"),
        (("--rate", "5/0s"), "--rate"),
    ],
)
def test_what_is_no_limit_is_refused(
    dsn: str, schema: str, project: Project, words: tuple[str, ...], names: str
) -> None:
    Migrator(dsn, schema).migrate()
    assert names in project.refused("queues", "limit", "default", *words, code=2)
