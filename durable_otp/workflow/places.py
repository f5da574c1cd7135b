"""Finding one's way in a definition: what comes after a node, and where a jump leads. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from durable_otp.errors import DefinitionError
from durable_otp.workflow.nodes import Branch, Node, Parallel


@dataclass(frozen=True)
class Place:
    """A node, the path behind it, its siblings, and the block that it lies in."""

    node: Node
    following: str | None
    siblings: tuple[Node, ...]
    block: str | None


def places(nodes: Sequence[Node]) -> dict[str, Place]:
    """Return every node of a definition by its path, those inside blocks too.

    Raises:
        DefinitionError: Two nodes have the same path, which a case with a slash can bring about.
    """
    found: dict[str, Place] = {}
    _survey(tuple(nodes), None, None, found)
    return found


def destination(found: dict[str, Place], source: str, target: str) -> str | None:
    """Return the path that a jump from one node leads to; None if it leads nowhere.

    A target is a node of the same sequence or of one around it, by name or by path: a jump may
    leave a branch and never enters a block; a child of a parallel block is a world of its own.
    """
    place: Place | None = found[source]
    while place is not None:
        for sibling in place.siblings:
            if target in (sibling.name, sibling.path):
                return sibling.path
        place = None if place.block is None else found[place.block]
    return None


def _survey(
    nodes: tuple[Node, ...], after: str | None, block: str | None, found: dict[str, Place]
) -> None:
    for index, node in enumerate(nodes):
        following = nodes[index + 1].path if index + 1 < len(nodes) else after
        if node.path in found:
            raise DefinitionError(
                f"Two nodes have the path {node.path!r}; give one of them another name, or the "
                "case that it lies in another first value."
            )
        found[node.path] = Place(node, following, nodes, block)
        if isinstance(node, Branch):
            for clause in node.clauses:
                _survey(clause.nodes, following, node.path, found)
        elif isinstance(node, Parallel):
            for child in node.nodes:  # a child ends behind its node, and no jump leaves it
                _survey((child,), None, None, found)
