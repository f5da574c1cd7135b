"""README and docs against reality: what they say to type exists, and does what they say."""

import ast
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from durable_otp.cli.main import app
from durable_otp.config import from_mapping
from tests.support.cli import Project, clean_environment
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
COMMAND_LINE = ROOT / "docs" / "command-line.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VENV = ".venv/bin/"

PROGRAM = typer.main.get_command(app)


def blocks(page, language):
    text = page.read_text(encoding="utf-8")
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def commands(page):
    """Return every command of a page's shell blocks, in words."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]
    return [shlex.split(part) for line in lines for part in line.split(" && ")]


def verbs(group=PROGRAM):
    """Return every command below a group, by its words."""
    found = {}
    for name, command in group.commands.items():
        found[(name,)] = command
        if hasattr(command, "commands"):
            found |= {(name, *words): each for words, each in verbs(command).items()}
    return found


def options(command):
    return {
        name for parameter in command.params for name in parameter.opts + parameter.secondary_opts
    }


def install_commands():
    """Return README's two lines: the demo's and the tests'."""
    first, second = (block.strip() for block in blocks(README, "sh")[:2])
    return first, second


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists_with_its_options(page):
    known = verbs()
    for words in commands(page):
        if Path(words[0]).name != "durable-otp":
            continue
        verb = tuple(words[1:3]) if tuple(words[1:3]) in known else (words[1],)
        assert verb in known, words
        given = {word for word in words if word.startswith("--")}
        assert given <= options(known[verb]) | {"--help"}, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_and_toml_of_a_page_are_python_and_toml(page):
    for block in blocks(page, "python"):
        in_a_notebook = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if block.startswith("# cell ") else 0
        compile(block, page.name, "exec", flags=in_a_notebook)
    for block in blocks(page, "toml"):
        sections = tomllib.loads(block)
        from_mapping(sections.pop("durable", {}) | sections, environ={})


@pytest.mark.parametrize("verb", [" ".join(words) for words in verbs()])
def test_every_verb_is_documented(verb):
    assert f"`{verb}" in COMMAND_LINE.read_text(encoding="utf-8")
    noun = verb.split()[0]
    assert f"`durable-otp {noun}" in README.read_text(encoding="utf-8")


def test_every_verb_in_the_table_and_every_option_in_the_page_exists():
    table = re.findall(r"^\| `durable-otp (\w+)", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert table == list(PROGRAM.commands)
    known = set().union(*(options(command) for command in verbs().values())) | {"--help"}
    for page in PAGES:
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        assert set(re.findall(r"`(--[a-z][a-z-]+)", text)) <= known, page.name


@pytest.mark.parametrize("verb", [" ".join(words) for words in verbs()])
def test_help_says_what_every_verb_and_option_is_for(verb):
    command = verbs()[tuple(verb.split())]
    assert (command.help or "").strip()
    for parameter in command.params:
        assert getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_install_commands_name_extras_and_programs_that_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for line in install_commands():
        (wanted,) = re.findall(r'"\.\[([a-z,]+)\]"', line)
        assert set(wanted.split(",")) <= set(extras)
        assert line.startswith("python3 -m venv .venv && ")
    programs = {words[0] for words in commands(README) if words[0].startswith(VENV)}
    known = {*project["scripts"], "pip", "pytest"}
    assert {program.removeprefix(VENV) for program in programs} <= known
    assert any(line.startswith("pytest") for line in extras["dev"])


def test_the_gate_runs_the_readme_s_test_command():
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    _, line = install_commands()
    steps = [part for part in line.split(" && ") if part.startswith(VENV)]
    assert len(steps) == 2
    for part in steps:
        program, _, arguments = part.removeprefix(VENV).partition(" ")
        assert f'step "$bin/{program}" {arguments}\n' in gate
    for check in ('ruff" format --check', 'ruff" check', 'mypy"', 'lint-imports"'):
        assert f'step "$bin/{check}' in gate
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert os.access(ROOT / ".ci" / "full", os.X_OK)


def test_the_quick_start_runs_as_it_is_written(tmp_path, dsn, schema):
    project = Project(tmp_path, dsn, schema)
    workflow, client = blocks(README, "python")[:2]
    assert "durable.start(order" in client
    (configuration,) = blocks(README, "toml")
    where = f'[durable]\ndsn = "{dsn}"\nschema = "{schema}"'
    (tmp_path / "shop.py").write_text(workflow.replace("seconds(5)", "seconds(0.1)"))
    project.config.write_text(configuration.replace("[durable]", where))
    (run,) = (words for words in commands(README) if "run" in words[1:2])

    with project.started():
        done = project.ask(*run[1:])

    assert '"message": "Paid 7 with charge-' in done.stdout


def identities():
    """Return who can run a command here: this user, and for root an ordinary one as well."""
    return ["root", "nobody"] if os.geteuid() == 0 else ["this user"]


@pytest.fixture
def copy(tmp_path_factory, request):
    """A copy of the repository, as a clone has it, owned by whoever shall use it."""
    base = tmp_path_factory.mktemp("clone")
    ignored = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", ".durable-otp")
    place = shutil.copytree(ROOT, base / "durable-otp", ignore=ignored)
    if request.param == "nobody":
        for parent in (place, *list(place.parents)[:3]):
            parent.chmod(0o755)
        subprocess.run(["chown", "-R", "nobody", str(base)], check=True)
    return place


def shell(line, place, user, **options):
    """Start a line of README in a copy, with a home of its own."""
    environment = clean_environment() | {"HOME": str(place.parent), "CI": "true"}
    environment.pop("DURABLE_TEST_DSN", None)
    return subprocess.Popen(
        ["/bin/bash", "-c", line],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        user="nobody" if user == "nobody" else None,
        start_new_session=True,
        **options,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("copy", identities(), indirect=True)
def test_the_demo_command_works_in_a_fresh_environment(copy, request):
    user = request.node.callspec.params["copy"]
    output = copy / "output.txt"
    with output.open("w") as file:
        running = shell(install_commands()[0], copy, user, stdout=file, stderr=file)
    try:
        wait_until(
            lambda: "ms after the death" in output.read_text() or running.poll() is not None,
            timeout=600,
            what="a recovery",
        )
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(120) == 0, output.read_text()
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    assert "0 lost" in output.read_text()


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("copy", identities()[-1:], indirect=True)
def test_the_test_command_works_in_a_fresh_environment(copy, request):
    user = request.node.callspec.params["copy"]
    line = install_commands()[1]
    assert '-m "not slow"' in line  # or this test would run itself
    output = copy / "output.txt"
    with output.open("w") as file:
        running = shell(line, copy, user, stdout=file, stderr=file)
    assert running.wait(2900) == 0, output.read_text()[-5000:]


def test_this_interpreter_is_one_that_is_supported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    assert sys.version_info[:2] >= oldest
    assert f"Python {'.'.join(map(str, oldest))} or later" in README.read_text(encoding="utf-8")
