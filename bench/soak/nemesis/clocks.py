"""Faults of a node's clock: PostgreSQL's stays what it is."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.soak.nemesis.field import Blow, Field, Kind

JUMPS = [-5400.0, -60.0, 60.0, 5400.0]


@contextmanager
def _moved(field: Field, blow: Blow) -> Iterator[str]:
    movable = [node for node in field.nodes if node.can_move_clock]
    node, seconds = blow.pick(movable), blow.pick(JUMPS, 1)
    if node is None or seconds is None:
        yield ""
        return
    node.move_clock(seconds)
    try:
        yield f"{node.name} by {seconds:+.0f} s"
    finally:
        node.move_clock(0)


def _fixed(field: Field) -> str | None:
    movable = any(node.can_move_clock for node in field.nodes)
    return None if movable else "libfaketime is not installed (apt-get install faketime)"


KINDS = [Kind("clock of a node: jump", _moved, 1.5, 8, _fixed)]
