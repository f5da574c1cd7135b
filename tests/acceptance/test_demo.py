"""`durable-otp demo`: what a newcomer sees first must be true."""

import re
import tempfile
from pathlib import Path

import psutil

from tests.support.cli import Project, terminal
from tests.support.waiting import wait_until


def leftovers():
    return {*Path(tempfile.gettempdir()).glob("durable-otp-demo-*")}


def test_the_demo_kills_loses_nothing_and_cleans_up(tmp_path):
    before = leftovers()
    project = Project(tmp_path, None, "unused")

    done = project.ask("demo", "--seconds", "7", "--exit-when-done")

    lines = done.stdout.splitlines()
    assert lines[0].startswith("durable-otp demo on private PostgreSQL ")
    assert any("kill -9" in line for line in lines)
    assert any("again" in line and "ms after the death" in line for line in lines)
    summary = dict(line.split(maxsplit=1) for line in lines if re.match(r"[a-z]+  ", line))
    started, completed, compensated, failed, unfinished, lost = map(
        int, re.findall(r"\d+", summary["executions"])
    )
    assert started == completed + compensated > 16
    assert compensated >= 1
    assert (failed, unfinished, lost) == (0, 0, 0)
    assert int(summary["waits"].split()[0]) >= 5
    deaths, kills = map(int, re.findall(r"\d+", summary["deaths"])[:2])
    assert deaths >= 2
    assert kills >= 1
    assert "median" in summary["recovery"]
    assert "run twice   0 steps" in done.stdout
    assert leftovers() <= before
    assert not (tmp_path / ".durable-otp").exists()


def test_ctrl_c_ends_the_picture_tidily_and_removes_the_schema(tmp_path, dsn, schema):
    words = ("demo", "--dsn", dsn, "--schema", schema)
    with terminal(*words, directory=tmp_path, size=(24, 80)) as screen:
        wait_until(lambda: "fulfil_order" in screen.shown, what="the picture")
        screen.press_ctrl_c()
        wait_until(lambda: "Ctrl-C again" in screen.shown, what="the end to begin")
        screen.press_ctrl_c()

        assert screen.ended() in (0, 1)
    assert "executions  " in screen.shown
    assert "Traceback" not in screen.shown
    assert not [p for p in psutil.process_iter() if screen.process.pid in _parents(p)]
    project = Project(tmp_path, dsn, schema)
    assert '"version": 0' in project.run("migrate", "--check", "--json", code=5)


def _parents(process):
    try:
        return [parent.pid for parent in process.parents()]
    except psutil.NoSuchProcess:
        return []


def test_the_demo_refuses_a_schema_in_use(tmp_path, dsn, schema):
    project = Project(tmp_path, dsn, schema)
    project.run("migrate")

    said = project.ask("demo", "--dsn", dsn, "--schema", schema, "--seconds", "1", code=2)

    assert "is in use" in said.stderr
    project.run("migrate", "--check")
