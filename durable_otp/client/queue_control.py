"""What operators set for queues: pause, how many run at once, drain.

What is set is kept in the database and followed by every manager of the queue, also by one that
starts later. Whoever sets it waits until the trees that the nodes publish show it.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol

from durable_otp.client.finding import find_node, on_nodes
from durable_otp.client.waiting_for import holds_within
from durable_otp.clock import Deadline
from durable_otp.durations import in_seconds
from durable_otp.errors import CommandFailed, CommandTimeout, ConfigError
from durable_otp.storage import nodes
from durable_otp.storage.commands import Status
from durable_otp.storage.nodes import ALL_NODES, Node
from durable_otp.storage.pool import PooledDatabase
from durable_otp.storage.queue import check_queue, get_stats
from durable_otp.storage.server_limits import connection_limit, needed_connections

IN_EFFECT_SECONDS = 10.0
DRAIN_SECONDS = 30.0


class _WithDatabase(Protocol):
    """The client that these methods are mixed into."""

    _database: PooledDatabase


class QueueControl:
    """Methods of ``Durable`` for queues; ``node`` is an id's beginning, all nodes if left out."""

    def pause_queue(self: _WithDatabase, queue: str, *, node: str | None = None) -> list[str]:
        """Have nothing more claimed from a queue; what runs goes on. Blocks until that is so.

        Returns the ids of the live nodes on which it holds. Without ``node`` it holds for nodes
        that start later too.

        Raises:
            NodeNotFound, NotUnique: No live node's id begins with ``node``, or several do.
            CommandTimeout: A manager has not followed within 10 s; it will when it can.
            ConfigError: The queue's name is not one.
        """
        _set(self._database, queue, node, paused=True)
        return _until(self._database, queue, node, "paused", lambda each: bool(each["paused"]))

    def resume_queue(self: _WithDatabase, queue: str, *, node: str | None = None) -> list[str]:
        """Have a paused queue claimed from again; see ``pause_queue``.

        Raises:
            CommandFailed: It is paused for all nodes, and cannot be resumed for one.
        """
        node_id = _set(self._database, queue, node, paused=False)
        if self._database.run(nodes.queue_settings, queue, node_id).paused:
            raise CommandFailed(
                f"Queue {queue!r} is paused for all nodes; resume it without naming a node.",
                status=Status.REFUSED,
            )
        return _until(self._database, queue, node, "resumed", lambda each: each["paused"] is False)

    def scale_queue(
        self: _WithDatabase, queue: str, concurrency: int, *, node: str | None = None
    ) -> list[str]:
        """Have so many executions of a queue run at once on each node; see ``pause_queue``.

        Raises:
            ConfigError: It is no number from 1, or takes more connections than the server has.
        """
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigError(f"concurrency must be a whole number from 1, not {concurrency!r}.")
        check_queue(queue)
        _check_room(self._database, queue, concurrency, node)
        _set(self._database, queue, node, concurrency=concurrency)
        return _until(
            self._database,
            queue,
            node,
            f"scaled to {concurrency}",
            lambda each: each["concurrency"] == concurrency,
        )

    def drain_queue(
        self: _WithDatabase,
        queue: str,
        timeout: timedelta | float = DRAIN_SECONDS,
        *,
        node: str | None = None,
    ) -> bool:
        """Pause a queue and wait until nothing of it runs; it stays paused. Blocks.

        Returns whether that is so; False when something still runs after ``timeout``.

        Raises:
            NodeNotFound, NotUnique, ConfigError: As ``pause_queue``.
        """
        limit = Deadline(in_seconds(timeout, what="timeout"))
        _set(self._database, queue, node, paused=True)
        return holds_within(limit, lambda: _is_drained(self._database, queue, node))


def _set(database: PooledDatabase, queue: str, node: str | None, **settings: Any) -> str:
    """Set something for a queue; return the id of the node that is meant."""
    check_queue(queue)
    meant = ALL_NODES if node is None else find_node(database.run(nodes.live_nodes), node).id
    database.run(nodes.set_queue, queue, meant, **settings)
    return meant


def _until(
    database: PooledDatabase,
    queue: str,
    node: str | None,
    what: str,
    holds: Callable[[dict[str, Any]], bool],
) -> list[str]:
    """Wait until it holds for the queue's managers on all nodes that are meant; return those."""
    managers: list[tuple[str, dict[str, Any]]] = []

    def followed() -> bool:
        managers[:] = _managers(database.run(nodes.live_nodes), queue, node)
        return all(holds(each) for _, each in managers)

    if not holds_within(Deadline(IN_EFFECT_SECONDS), followed):
        late = ", ".join(id_ for id_, each in managers if not holds(each))
        raise CommandTimeout(
            f"Queue {queue!r} is to be {what}, but its manager on node {late} has not followed "
            f"within {IN_EFFECT_SECONDS:.0f} s; it will when it can read the database."
        )
    return [id_ for id_, _ in managers]


def _managers(
    live: Sequence[Node], queue: str, node: str | None
) -> list[tuple[str, dict[str, Any]]]:
    return [
        (each.id, child)
        for each in on_nodes(live, node)
        for child in (each.tree or {}).get("children", ())
        if child["role"] == "queue_manager" and child["queue"] == queue
    ]


def _is_drained(database: PooledDatabase, queue: str, node: str | None) -> bool:
    """A manager that has not noticed the pause yet may still claim; only then do others count."""
    managers = _managers(database.run(nodes.live_nodes), queue, node)
    if not all(manager["paused"] for _, manager in managers if manager["pid"]):
        return False
    if node is None:
        return database.run(get_stats, queue).running == 0
    return all(manager["busy"] == 0 for _, manager in managers if manager["pid"])


def _check_room(database: PooledDatabase, queue: str, concurrency: int, node: str | None) -> None:
    """Refuse a number that would need more connections than the server has."""
    live = database.run(nodes.live_nodes)
    meant = {each.id for each in on_nodes(live, node)}
    sums = [_need(each, {queue: concurrency} if each.id in meant else {}) for each in live]
    sums = sums or [needed_connections([(concurrency, 1)], siblings=0)]
    needed, available = sum(count for count, _ in sums), database.run(connection_limit)
    if needed > available:
        formula = "; ".join(text for _, text in sums)
        raise ConfigError(
            f"The nodes would open up to {needed} connections ({formula}), but PostgreSQL has "
            f"{available} for ordinary roles; choose a smaller number or raise max_connections."
        )


def _need(node: Node, changed: dict[str, int]) -> tuple[int, str]:
    children = (node.tree or {}).get("children", ())
    sizes = {
        child["queue"]: (
            changed.get(child["queue"], child["concurrency"] or 0),
            child.get("threads") or 1,
        )
        for child in children
        if child["role"] == "queue_manager"
    }
    return needed_connections(sizes.values(), siblings=len(children) - len(sizes))
