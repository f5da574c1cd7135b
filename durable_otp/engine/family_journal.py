"""What the engine asks of storage about children: a Protocol beside `engine.journal.Journal`.

A child of a ``parallel`` or an ``each`` is an execution of its parent's workflow that begins at one
node of it. The context before the block and the workflow's input are stored once, in the opened
block; the child's row has its index and its item.
"""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Sibling:
    """Where a child of a block begins, and with what."""

    start_path: str
    """The node that it runs, blocks and all; it ends behind it."""
    index: int
    item: Any
    input: Any
    context: dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """What a claim does not say of an execution that is not plain."""

    is_compensating: bool
    sibling: Sibling | None
    """None: it begins at its workflow's first node."""


class FamilyJournal(Protocol):
    """What the engine needs to know of parents and children."""

    def origin(self) -> Origin:
        """Return what kind of execution this is; asked only for one that is not plain."""
