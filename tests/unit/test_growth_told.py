"""The growth questions take long to measure: that they can be told and drawn is tested here.

The lines are made up, of the shape that the questions yield.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import figures, growing, report
from bench.growth_finished import FILTERS
from bench.question import Question, Row
from bench.questions import QUESTIONS

CONDITIONS: Row = {
    "command": "python -m bench", "at": "2026-11-22", "cores": 2, "processor": "a processor",
    "memory_gb": 24, "server_version": "18.6", "server": "private", "fsync": "on",
    "synchronous_commit": "on", "commit_ms": 0.2, "python": "3.11.7", "psycopg": "3.3.9",
    "commit": "abc", "load": 1.0, "seconds": 300, "remark": "Other work ran beside.",
}  # fmt: skip
TIMES = {"p50_ms": 1.5, "p99_ms": 4.5, "max_ms": 9.0}
COSTS = {"server_ms": 0.4, "client_ms": 0.1}


def finished() -> Iterator[Row]:
    for size in (10_000, 1_000_000, 5_000_000):
        for repetition in range(2):
            made = {"finished": size, "repetition": repetition}
            yield {**made, "what": "claim", "claimed": 3_000, **TIMES, **COSTS}
            for name in ("next_wake", *(f"list {name}" for name in FILTERS), "count, all queues"):
                yield {**made, "what": name, **TIMES}
            yield {**made, "what": "drain", "completed": 9_000, "rate": 900, **COSTS}
        yield {"finished": size, "what": "size", "tables_mb": size // 900, "indexes_mb": 12}


def pending() -> Iterator[Row]:
    for size in (10_000, 1_000_000):
        for which in ("due", "not due yet"):
            made = {"pending": size, "which": which}
            yield {**made, "what": "claim", "claimed": 3_000, **TIMES, **COSTS}
            yield {**made, "what": "next_due", **TIMES}
            yield {**made, "what": "list running", **TIMES}
        yield {"pending": size, "which": "due", "what": "drain", "rate": 900, **COSTS}


def queues() -> Iterator[Row]:
    for count in (1, 10, 100):
        yield {"queues": count, "what": "claim", "claimed": 4_000, **TIMES, **COSTS}
        yield {"queues": count, "served": min(count, 10), "what": "drain", "rate": 900, **COSTS}


def sleepers() -> Iterator[Row]:
    for rate in (100, 1_000):
        for repetition in range(2):
            made = {"per_second": rate, "repetition": repetition}
            yield {**made, "woken": 20 * rate, "dead": 40, **TIMES, **COSTS}


def steps() -> Iterator[Row]:
    for which in growing.LONG:
        for repetition in (1, 2):
            for upto in range(25, 201, 25):
                step = {"what": "step", "upto": upto, "ms": 1.2}
                yield {"which": which, "repetition": repetition, **step}
        yield {"which": which, "what": "read", **TIMES}


def churn() -> Iterator[Row]:
    for at in (0, 30, 60, 90):
        sample = {"dead": at * 10, "tables_mb": 12.5, "indexes_mb": 20.5, "vacuums": at // 30}
        rate = None if at == 0 else 700
        yield {"what": "sample", "at": at, "rate": rate, **sample, **TIMES}
    for name in ("pkey", "claim"):
        yield {"what": "index", "name": name, "before": 8192, "after": 90_112}


LINES = {
    "growth_finished": finished,
    "growth_pending": pending,
    "growth_queues": queues,
    "growth_sleepers": sleepers,
    "growth_steps": steps,
    "growth_churn": churn,
}
GROWTH = [question for question in QUESTIONS if question.name.startswith("growth")]
every_question = pytest.mark.parametrize("question", GROWTH, ids=lambda each: each.name)


def lines(question: Question) -> list[Row]:
    return [{"question": question.name, **row} for row in LINES[question.name]()]


class Axes:
    """Axes that take note of what is drawn, where matplotlib is not installed."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, Sequence[float], Sequence[float]]] = []
        self.labels: list[str] = []

    def plot(self, x: Sequence[float], y: Sequence[float], *, label: str, **_: Any) -> None:
        self.drawn.append((label, x, y))

    def set(self, *, xlabel: str, ylabel: str) -> None:
        self.labels += [xlabel, ylabel]

    def set_xlabel(self, text: str) -> None:
        self.labels.append(text)

    def set_ylabel(self, text: str) -> None:
        self.labels.append(text)

    def set_xticks(self, places: Sequence[int], names: Sequence[str]) -> None:
        assert len(list(places)) == len(names)

    def fill_between(
        self, x: Sequence[float], low: Sequence[float], high: Sequence[float], **_: Any
    ) -> None:
        assert len(x) == len(low) == len(high)

    def set_ylim(self, *, bottom: float) -> None:
        assert bottom == 0

    def legend(self) -> None:
        assert self.drawn


class Sheet:
    """A figure of such axes."""

    def __init__(self) -> None:
        self.axes: list[Axes] = []

    def subplots(self, rows: int, columns: int, *, squeeze: bool = True) -> Any:
        assert rows == 1
        self.axes = [Axes() for _ in range(columns)]
        return self.axes if squeeze else [self.axes]


def test_every_growth_question_has_lines_here() -> None:
    assert {question.name for question in GROWTH} == set(LINES)


@every_question
def test_its_tables_have_no_empty_cell_and_say_what_was_measured(question: Question) -> None:
    told = report.section(question, CONDITIONS, lines(question), ["light.svg", "dark.svg"])
    assert question.title in told
    assert "300 s in all. Other work ran beside." in " ".join(told.split())
    for table in question.tables(lines(question)):
        assert table.rows
        assert all(len(cells) == len(table.head) for cells in table.rows)
        assert all(cell for cells in table.rows for cell in cells)


@every_question
def test_its_picture_draws_a_line_of_numbers_for_each_series(question: Question) -> None:
    sheet = Sheet()
    assert question.picture is not None
    question.picture(lines(question), sheet)
    assert all(axes.drawn for axes in sheet.axes)
    assert sheet.axes[0].labels
    for axes in sheet.axes:
        names = [name for name, _, _ in axes.drawn]
        assert len(names) == len(set(names))
        for _, x, y in axes.drawn:
            assert len(x) == len(y) > 1
            assert all(isinstance(number, int | float) for number in (*x, *y))


@every_question
def test_its_pictures_are_files_for_both_pages(question: Question, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the bench extra is not installed")
    names = figures.save(question, lines(question), tmp_path)
    assert names == [f"{question.name}-light.svg", f"{question.name}-dark.svg"]
    for name in names:
        root = ET.parse(tmp_path / name).getroot()
        assert root.tag.endswith("svg")
        assert len(list(root.iter())) > 50
