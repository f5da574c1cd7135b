"""Sequences under construction: what decorators add nodes to, and which names are taken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from durable_otp.errors import DefinitionError
from durable_otp.workflow.nodes import Node

Added = TypeVar("Added", bound=Node)
LONGEST_PATH = 1_200
"""Bytes: an index of PostgreSQL holds 2,704, and one has the path of what is undone twice."""
SHOWN = 300


class Sequence:
    """The nodes of a workflow or of a clause, in order of definition.

    ``prefix`` is the path of what it lies in, with its slash; ``subject`` what a message calls it.
    ``takes_steps`` is false for a block whose steps belong into its clauses.
    """

    def __init__(self, subject: str, prefix: str = "", *, takes_steps: bool = True) -> None:
        self.subject = subject
        self.prefix = prefix
        self.takes_steps = takes_steps
        self.nodes: list[Node] = []
        self._blocks: dict[str, int] = {}

    def add(self, name: str, make: Callable[[str], Added]) -> Added:
        """Add the node that ``make`` makes for a path.

        Raises:
            DefinitionError: A node of this sequence has the name already, none belongs here, or
                its path is too long.
        """
        if not self.takes_steps:
            raise DefinitionError(
                f"{name!r} of {self.subject} must be inside a case or the default."
            )
        if any(name == other.name for other in self.nodes):
            raise DefinitionError(
                f"{name!r} of {self.subject} exists already; give one of the two another name."
            )
        if len((self.prefix + name).encode()) > LONGEST_PATH:
            raise DefinitionError(
                f"{name[:SHOWN]!r} of {self.subject[:SHOWN]}: its path has more than "
                f"{LONGEST_PATH} bytes; shorten the names and the cases that it lies in."
            )
        node = make(self.prefix + name)
        self.nodes.append(node)
        return node

    def replace(self, before: Node, after: Node) -> None:
        """Put another node in the place of one that was added."""
        self.nodes[self.nodes.index(before)] = after

    def block_name(self, kind: str) -> str:
        """Return the name of the next unnamed block: ``branch_1``, counted per kind."""
        self._blocks[kind] = self._blocks.get(kind, 0) + 1
        return f"{kind}_{self._blocks[kind]}"


class OpenSequences:
    """The sequences that ``with`` statements have opened; the innermost takes what comes next."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._open = [Sequence(subject)]

    @property
    def outermost(self) -> Sequence:
        """The workflow's own sequence."""
        return self._open[0]

    @property
    def innermost(self) -> Sequence:
        """The sequence that takes what is defined now."""
        return self._open[-1]

    def is_open(self, sequence: Sequence) -> bool:
        """Return whether a sequence still takes nodes."""
        return any(sequence is each for each in self._open)

    @contextmanager
    def inside(self, sequence: Sequence) -> Iterator[None]:
        """Let a sequence take what is defined inside."""
        self._open.append(sequence)
        try:
            yield
        finally:
            self._open.pop()
