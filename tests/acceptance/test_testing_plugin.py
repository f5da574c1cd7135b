"""The pytest plugin, in a project of its own that knows it by its entry point only."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = """
import pathlib, sys
import durable_otp
from durable_otp import Workflow

greet = Workflow("greet")

@greet.step
def hello(ctx):
    return {"text": "hello " + ctx["name"]}

def note(durable):
    with pathlib.Path(__file__).with_name("notes").open("a") as notes:
        notes.write(f"{durable.schema} {durable.dsn}\\n")
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory on the path with the package's entry points, as an installation would write."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        points = tomllib.load(file)["project"]["entry-points"]
    directory = tmp_path / "site"
    info = directory / "durable_otp_as_installed-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: durable-otp-as-installed\n")
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "durable_otp").rglob("*.py")]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
        for group, named in points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return directory


@pytest.fixture
def project(tmp_path: Path, installed: Path):
    """Run pytest on the text of a test module; return its output and the notes it left."""

    def run(text: str, dsn: str | None) -> tuple[str, list[str]]:
        directory = tmp_path / "project"
        directory.mkdir()
        (directory / "test_it.py").write_text(WORKFLOWS + text)
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "DURABLE"))
        }
        environment |= {"PYTHONPATH": os.pathsep.join((str(ROOT), str(installed)))}
        environment |= {"DURABLE_DSN": dsn} if dsn else {}
        ended = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-W",
                "error",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:randomly",
                ".",
            ],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        notes = directory / "notes"
        lines = notes.read_text().splitlines() if notes.exists() else []
        return ended.stdout + ended.stderr, lines

    return run


def schemas(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")}


def test_a_test_has_a_schema_of_its_own_and_trees_that_end_with_it(project, dsn) -> None:
    output, notes = project(
        """
import psutil
pids = []

def test_two(durable, durable_runtime):
    pids.append(durable_runtime([greet], queues={"default": 1}).pid)
    pids.append(durable_runtime([greet], queues={"slow": 1}, heartbeat_interval="1s").pid)
    assert all(psutil.pid_exists(pid) for pid in pids)
    assert durable.start(greet, {"name": "you"}).result(timeout=20)["text"] == "hello you"
    note(durable)

def test_another(durable):
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert durable.list_executions() == []
    note(durable)

def test_that_fails(durable):
    durable.start(greet, {"name": "nobody"})
    note(durable)
    assert False, "on purpose"
""",
        dsn,
    )
    assert "1 failed, 2 passed" in output, output
    assert "on purpose" in output
    used = {note.split()[0] for note in notes}
    assert len(used) == 3
    assert not used & schemas(dsn)


@pytest.mark.slow
def test_without_a_dsn_there_is_a_private_server(project) -> None:
    output, notes = project(
        """
def test_it(durable):
    assert durable.start(greet, {"name": "you"}).status() == "pending"
    note(durable)
""",
        None,
    )
    assert "1 passed" in output, output
    dsn = notes[0].partition(" ")[2]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn, connect_timeout=3)


def test_pytest_starts_without_the_package_behind_the_plugin(project) -> None:
    output, _ = project(
        """
def test_it(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("durable_otp")
""",
        None,
    )
    assert "1 passed" in output, output
    code = (
        "import sys, durable_otp.testing.plugin; "
        "print([m for m in sys.modules if m.startswith(('psycopg', 'pydantic', 'multiprocess', "
        "'durable_otp.engine', 'durable_otp.runtime', 'durable_otp.storage'))])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_tree_that_cannot_run_is_refused_and_leaves_nothing(project, dsn) -> None:
    output, notes = project(
        """
import pytest

@pytest.mark.parametrize(("workflows", "settings", "named"), [
    (None, {}, "workflows"),
    (["no.such.module"], {}, "no.such.module"),
    ([greet], {"queues": {"": 1}}, "queue"),
    ([greet], {"poll": "1s"}, "poll"),
])
def test_it(durable, durable_runtime, workflows, settings, named):
    note(durable)
    with pytest.raises(durable_otp.ConfigError) as refused:
        durable_runtime(workflows, **settings)
    assert named in str(refused.value)
""",
        dsn,
    )
    assert "4 passed" in output, output
    assert len(notes) == 4
    assert not {note.split()[0] for note in notes} & schemas(dsn)


def test_what_the_page_shows_works(project, dsn) -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    output, _ = project("\n".join(blocks), dsn)
    assert f"{page.count('def test_')} passed" in output, output
