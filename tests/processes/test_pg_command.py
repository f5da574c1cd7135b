"""`durable-otp pg` as an operator types it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_otp.storage import embedded
from tests.support.command_line import command
from tests.support.postgres_users import ask, importable, users_of, wait_until_stopped

PG = "from durable_otp.cli.pg import app; app(prog_name='durable-otp pg')"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DURABLE_OTP_PG_LINGER", "0.1")
    with users_of(tmp_path / "pg") as users:
        yield users.directory


def pg(*words: object, answer: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", PG, *map(str, words)],
        input=answer,
        capture_output=True,
        text=True,
        check=False,
        env=importable() | {"PGHOST": "192.0.2.1"},
    )
    assert "Traceback" not in done.stderr
    return done


def test_start_keeps_the_server_up_until_stop(place: Path):
    started = pg("start", "--dir", place)

    assert started.returncode == 0, started.stderr
    assert started.stdout.startswith("private PostgreSQL ")
    assert started.stdout.endswith(": running, kept up by `pg start`\n")
    found = json.loads(pg("status", "--dir", place, "--json").stdout)
    assert (found["running"], found["held"], found["mode"]) == (True, True, "durable")
    assert ask(pg("dsn", "--dir", place).stdout.strip(), "select 1") == "1"
    assert json.loads(pg("dsn", "--dir", place, "--json").stdout) == {"dsn": found["dsn"]}

    assert pg("stop", "--dir", place).stdout == "stopped\n"

    assert pg("stop", "--dir", place).stdout == "it was not running\n"
    assert not embedded.status(place).running


def test_psql_starts_the_server_for_as_long_as_it_runs_and_gives_its_exit_code(place: Path):
    embedded.acquire(place).release()
    wait_until_stopped(place)

    done = pg("psql", "--dir", place, "-X", "-A", "-t", "-c", "select 'hé', 6 * 7")

    assert (done.returncode, done.stdout) == (0, "hé|42\n"), done.stderr
    assert pg("psql", "--dir", place, "-X", "-c", "nonsense").returncode == 1
    wait_until_stopped(place)


def test_reset_asks_first(place: Path):
    embedded.acquire(place).release()

    refused = pg("reset", "--dir", place, answer="n\n")
    assert refused.returncode == 1
    assert embedded.status(place).exists

    assert pg("reset", "--dir", place, "--yes").stdout == "removed\n"
    assert not embedded.status(place).exists
    assert pg("reset", "--dir", place).returncode == 0


def test_failures_are_one_sentence_on_stderr_and_exit_code_1(place: Path):
    for words in (("dsn",), ("psql",)):
        done = pg(*words, "--dir", place)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert "durable-otp pg start" in done.stderr

    with embedded.acquire(place):
        done = pg("stop", "--dir", place)
        assert (done.returncode, done.stdout) == (1, "")
        assert "in use by running processes" in done.stderr
        assert pg("stop", "--dir", place, "--force").returncode == 0


def test_usage_errors_have_exit_code_2(place: Path):
    assert pg("status", "--no-such-option").returncode == 2
    assert pg("no-such-command").returncode == 2


def project(tmp_path: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run `durable-otp pg` on a project's configuration, from somewhere else."""
    return command(
        ["pg", *map(str, words), "--config", "project/config.toml"],
        tmp_path,
        importable() | {"DURABLE_DSN": "postgresql://192.0.2.1/elsewhere"},
    )


def test_a_project_s_server_is_found_by_its_configuration(tmp_path: Path):
    (tmp_path / "project").mkdir()
    config = tmp_path / "project" / "config.toml"
    config.write_text("[durable]\nworkflows = []\n")
    with users_of(tmp_path / "project" / ".durable-otp" / "pg") as users:
        started = project(tmp_path, "start")
        assert started.returncode == 0, started.stderr
        assert embedded.status(users.directory).held
        shown = project(tmp_path, "psql", "-X", "-A", "-t", "-c", "select 6 * 7")
        assert (shown.returncode, shown.stdout) == (0, "42\n"), shown.stderr
        assert "running, kept up by" in project(tmp_path, "status").stdout
        assert project(tmp_path, "dsn").stdout.startswith("host=")

        assert project(tmp_path, "stop").stdout == "stopped\n"

        assert not embedded.status(users.directory).running
        assert project(tmp_path, "reset", "--yes").stdout == "removed\n"
    for wrong, words, sentence in (
        ("", ("stop", "--dir", tmp_path), "leave one out"),
        ('dsn = "postgresql:///app"\n', ("stop",), "has no private PostgreSQL"),
        ("nonsense = 1\n", ("stop",), "nonsense"),
    ):
        config.write_text("[durable]\n" + wrong)
        done = project(tmp_path, *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert sentence in done.stderr


def test_without_a_directory_it_lives_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    done = pg("status")

    assert (done.returncode, done.stdout) == (0, "no private PostgreSQL at ./.durable-otp/pg\n")
    assert not (tmp_path / ".durable-otp").exists()
