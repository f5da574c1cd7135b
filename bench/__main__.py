"""Ask every question of the suite, or some: ``python -m bench``."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import growing, growth_churn, growth_finished, report
from bench.question import Question, Row, Setting, WrongResultError
from bench.questions import QUESTIONS
from bench.setting import conditions, database, say

REMARK_VARIABLE = "BENCH_REMARK"
"""What has to be said of a run, such as what ran beside it."""
VARIABLES = (
    growing.SCHEMA_VARIABLE,
    growth_finished.SIZES_VARIABLE,
    growth_churn.SECONDS_VARIABLE,
)


class Progress:
    """Tell the cell that begins: on one line of a terminal, else each on its own.

    Drawn by the one who measures: a thread would be in the way of the forks and of the numbers.
    """

    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._started = time.monotonic()

    def __call__(self, cell: str) -> None:
        """Show a cell."""
        text = f"  {time.monotonic() - self._started:5.0f} s  {self._name}: {cell}"
        if not self._console.is_terminal:
            self._console.print(text, markup=False)
            return
        width = self._console.width - 1
        self._console.print(text[:width].ljust(width), end="\r", markup=False)


EPILOG = """results: bench/results/NAME.jsonl; --write tells them in bench/README.md with a picture
each (pip install -e '.[bench]'), and what BENCH_REMARK says of the run. Exit code 1: something was
lost, doubled or failed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask; return the exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through every `finally` there is
    chosen = _chosen(options)
    console = Console(stderr=True, highlight=False)
    if options.write_kept:
        return _write_kept(chosen, console)
    failed = []
    with database(options.dsn) as dsn:
        for number, question in enumerate(chosen, 1):
            console.print(f"[bold]{number}/{len(chosen)} {question.name}[/]: {question.title}")
            try:
                _ask(question, dsn, options, console)
            except WrongResultError as error:
                failed.append(question.name)
                console.print(f"[red]{question.name}: {error}[/]")
            except Exception:  # noqa: BLE001 - the other questions can still be asked
                failed.append(question.name)
                console.print_exception()
    if failed:
        console.print(f"[red]no numbers of: {', '.join(failed)}[/]")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    names = [question.name for question in QUESTIONS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, epilog=EPILOG)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--long", action="store_true", help="ask the long ones as well")
    parser.add_argument("--quick", action="store_true", help="a smoke: correctness, never a time")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--dsn", help="a superuser's; without it, a private server with fsync on")
    parser.add_argument("--peers", type=Path, help="a Python that has the other engines installed")
    parser.add_argument("--write", action="store_true", help="write bench/README.md and pictures")
    parser.add_argument("--write-kept", action="store_true", help="the same of the last results")
    return parser


def _chosen(options: argparse.Namespace) -> list[Question]:
    if options.only:
        return [question for question in QUESTIONS if question.name in options.only]
    return [question for question in QUESTIONS if options.long or not question.long]


def _ask(question: Question, dsn: str, options: argparse.Namespace, console: Console) -> None:
    before = conditions(dsn)
    started = time.monotonic()
    rows: list[Row] = []
    setting = Setting(
        dsn=dsn,
        quick=options.quick,
        repetitions=options.repetitions,
        peers=options.peers,
        progress=Progress(question.name, console),
    )
    for row in question.run(setting):
        rows.append({"question": question.name, **row})
        say(rows[-1])
    seconds = round(time.monotonic() - started)
    if options.quick:
        return
    before |= {
        "command": _command(),
        "seconds": seconds,
        "server": "private" if options.dsn is None else "given",
        "remark": os.environ.get(REMARK_VARIABLE),
    }
    report.keep(question, before, rows)
    if options.write:
        report.write(question, before, rows)
    console.print(f"{question.name}: {len(rows)} rows in {seconds} s")


def _command() -> str:
    """Return what was typed, with what was set for it."""
    given = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    return " ".join([*given, "python -m bench", *sys.argv[1:]])


def _write_kept(chosen: Sequence[Question], console: Console) -> int:
    for question in chosen:
        found = report.kept(question)
        if found is None:
            console.print(f"{question.name}: no results yet")
            continue
        report.write(question, *found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
