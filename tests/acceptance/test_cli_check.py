"""`durable-otp check`: every mistake is one sentence, and each kind has its exit code."""

import json

import pytest

from tests.support.cli import Project

BAD_CONFIGURATIONS = {
    "not TOML": ("[durable", "is not valid TOML"),
    "an unknown section": ("[durabel]\nname = 'x'", "durabel is not a known key; did you mean"),
    "an unknown key": ("[durable]\nschem = 'x'", "durable.schem is not a known key; did you mean"),
    "an unknown key of a queue": ("[queues.a]\nspeed = 3", "queues.a.speed is not a known key"),
    "a wrong type": ("[durable]\nname = 3", "durable.name must be a string"),
    "text for a number": ('[queues.a]\nconcurrency = "3"', "queues.a.concurrency must be a whole"),
    "a fraction for a number": ("[queues.a]\nconcurrency = 1.5", "queues.a.concurrency must be"),
    "no workers at all": ("[queues.a]\nconcurrency = 0", "queues.a.concurrency must be at least 1"),
    "true for a number": ("[queues.a]\nconcurrency = true", "queues.a.concurrency must be a whole"),
    "a word for a duration": (
        '[durable]\nnode_timeout = "soon"',
        "durable.node_timeout must be a duration",
    ),
    "a negative duration": ("[sleep_waker]\ninterval = -1", "sleep_waker.interval must be"),
    "a bad size": ('[durable]\nmax_payload = "big"', "durable.max_payload must be a size"),
    "a bad schema": ('[durable]\nschema = "My-Schema"', "durable.schema must be"),
    "a bad queue name": ('[queues."a\\tb"]\nconcurrency = 1', "must be 1 to 100 printable"),
    "workflows that are no list": ('[durable]\nworkflows = "shop"', "durable.workflows must be"),
    "heartbeats too rare": (
        '[durable]\nstale_lock_timeout = "30s"\nheartbeat_interval = "20s"',
        "durable.heartbeat_interval is",
    ),
    "an empty DSN": ('[durable]\ndsn = ""', "durable.dsn must not be empty"),
    "a way around no pooler": ('[durable]\ndirect_dsn = "x=1"', "direct_dsn is set without dsn"),
    "a bad choice": ('[durable]\nlog_format = "xml"', "durable.log_format must be"),
    "a table that is a number": ("durable = 3", "durable must be a table"),
    "not UTF-8": (b"name = '\xff'", "is not UTF-8"),
}


@pytest.fixture
def project(tmp_path, dsn, schema):
    return Project(tmp_path, dsn, schema)


def sentence(project, *, code):
    done = project.ask("check", project.config, code=code)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("kind", BAD_CONFIGURATIONS)
def test_a_bad_configuration_is_one_sentence_naming_the_key(tmp_path, kind):
    project = Project(tmp_path, None, "unused")
    text, expected = BAD_CONFIGURATIONS[kind]
    project.config.write_bytes(text if isinstance(text, bytes) else text.encode())

    said = sentence(project, code=2)

    assert expected in said
    assert str(project.config) in said


def test_a_missing_file_is_one_sentence(tmp_path):
    project = Project(tmp_path, None, "unused")
    project.config.unlink()

    assert "no such file" in sentence(project, code=2)


def test_a_good_configuration_passes_and_shows_what_it_would_run(project):
    shown = project.ask("check", project.config).stdout

    assert "workflow 'hello' version '1': 2 steps" in shown
    assert "'default' x 2" in shown
    assert "3 workers and spares + 2 x 1 queue managers" in shown
    found = json.loads(project.ask("check", project.config, "--json").stdout)
    names = [each["name"] for each in found["workflows"]]
    assert names == ["hello", "bad", "nap", "gate"]
    assert found["connections"]["needed"] > 3


TWICE = """
from durable_otp import Workflow
a, b = Workflow("same"), Workflow("same")
@a.step
def one(ctx): ...
@b.step
def two(ctx): ...
"""
BAD_MODULES = {
    "raises": ("raise RuntimeError('broken [b]thing[/b]')", "RuntimeError: broken [b]thing[/b]"),
    "does not parse": ("def", "SyntaxError"),
    "imports what is not there": ("import nothing_like_this", "nothing_like_this"),
    "leaves": ("import sys; sys.exit('bye')", "SystemExit: bye"),
    "dies": ("import os; os._exit(9)", "exit code 9"),
    "is killed": ("import signal; signal.raise_signal(9)", "signal 9"),
    "has no workflow": ("x = 1", "has no Workflow"),
    "has an empty workflow": (
        "from durable_otp import Workflow\nempty = Workflow('empty')",
        "empty",
    ),
    "defines one twice": (
        TWICE,
        "'same' version '1' is defined twice",
    ),
}


@pytest.mark.parametrize("kind", BAD_MODULES)
def test_a_bad_workflow_module_is_one_sentence(project, kind):
    code, expected = BAD_MODULES[kind]
    (project.directory / "shop.py").write_text(code)

    assert expected in sentence(project, code=2)


def test_what_a_module_prints_does_not_disturb(project):
    module = project.directory / "shop.py"
    module.write_text("print('noise')\n" + module.read_text())

    assert json.loads(project.ask("check", project.config, "--json").stdout)["name"] == "shop"


def test_too_many_connections_are_shown_with_the_formula(project, dsn):
    project.write(dsn, sections="[queues.default]\nconcurrency = 5000")

    done = project.ask("check", project.config, code=5)

    assert "5001 workers and spares + 2 x 1 queue managers" in done.stderr
    assert "for ordinary roles" in done.stderr
    refused = project.ask("start", project.config, code=2)
    assert "5001 workers and spares" in refused.stderr


def test_a_database_that_is_away_is_a_remark_here_and_a_failure_at_the_start(project):
    project.write("postgresql://user:s3cret@127.0.0.1:1/nothing")

    shown = project.ask("check", project.config)
    refused = project.ask("start", project.config, code=1)

    assert "not compared" in shown.stdout
    assert "cannot be reached" in refused.stderr
    assert "s3cret" not in shown.stdout + shown.stderr + refused.stderr
