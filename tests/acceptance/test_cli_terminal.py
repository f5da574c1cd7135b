"""The command line in terminals, pipes and hands that press Ctrl-C."""

import re
import subprocess

import pytest

from durable_otp import Durable, Workflow, __version__
from tests.support.cli import PROGRAM, Project, clean_environment, terminal
from tests.support.waiting import wait_until

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def project(tmp_path, dsn, schema):
    return Project(tmp_path, dsn, schema)


@pytest.fixture
def client(project, dsn, schema):
    with Durable(dsn, schema=schema) as client:
        client.migrate()
        yield client


def workflow():
    made = Workflow("a_workflow_with_quite_a_long_name")

    @made.step
    def step(ctx): ...

    return made


def test_tables_fit_a_narrow_terminal_and_ids_are_never_cut(project, client):
    ids = [handle.id for handle in client.start_many(workflow(), range(3))]
    with terminal(
        "list", "-c", project.config, directory=project.directory, size=(24, 60)
    ) as screen:
        assert screen.ended() == 0
    lines = SEQUENCE.sub("", screen.shown).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 60
    for each in ids:
        assert each in screen.shown


def test_colours_are_for_terminals_that_want_them(project, client, monkeypatch):
    client.start(workflow()).cancel()
    words = ("list", "-c", project.config)
    with terminal(*words, directory=project.directory) as screen:
        screen.ended()
    assert SEQUENCE.search(screen.shown)
    assert not SEQUENCE.search(project.ask(*words).stdout)
    monkeypatch.setattr(
        "tests.support.cli.clean_environment", lambda: clean_environment() | {"NO_COLOR": "1"}
    )
    with terminal(*words, directory=project.directory) as screen:
        screen.ended()
    assert "\x1b[3" not in screen.shown


@pytest.mark.parametrize("words", [("tree", "--watch"), ("run", "nobody_runs_this", "--wait")])
def test_ctrl_c_ends_a_waiting_command_with_130_and_without_a_traceback(project, client, words):
    made = _published(client)
    with terminal(*words, "-c", project.config, directory=project.directory) as screen:
        expected = "no live node" if words[0] == "tree" else r"[0-9a-f]{8}-"
        wait_until(lambda: re.search(expected, screen.shown), what=f"{made} to be shown")
        screen.press_ctrl_c()

        assert screen.ended() == 130
    assert "Traceback" not in screen.shown


def _published(client):
    made = Workflow("nobody_runs_this")

    @made.step
    def step(ctx): ...

    client.start(made)
    return made.name


def test_a_reader_that_leaves_early_is_no_error(project, client):
    client.start_many(workflow(), range(400))
    words = ["list", "--limit", "400", "--json", "-c", str(project.config)]
    done = subprocess.run(
        ["/bin/bash", "-c", 'set -o pipefail; "$@" | head -n 1', "bash", *PROGRAM, *words],
        cwd=project.directory,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("--version",), 0, f"durable-otp {__version__}"),
        (("--no-such-option",), 2, "No such option"),
        (("no-such-verb",), 2, "No such command"),
        (("list", "--limit", "many"), 2, "--limit"),
        (("list", "--limit", "0"), 2, "--limit"),
        (("inspect",), 2, "Missing argument"),
        (("list",), 2, "--config"),
        (("list", "--dsn", "not a dsn"), 2, "is not a PostgreSQL connection string"),
        (("list", "--dsn", "postgresql:///x", "--schema", "A-B"), 2, "--schema 'A-B'"),
        (("list", "--dsn", "postgresql://u:s3cret@127.0.0.1:1/x"), 1, "cannot be reached"),
    ],
)
def test_usage(tmp_path, words, code, expected):
    done = Project(tmp_path, None, "unused").ask(*words, code=code)

    assert expected in done.stdout + done.stderr
    assert "s3cret" not in done.stderr


def test_the_environment_names_the_database_where_nothing_else_does(project, client, dsn):
    environment = {"DURABLE_DSN": dsn}
    done = project.ask("list", "--schema", project.schema, environment=environment)
    assert done.stdout == "no executions\n"
