"""What the engine asks of storage about children: a Protocol beside `engine.journal.Journal`.

A child of a ``parallel`` or an ``each`` is an execution of its parent's workflow that begins at one
node of it. The context before the block and the workflow's input are stored once, in the opened
block; the child's row has its index and its item.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from durable_otp.workflow.child_call import ChildCall
from durable_otp.workflow.nodes import OnError


@dataclass(frozen=True)
class Sibling:
    """Where a child of a block begins, and with what."""

    start_path: str
    """The node that it runs, blocks and all; it ends behind it."""
    index: int
    item: Any
    input: Any
    context: dict[str, Any]
    is_item: bool = False
    """Whether it runs the function of an each for ``item``, not the node itself."""
    results: Mapping[str, Any] | None = None
    """Those of the block before this one, in their JSON form."""


@dataclass(frozen=True)
class Origin:
    """What a claim does not say of an execution that is not plain."""

    is_compensating: bool
    sibling: Sibling | None
    """None: it begins at its workflow's first node."""


PLAIN = Origin(is_compensating=False, sibling=None)


@dataclass(frozen=True)
class Opening:
    """A block to be opened: what its children have in common, and what each begins with.

    Attributes:
        starts: The (path, queue) at which each child begins; a single one is that of all.
        items: What each child is given; None: nothing.
        total: How many children there will be.
        input: The workflow's input, in its JSON form.
        context: The context before the block.
        results: Those of the block before this one, in their JSON form.
    """

    path: str
    visit: int
    kind: str
    on_error: OnError
    max_concurrency: int | None
    starts: Sequence[tuple[str, str]]
    items: Sequence[Any] | None
    total: int
    input: Any
    context: Mapping[str, Any]
    results: Mapping[str, Any] | None


@dataclass(frozen=True)
class BlockState:
    """How far an opened block has come.

    Attributes:
        opened: For how many children there is a row of either kind.
        is_live: Whether any child has not ended.
    """

    opened: int
    total: int
    is_live: bool
    on_error: OnError


@dataclass(frozen=True)
class ChildResult:
    """A child of a block that has ended."""

    id: str
    index: int
    start_path: str
    status: str
    result: Any
    error: dict[str, Any] | None
    ended_at: datetime


class FamilyJournal(Protocol):
    """What the engine needs to know of parents and children."""

    def origin(self) -> Origin:
        """Return what kind of execution this is; asked only for one that is not plain."""

    def latest_results(self) -> Mapping[str, Any] | None:
        """Return the results of the block that this execution completed last, in JSON form."""

    def block(self, path: str, visit: int) -> BlockState | None:
        """Return how far a block has come; None: it was not opened."""

    def open(self, opening: Opening) -> None:
        """Create a block's children, in batches, and give the claim back with the last of them.

        A block that was opened in part, by a worker that died, is opened from there.
        """

    def children(self, path: str, visit: int) -> Sequence[ChildResult]:
        """Return a block's children in their order; all of them have ended."""

    def start(self, child: ChildCall, key: str) -> str:
        """Start an execution that nobody waits for, unless the key has one; return its id."""
