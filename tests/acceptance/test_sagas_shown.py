"""Sagas as the guide tells them and as the command line shows them."""

import re
from pathlib import Path

import pytest

from tests.support.cli import Project
from tests.support.tables import Tables
from tests.support.tree import prepare

GUIDE = Path(__file__).parents[2] / "docs" / "sagas.md"
ERROR = {"type": "ValueError", "message": "the bank is closed"}


def test_the_guides_example_does_what_the_guide_says(
    dsn: str, schema: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    workflow, client = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:2]
    (said,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    prepare(dsn, schema)
    client = client.replace("dsn=DSN,", "dsn=DSN, schema=SCHEMA,")
    client = client.replace("Durable(DSN)", "Durable(DSN, schema=SCHEMA)")
    scope = {"DSN": dsn, "SCHEMA": schema, "__name__": "guide"}
    exec(workflow, scope)
    exec(client, scope)
    assert capsys.readouterr().out == said


def test_inspect_shows_what_was_undone_and_what_was_not(
    tables: Tables, tmp_path: Path, dsn: str, schema: str
) -> None:
    results = [
        {"step": "charge", "compensation": "refund", "status": "failed", "error": ERROR},
        {"step": "book", "compensation": "release", "status": "completed", "error": None},
    ]
    row = tables.add("compensation_failed", compensation_results=results, error=ERROR)
    tables.add_step(row, 1, path="book", name="book", compensation="release")
    tables.add_step(row, 2, path="book", name="release", type="compensation",
                    is_compensation=True, compensation_for="book")  # fmt: skip
    project = Project(tmp_path, dsn, schema)
    shown = project.run("inspect", row)
    assert "not undone    charge by refund: ValueError: the bank is closed" in shown
    assert "undone        book by release" in shown
    assert "book (undone by release)" in shown
    assert project.json("inspect", row)["compensation_results"] == results
    (listed,) = project.json("list", "--status", "compensation_failed")
    assert listed["compensation_results"] == results
    assert project.json("status")["executions"]["compensation_failed"] == 1
