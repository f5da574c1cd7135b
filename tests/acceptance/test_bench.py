"""The bench suite still runs, checks what it measured, and can tell it."""

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from bench import report
from bench.crew import together
from bench.peers.running import VARIANTS
from bench.probe import Probe
from bench.question import WrongResultError
from bench.questions import QUESTIONS
from bench.setting import schema
from bench.tree import check

ROOT = Path(__file__).parents[2]
ENQUEUE = next(question for question in QUESTIONS if question.name == "enqueue")


def run_bench(*arguments):
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_smoke_of_a_question_prints_every_cell_and_can_be_told(dsn):
    before = {path: path.stat().st_mtime for path in (ROOT / "bench").rglob("*.jsonl")}
    done = run_bench("--quick", "--only", "enqueue", "steps", "--dsn", dsn)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(row["which"], row["way"]) for row in rows if row["question"] == "enqueue"} == {
        ("raw INSERT", "one"),
        ("raw INSERT, NOTIFY", "one"),
        ("raw INSERT", "bulk"),
        ("raw COPY", "bulk"),
        ("ours", "one"),
        ("ours", "bulk"),
    }
    assert [row["which"] for row in rows if row["question"] == "steps"] == ["raw", "ours"]
    (table,) = ENQUEUE.tables([row for row in rows if row["question"] == "enqueue"])
    assert table.markdown().count("\n") == 1 + len(table.rows)
    assert all(len(cells) == len(table.head) for cells in table.rows)
    assert before == {path: path.stat().st_mtime for path in (ROOT / "bench").rglob("*.jsonl")}


def test_a_question_that_is_not_there_is_named():
    done = run_bench("--quick", "--only", "nothing")
    assert done.returncode == 2
    assert "'nothing'" in done.stderr


def test_a_body_that_ran_twice_or_never_is_no_result():
    with Probe(3) as probe:
        for slot in range(3):
            probe.mark(slot)
        check(probe)
        probe.mark(1)
        with pytest.raises(WrongResultError, match="1 of them more than once"):
            check(probe)
    with Probe(2) as probe:
        probe.mark(0)
        check(probe, marked=1)
        with pytest.raises(WrongResultError, match="1 of 2 bodies ran"):
            check(probe)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_member_that_fails_fails_the_measurement(dsn, when):
    def work(index, begin):
        if index and when == "before":
            raise ValueError("as told")
        begin()
        if index:
            raise ValueError("as told")

    with pytest.raises(RuntimeError, match="ValueError: as told"):
        together(dsn, 2, work)


def test_a_schema_goes_when_its_question_fails(dsn):
    def leave_a_schema():
        with schema(dsn) as name, psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f'CREATE SCHEMA "{name}"')
            made.append(name)
            raise WrongResultError("as told")

    made = []
    with pytest.raises(WrongResultError):
        leave_a_schema()
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT FROM pg_namespace WHERE nspname = ANY (%s)", [made])
        assert len(made) == 1
        assert found.fetchall() == []


def test_a_section_of_the_readme_replaces_its_predecessor_and_nothing_else():
    text = "head\n\n<!-- bench:a -->\nold\n<!-- /bench:a -->\n\ntail\n"
    assert report.with_section(text, "a", r"new \1") == text.replace("old", r"new \1")
    longer = report.with_section(text, "b", "first")
    assert longer.startswith(text)
    assert longer.endswith("<!-- bench:b -->\nfirst\n<!-- /bench:b -->\n")


def test_the_readme_has_a_place_for_every_question():
    readme = (ROOT / "bench" / "README.md").read_text()
    named = [question.name for question in QUESTIONS]
    assert len(set(named)) == len(named)
    assert [name for name in named if f"<!-- bench:{name} -->" not in readme] == []


def test_what_is_kept_of_a_run_can_be_told_again():
    kept = {question: report.kept(question) for question in QUESTIONS}
    for question, found in kept.items():
        if found is not None:
            conditions, rows = found
            told = report.section(question, conditions, rows, [])
            assert question.title in told
            assert all(row["question"] == question.name for row in rows)
            tables = [table for table in question.tables(rows) if table.rows]
            assert tables
            assert all(table.markdown() in told for table in tables)


def test_every_peer_is_asked_what_there_is():
    assert set(VARIANTS) <= {question.name for question in QUESTIONS}
    modules = {path.stem for path in (ROOT / "bench" / "peers").glob("*.py")}
    assert {variant.peer for each in VARIANTS.values() for variant in each} <= modules
