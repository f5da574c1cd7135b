"""What is kept of a run: JSON lines, pictures, and the question's section of the README."""

import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from bench import figures
from bench.question import Question, Row, Rows

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PICTURES = HERE / "pictures"
README = HERE / "README.md"
WIDTH = 110


def keep(question: Question, conditions: Row, rows: Rows) -> None:
    """Keep a run's rows, its conditions first; the run before is forgotten."""
    RESULTS.mkdir(exist_ok=True)
    lines = [json.dumps(line) for line in (conditions, *rows)]
    (RESULTS / f"{question.name}.jsonl").write_text("\n".join(lines) + "\n")


def kept(question: Question) -> tuple[Row, Rows] | None:
    """Return the conditions and the rows of the last run that was kept."""
    path = RESULTS / f"{question.name}.jsonl"
    if not path.exists():
        return None
    conditions, *rows = map(json.loads, path.read_text().splitlines())
    return conditions, rows


def write(question: Question, conditions: Row, rows: Rows) -> None:
    """Write the question's pictures and its section of the README.

    Raises:
        ImportError: matplotlib is not installed.
    """
    names = figures.save(question, rows, PICTURES) if question.picture else []
    README.write_text(
        with_section(README.read_text(), question.name, section(question, conditions, rows, names))
    )


def with_section(text: str, name: str, section: str) -> str:
    """Return a text with what lies between the section's markers replaced, or put at the end."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    marked = f"{begin}\n{section}\n{end}"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: marked, text)
    return f"{text.rstrip()}\n\n{marked}\n"


def section(question: Question, conditions: Row, rows: Rows, pictures: Sequence[str]) -> str:
    """Return the Markdown of a question."""
    told = [each.markdown() for each in question.tables(rows) if each.rows]
    prose = [_wrapped(question.about), _wrapped(_said(conditions))]
    parts = [f"## {question.title}", *prose, *told]
    if pictures:
        parts.insert(2, _picture(question, pictures))
    return "\n\n".join(parts)


def _picture(question: Question, names: Sequence[str]) -> str:
    light, dark = names
    return (
        f'<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="pictures/{dark}">\n'
        f'  <img alt="{question.title}" src="pictures/{light}">\n</picture>'
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _said(conditions: Row) -> str:
    remark = conditions.get("remark")
    return (
        f"`{conditions['command']}`: {conditions['at']}, {conditions['cores']} cores "
        f"({conditions['processor']}), {conditions['memory_gb']} GB, PostgreSQL "
        f"{conditions['server_version']} ({conditions['server']}; fsync {conditions['fsync']}, "
        f"synchronous_commit {conditions['synchronous_commit']}, a commit "
        f"{conditions['commit_ms']} ms), Python {conditions['python']}, psycopg "
        f"{conditions['psycopg']}, commit {conditions['commit']}; load {conditions['load']} "
        f"before, {conditions['seconds']} s in all." + (f" {remark}" if remark else "")
    )
