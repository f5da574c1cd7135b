"""Showing something anew as it changes: in place on a terminal, line by line elsewhere."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from rich.console import RenderableType
from rich.live import Live

from durable_otp.cli.screen import console
from durable_otp.otp.program import pause

LOOK_EVERY = 0.5

Seen = TypeVar("Seen")


def watch_page(
    look: Callable[[], Seen],
    draw: Callable[[Seen], RenderableType],
    *,
    key: Callable[[Seen], Any] = lambda seen: seen,
    show: Callable[[Seen], None] | None = None,
) -> None:
    """Show what a look gives, and again whenever it gives something else, until Ctrl-C.

    ``key`` gives what counts as a change off a terminal; ``show`` prints in a form of its own, on a
    terminal too.
    """
    if show is None and sys.stdout.isatty():
        _redraw(look, draw)
    else:
        _print_changes(look, key, show or (lambda seen: console().print(draw(seen))))


def _redraw(look: Callable[[], Seen], draw: Callable[[Seen], RenderableType]) -> None:
    with Live(console=console(), auto_refresh=False, transient=False) as live:
        while True:
            live.update(draw(look()), refresh=True)
            pause(LOOK_EVERY)


def _print_changes(
    look: Callable[[], Seen], key: Callable[[Seen], Any], show: Callable[[Seen], None]
) -> None:
    latest: list[Any] = []
    while True:
        seen = look()
        if latest != [key(seen)]:
            latest = [key(seen)]
            show(seen)
            sys.stdout.flush()
        pause(LOOK_EVERY)
