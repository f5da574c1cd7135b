"""Showing something anew as it changes: in place on a terminal, line by line elsewhere."""

import sys
from collections.abc import Callable
from typing import TypeVar

from rich.console import RenderableType
from rich.live import Live

from durable_otp.cli.screen import console
from durable_otp.otp.program import pause

LOOK_EVERY = 0.5

Seen = TypeVar("Seen")


def watch_page(look: Callable[[], Seen], draw: Callable[[Seen], RenderableType]) -> None:
    """Show what a look gives, and again whenever it gives something else, until Ctrl-C."""
    if not sys.stdout.isatty():
        _print_changes(look, draw)
        return
    with Live(console=console(), auto_refresh=False, transient=False) as live:
        while True:
            live.update(draw(look()), refresh=True)
            pause(LOOK_EVERY)


def _print_changes(look: Callable[[], Seen], draw: Callable[[Seen], RenderableType]) -> None:
    latest: list[Seen] = []
    while True:
        seen = look()
        if latest != [seen]:
            latest = [seen]
            console().print(draw(seen))
            sys.stdout.flush()
        pause(LOOK_EVERY)
