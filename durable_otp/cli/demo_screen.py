"""How the demo is shown: a living screen on a terminal, lines elsewhere."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from durable_otp.cli.demo_stage import Stage
from durable_otp.cli.listing import took
from durable_otp.cli.screen import table
from durable_otp.cli.target import Target
from durable_otp.cli.tree import drawn
from durable_otp.clock import Deadline
from durable_otp.storage.journal import database_now

LINE_EVERY = 2.0
ALWAYS_SHOWN = ("pending", "running", "waiting", "completed", "compensated", "failed")
COLUMNS = ("Execution", "Workflow", "Status", "Step", "Crashes", "Took")
NARROWER_WITHOUT = ("Took", "Crashes")
FEWEST_ROWS = 2
MOST_ROWS = 10
OTHER_LINES = 13  # the headings, the counts, what was said, and the blank lines between


class Screen(Protocol):
    """Where a stage is shown."""

    def tell(self, line: str) -> None:
        """Show a line that was said."""

    def show(self, stage: Stage) -> None:
        """Show the stage as it is now."""


class Lines:
    """Plain lines: what is said, and every now and then the counts."""

    def __init__(self) -> None:
        self._next = Deadline(LINE_EVERY)

    def tell(self, line: str) -> None:
        """Print a line that was said."""
        print_line(line)

    def show(self, stage: Stage) -> None:
        """Print the counts, if it is time."""
        if self._next.passed:
            self._next = Deadline(LINE_EVERY)
            stage.say(counted(stage.counts()))


class Picture:
    """The tree and the executions, drawn anew a few times a second."""

    def __init__(self, live: Live, target: Target) -> None:
        self._live = live
        self._target = target

    def tell(self, line: str) -> None:
        """Nothing: the picture shows what was said."""

    def show(self, stage: Stage) -> None:
        """Draw the stage."""
        now = self._target.run(database_now)
        tree = drawn(stage.tree(), now, width=self._live.console.width)
        room = self._live.console.height - OTHER_LINES - tree.row_count
        rows = max(FEWEST_ROWS, min(MOST_ROWS, room))
        self._live.update(
            Group(
                tree,
                Text(""),
                Text(counted(stage.counts()), style="bold", overflow="ellipsis", no_wrap=True),
                self._executions(rows),
                Text(""),
                *(_said(line) for line in stage.said),
            ),
            refresh=True,
        )

    def _executions(self, count: int) -> Table:
        rows = [
            (
                f"...{each.id[-6:]}",
                each.workflow,
                each.status,
                each.current_step,
                each.crashes or Text(""),
                took(each),
            )
            for each in self._target.client.list_executions(top_level=True, limit=count)
        ]
        width = self._live.console.width
        return table(COLUMNS, rows, expendable=NARROWER_WITHOUT, width=width)


@contextmanager
def screen(target: Target, *, is_live: bool) -> Iterator[Screen]:
    """Give the place to show it in; the picture is wiped at the end."""
    if not is_live:
        yield Lines()
        return
    console = Console(highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield Picture(live, target)


def _said(line: str) -> Text:
    style = "bold red" if "kill -9" in line else "green" if " again " in line else ""
    return Text(line, style=style, overflow="ellipsis", no_wrap=True)


def print_line(text: str) -> None:
    """Print a line at once, also into a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def counted(counts: Mapping[str, int]) -> str:
    """Return how many executions are where."""
    shown = [f"{counts.get(status, 0)} {status}" for status in ALWAYS_SHOWN]
    rest = [f"{count} {status}" for status, count in counts.items() if status not in ALWAYS_SHOWN]
    return ", ".join(shown + rest)
