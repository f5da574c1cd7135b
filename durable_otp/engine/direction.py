"""Where an execution goes on after a node. Pure."""

from durable_otp.engine.failure import DecisionError
from durable_otp.engine.outcome import Returned
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.nodes import Branch, Node


def directed(definition: Definition, node: Node, end: Returned, jumps: int) -> Returned:
    """Return the end of a node together with the path that comes next.

    ``jumps`` is how often the execution has jumped before.

    Raises:
        DecisionError: It asked for a node that it cannot go on at, or has jumped too often.
    """
    if isinstance(node, Branch):
        clause = node.choose(end.output)
        following = definition.next_path(node.path) if clause is None else clause.nodes[0].path
        return end._replace(next_path=following)
    if end.jump is None:
        return end._replace(next_path=definition.next_path(node.path))
    if definition.max_jumps is not None and jumps >= definition.max_jumps:
        raise DecisionError(
            f"{node.path!r} would jump to {end.jump!r}, and the execution has jumped "
            f"{jumps} times already; raise max_jumps if that is no endless loop."
        )
    path = definition.destination(node.path, end.jump)
    if path is None:
        raise DecisionError(
            f"{node.path!r} asked to go on at {end.jump!r}, which does not exist in its sequence "
            "or in one around it; no jump leaves a child of a parallel or an each."
        )
    return end._replace(next_path=path)
