"""The quick start of docs/getting-started.md, typed as it stands: it shows what the page says."""

import re
import shlex
from pathlib import Path

from tests.support.cli import Project
from tests.support.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "getting-started.md").read_text(encoding="utf-8")
SLOW_BANK = "time.sleep(20)  # a slow bank"
BANK = "while not __import__('pathlib').Path('answered').exists(): time.sleep(0.02)"


def block(language: str, after: str) -> str:
    """Return the page's first block of a language after a heading."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE[PAGE.index(after) :], re.DOTALL)
    assert found is not None
    return found[1]


def commands(after: str) -> list[list[str]]:
    """Return the commands of durable-otp in the shell's block after a heading."""
    return [shlex.split(line)[1:] for line in block("sh", after).splitlines()]


def test_the_quick_start_ends_as_it_says(dsn: str, schema: str, tmp_path: Path) -> None:
    project = Project(tmp_path, dsn, schema)
    workflow = block("python", "## A workflow")
    assert SLOW_BANK in workflow
    (tmp_path / "shop.py").write_text(workflow.replace(SLOW_BANK, BANK))
    where = f'[durable]\ndsn = "{dsn}"\nschema = "{schema}"'
    project.config.write_text(block("toml", "## A workflow").replace("[durable]", where))
    (check,) = commands("beside it:\n\n```toml")
    project.ask(*check)
    (start,) = commands("## Run it")
    assert start == ["start", "config.toml"]
    run, tree = commands("another terminal")
    kill, listed = commands("## Kill it")
    (inspect,) = commands("When it has ended")

    with project.started():
        order = project.ask(*run).stdout.strip()
        wait_until(lambda: is_at_the_bank(project.ask(*tree).stdout, order), what="the charge")
        project.ask(*kill)
        assert order in project.ask(*listed).stdout
        (tmp_path / "answered").touch()
        asked = [order if word == "ID" else word for word in inspect]
        wait_until(lambda: "ship" in project.ask(*asked).stdout, what="the end")
        shown = project.ask(*asked).stdout

    for line in block("text", "shows every attempt").splitlines():
        assert line in shown.splitlines()
    assert "2 items for 14 are on their way." in shown


def is_at_the_bank(tree: str, order: str) -> bool:
    """Return whether worker 1 is shown to be charging for an order."""
    return any(
        "worker 1 " in line and "order:charge" in line and order in line
        for line in tree.splitlines()
    )
