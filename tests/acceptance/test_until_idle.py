"""A node that runs until nothing is left to do: on the command line and in a program."""

import runpy
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from durable_otp import ConfigError, Context, Durable, Retry, Runtime, Workflow, call_workflow
from durable_otp.config import from_mapping
from durable_otp.runtime.idle_watch import IDLE_WATCH
from durable_otp.runtime.tree import idle_watch_of
from tests.support.cli import Project
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, kill, running, still_queue
from tests.support.waiting import wait_until

TOMORROW = timedelta(days=1)


def test_start_until_idle_runs_what_there_is_and_exits_0(
    tmp_path: Path, dsn: str, schema: str
) -> None:
    project = Project(tmp_path, dsn, schema)
    with Durable(dsn, schema=schema) as durable:
        durable.migrate()
        shop = runpy.run_path(str(tmp_path / "shop.py"))
        due = durable.start_many(shop["hello"], [{"name": str(number)} for number in range(30)])
        bad = durable.start(shop["bad"])
        nap = durable.start(shop["nap"])
        later = durable.start(shop["hello"], scheduled_at=datetime.now(UTC) + TOMORROW)

        done = project.ask("start", project.config, "--until-idle")

        assert "node_idle" in done.stderr
        assert {handle.status() for handle in due} == {"completed"}
        assert (bad.status(), nap.status(), later.status()) == ("failed", "waiting", "pending")
        assert durable.stats("default").running == 0


def test_what_cannot_be_run_until_idle_is_said_at_once(
    tmp_path: Path, dsn: str, schema: str
) -> None:
    project = Project(tmp_path, dsn, schema)
    project.write(dsn, durable="queue_enabled = false")
    done = project.ask("start", project.config, "--until-idle", code=2)
    assert "queue_enabled" in done.stderr.splitlines()[-1]
    other = from_mapping({"dsn": dsn, "adapter": "somewhere:adapter"})
    with pytest.raises(ConfigError, match="somewhere:adapter"):
        idle_watch_of(other, dsn, "node")
    with pytest.raises(ConfigError, match="not started"):
        Runtime(dsn=dsn, schema=schema).wait_until_idle()


def test_what_a_worker_holds_keeps_the_node_busy(dsn: str, schema: str, tmp_path: Path) -> None:
    with running(dsn, schema, sink(), queues={"default": still_queue()}, **STILL) as tree:
        assert tree.runtime.wait_until_idle(timeout=60)
        held = tree.start(one=f"gate:{tmp_path / 'open'}")
        tree.pid_in(held)
        assert not tree.runtime.wait_until_idle(timeout=0.5)
        assert IDLE_WATCH not in {node["id"] for node in tree.nodes()}  # gone with the question

        answers: list[bool] = []
        asking = threading.Thread(target=lambda: answers.append(tree.runtime.wait_until_idle(60)))
        asking.start()
        watch: Any = wait_until(lambda: _watch(tree), what="the watch")
        kill(watch["pid"])  # another one asks in its place
        tree.replaced(IDLE_WATCH, watch["pid"])
        (tmp_path / "open").touch()
        asking.join()
        assert answers == [True]
        assert held.status() == "completed"


def test_retries_and_children_are_waited_for_and_sleeps_are_not(dsn: str, schema: str) -> None:
    child = sink("child")
    parent, fails = Workflow("parent"), Workflow("fails_once")

    @parent.step
    def call(_: Context) -> None:
        call_workflow("child", {"ledger": None, "actions": {}})

    @fails.step(retry=Retry(max_attempts=2, backoff="constant", base=1.5, jitter=0))
    def fail(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError("once")

    with running(dsn, schema, sink(), child, parent, fails) as tree:
        ends = [tree.durable.start("parent"), tree.durable.start("fails_once")]
        asleep = tree.start(one="nap:3600")
        assert tree.runtime.wait_until_idle(timeout=60)
        assert [handle.status() for handle in ends] == ["completed", "completed"]
        assert asleep.status() == "waiting"


def _watch(tree: Tree) -> dict[str, Any] | None:
    found = (node for node in tree.nodes() if node["id"] == IDLE_WATCH and node["pid"])
    return next(found, None)
