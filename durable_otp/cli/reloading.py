"""``durable-otp start --reload``: the same command beside this process, started anew at a change.

What runs is always what the files say. Before a new tree starts, the old one is stopped in order;
while the files cannot be run, nothing runs. For development: it costs every change a whole start.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from durable_otp.cli.sources import Sources, changed, sources
from durable_otp.cli.target import import_paths
from durable_otp.clock import monotonic
from durable_otp.otp.companion import Companion
from durable_otp.otp.program import pause

LOOK_EVERY = 0.3
"""Seconds between two looks at the files; more where a look is dear."""
REST_PER_LOOK = 20.0
SETTLED_AFTER = 0.1
"""Seconds without another change: editors and `git checkout` write more than once."""
SAID_AT_MOST = 3


def start_reloading(config: Path, options: Sequence[str]) -> int:
    """Run ``start`` until it ends in order or is to be stopped; return the exit code.

    ``options`` are those of the command that are passed on. Blocks.
    """
    argv = [sys.executable, "-P", "-m", "durable_otp", "start", str(config), *options]
    with Companion(argv, os.environ) as node:
        return _Reloading(node, config).run()


class _Reloading:
    def __init__(self, node: Companion, config: Path) -> None:
        self._node = node
        self._config = config
        self._rest = LOOK_EVERY
        self._seen = self._look()

    def run(self) -> int:
        self._node.start()
        told = False
        while True:
            match self._node.wait(self._rest):
                case "order":
                    return self._stop()
                case "ended" if self._node.code == 0:
                    return 0  # somebody else has stopped it
                case "ended" if not told:
                    told = True
                    _say("it has ended; it starts again when a file changes")
            if files := self._changed():
                _say(f"{_named(files)} changed; starting again")
                if not self._end():
                    return self._stop()
                told = False
                self._node.start()

    def _end(self) -> bool:
        """Have the node end in order; False when this process is to stop meanwhile."""
        self._node.order_to_stop()
        while self._node.code is None:
            if self._node.wait(LOOK_EVERY) == "order":
                return False
        return True

    def _stop(self) -> int:
        """Have the node end, at once when ordered again; return how it ended."""
        self._node.order_to_stop()
        while self._node.code is None:
            if self._node.wait(LOOK_EVERY) == "order":
                self._node.order_to_stop()
        return self._node.code

    def _changed(self) -> list[str]:
        """Return what has changed since the last time, once nobody is writing any more."""
        before, now = self._seen, self._look()
        while (later := self._settled(now)) is not None:
            now = later
        self._seen = now
        return changed(before, now)

    def _settled(self, now: Sources) -> Sources | None:
        if now == self._seen:
            return None
        pause(SETTLED_AFTER)
        later = self._look()
        return None if later == now else later

    def _look(self) -> Sources:
        began = monotonic()
        found = sources(import_paths(self._config), self._config)
        self._rest = max(LOOK_EVERY, REST_PER_LOOK * (monotonic() - began))
        return found


def _named(files: Sequence[str]) -> str:
    names = [os.path.relpath(file) for file in files[:SAID_AT_MOST]]
    more = len(files) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _say(text: str) -> None:
    typer.echo(f"reload: {text}", err=True)
