"""What a question of the suite is, and the setting it is asked in.

A file of the suite ends with ``QUESTION = Question(...)`` and is listed in ``bench/questions.py``.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from bench import setting as server

Row: TypeAlias = dict[str, Any]
Rows: TypeAlias = Sequence[Row]


class WrongResultError(RuntimeError):
    """Something was lost, ran twice or was claimed twice: the numbers mean nothing."""


@dataclass(frozen=True)
class Table:
    """A table of the README; cells are text already."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        return f"{self.caption}\n\n{table}" if self.caption else table


@dataclass(frozen=True)
class Setting:
    """Where and how large a question is asked.

    Attributes:
        dsn: A superuser's connection string of the server; schemas are the question's own.
        quick: A smoke: the smallest sizes, correctness only.
        repetitions: How often every cell is measured, interleaved.
        peers: A Python that has other engines installed, or None.
        progress: Called with the name of each cell as it begins.
    """

    dsn: str
    quick: bool = False
    repetitions: int = 3
    peers: Path | None = None
    progress: Callable[[str], None] = server.note

    def size(self, full: int, quick: int) -> int:
        """Return a number of things for a real run or for a smoke."""
        return quick if self.quick else full

    def passes(self) -> Iterator[int]:
        """Count the repetitions; measure every cell once in each, so that noise is shared."""
        yield from range(1 if self.quick else self.repetitions)

    def schema(self) -> AbstractContextManager[str]:
        """Give the name of a schema that is dropped afterwards."""
        return server.schema(self.dsn)

    def database(self, purpose: str) -> AbstractContextManager[str]:
        """Give the DSN of a database of its own, dropped afterwards."""
        return server.own_database(self.dsn, purpose)


@dataclass(frozen=True)
class Question:
    """One question: how it is measured, told and drawn.

    Attributes:
        name: One word, for ``--only`` and for the files of its results.
        title: The question, as the README's heading.
        about: What exactly is measured, and beside what.
        run: Measure, yielding each row as soon as it is there; raise WrongResultError when the
            work itself went wrong.
        tables: Tell the rows of one whole run.
        picture: Draw them into a matplotlib Figure; None draws nothing.
        long: Left out unless named or ``--long`` is given.
    """

    name: str
    title: str
    about: str
    run: Callable[[Setting], Iterator[Row]]
    tables: Callable[[Rows], Sequence[Table]]
    picture: Callable[[Rows, Any], None] | None = None
    long: bool = False


def wait_for(
    holds: Callable[[], bool], what: str, *, timeout: float = 120, every: float = 0.01
) -> None:
    """Look until something holds.

    Raises:
        WrongResultError: It does not within the timeout, in seconds.
    """
    end = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > end:
            raise WrongResultError(f"{what}: not within {timeout:.0f} s")
        time.sleep(every)
