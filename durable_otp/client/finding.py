"""Which node and which process somebody means. Pure."""

from collections.abc import Sequence

from durable_otp.errors import NodeNotFound, NotUnique, ProcessNotFound
from durable_otp.storage.nodes import Node
from durable_otp.storage.processes import Process

SHOWN = 20


def find_node(live: Sequence[Node], beginning: str) -> Node:
    """Return the live node whose id begins so.

    Raises:
        NodeNotFound: There is none.
        NotUnique: There are several.
    """
    digits = str(beginning).replace("-", "").lower()
    fitting = [node for node in live if node.id.replace("-", "").startswith(digits)]
    if not fitting or not digits:
        known = ", ".join(node.id for node in live) or "none"
        raise NodeNotFound(f"No live node's id begins with {beginning!r}; there are: {known}.")
    if len(fitting) > 1:
        ids = ", ".join(node.id for node in fitting)
        raise NotUnique(f"{beginning!r} begins the ids of {len(fitting)} nodes: {ids}.")
    return fitting[0]


def on_nodes(live: Sequence[Node], node: str | None) -> list[Node]:
    """Return the nodes that are meant: all, or the one whose id begins so."""
    return list(live) if node is None else [find_node(live, node)]


def find_process(live: Sequence[Node], name: str | int, node: str | None) -> Process:
    """Return the process that is called so, or has this pid, on the nodes that are meant.

    Raises:
        NodeNotFound, NotUnique: No node is meant, or several.
        ProcessNotFound: There is none.
        NotUnique: There are several.
        TypeError: It is no name and no pid.
    """
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise TypeError(f"process must be a name, a pid or a Process, not {name!r}.")
    among = [process for each in on_nodes(live, node) for process in each.processes]
    fitting = [process for process in among if process.answers_to(str(name))]
    if not fitting:
        raise ProcessNotFound(
            f"No process of {_places(live, node)} is called {name!r}; {_known(among)}."
        )
    if len(fitting) > 1:
        found = ", ".join(str(process) for process in fitting[:SHOWN])
        raise NotUnique(f"{name!r} may be any of: {found}; name the node, or give a pid.")
    return fitting[0]


def _places(live: Sequence[Node], node: str | None) -> str:
    if node is not None:
        return f"node {find_node(live, node).id}"
    return f"{len(live)} live node{'' if len(live) == 1 else 's'}"


def _known(among: Sequence[Process]) -> str:
    names = list(dict.fromkeys(process.name for process in among))
    more = ", ..." if len(names) > SHOWN else ""
    return f"there are: {', '.join(names[:SHOWN])}{more}" if names else "there is none at all"
