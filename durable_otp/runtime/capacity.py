"""Whether the server has connections enough for what an operator asks of a queue."""

from durable_otp.config import Config, from_mapping
from durable_otp.runtime.queue_view import Database, managers_of
from durable_otp.runtime.tree import connections
from durable_otp.storage.nodes import Node
from durable_otp.storage.server_limits import connection_limit


def too_many(
    database: Database, nodes: list[Node], queue: str, node_id: str | None, concurrency: int
) -> str | None:
    """Return why a queue cannot run so many at once on a node, or on each; None when it can."""
    plans = [
        _plan(each, queue, concurrency if node_id in (None, each.id) else None) for each in nodes
    ] or [from_mapping({"queues": {queue: concurrency}})]
    sums = [connections(plan) for plan in plans]
    needed, available = sum(count for count, _ in sums), database.run(connection_limit)
    if needed <= available:
        return None
    formula = "; ".join(text for _, text in sums)
    return (
        f"The nodes would open up to {needed} connections ({formula}), but PostgreSQL has "
        f"{available} for ordinary roles; choose a smaller number or raise max_connections."
    )


def _plan(node: Node, queue: str, concurrency: int | None) -> Config:
    """Return the queues of a node as a configuration, one of them perhaps changed."""
    sizes = {name: manager.concurrency for name, manager in managers_of(node)}
    if concurrency is not None and queue in sizes:
        sizes[queue] = concurrency
    if not sizes:
        return from_mapping({"queue_enabled": False})
    return from_mapping({"queues": {name: max(1, size) for name, size in sizes.items()}})
