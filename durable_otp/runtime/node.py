"""What the root does besides supervising: it keeps the last copy of the tree and passes it on.

These hooks run in the root's own process, which runs no user code and has no database connection.
"""

import asyncio
import gc
import importlib
import logging
import socket
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from durable_otp.clock import monotonic, wall_clock
from durable_otp.errors import ConfigError
from durable_otp.events import emit, log_to_stderr
from durable_otp.otp import Message, Root, RootHooks, SupervisorEvent
from durable_otp.otp.link import STATE
from durable_otp.otp.link import TREE as SUBTREE
from durable_otp.runtime import messages, tree_view
from durable_otp.runtime.idle_watch import IDLE_WATCH, in_hand
from durable_otp.runtime.orders import REGISTRAR, Order, Orders
from durable_otp.runtime.tree_view import MANAGER
from durable_otp.storage.statements import numbered

PUSH_AFTER = 0.1
LEVELS = {
    "started": logging.DEBUG,
    "hung": logging.ERROR,
    "start_failed": logging.ERROR,
    "gave_up": logging.ERROR,
}


@dataclass
class NodeHooks(RootHooks):
    """The hooks of one node; made where the tree is started, used in its root."""

    node_id: str
    schema: str
    log_format: str = "text"
    log_level: int = logging.INFO
    preload: tuple[str, ...] = ()
    allow_threads: bool = False
    until_idle: bool = False
    """Whether the tree is to stop in order as soon as nothing is left to do."""
    _push: Any = field(default=None, repr=False)
    _orders: Orders = field(default_factory=Orders, repr=False)
    _clocks: tuple[datetime, float] | None = field(default=None, repr=False)
    """One moment on the wall clock and the monotonic one: a start is always shown the same."""
    _told: tuple[Any, Any] = field(default=(None, None), repr=False)
    """The registrar that was told the workflows, and which."""

    def before_children(self, root: Root) -> None:
        """Import what every process needs, once: a fork shares it, copy on write."""
        _ = root
        log_to_stderr(self.log_format, level=self.log_level)
        numbered(self.schema)
        for name in self.preload:
            importlib.import_module(name.partition(":")[0])
            if threading.active_count() > 1 and not self.allow_threads:
                raise ConfigError(
                    f"durable.preload: importing {name!r} started a thread, and a process with "
                    "threads cannot be forked safely; leave preload off or set "
                    "allow_threads_at_fork."
                )
        gc.freeze()  # looking for garbage first takes 50 ms, and there is next to none

    def on_started(self, root: Root) -> None:
        """Log that the tree is up."""
        emit("node_started", node=self.node_id, pid=root.tree()["pid"])

    def on_stopping(self, root: Root) -> None:
        """Have all queues finish side by side: their turns to be stopped come one after another."""
        for node in root.server.actor.nodes():
            if str(node["id"]).startswith(MANAGER):
                root.send(node["id"], messages.FINISH)
        root.send(REGISTRAR, messages.FINISH)

    def on_child_message(self, child_id: str, message: Message, root: Root) -> None:
        """Notice that a part of the tree has changed; pass on orders and their answers."""
        if message.kind in (STATE, SUBTREE):
            self._changed(root)
        elif message.kind == messages.ORDER and child_id == REGISTRAR:
            self._orders.take(Order(**message.fields), root, self._one_moment())
        elif message.kind == messages.ANSWER:
            self._orders.answered(message.fields)
        elif message.kind == messages.IDLE and child_id == IDLE_WATCH:
            root.push(messages.IDLE)
            if self.until_idle:
                root.stop()

    def on_event(self, event: SupervisorEvent, root: Root) -> None:
        """Log what supervision did, and notice that the tree has changed."""
        facts = {key: value for key, value in event.facts.items() if key != "info"}
        emit(
            f"child_{event.name}",
            level=LEVELS.get(event.name, logging.INFO),
            child=event.path,
            **facts,
        )
        self._changed(root)

    async def on_request(
        self, kind: str, fields: dict[str, Any], root: Root
    ) -> dict[str, Any] | None:
        """Answer the host: the tree, the workflows, or a message to pass to a manager."""
        if kind == messages.TREE:
            return self._state(root)
        if kind == messages.WORKFLOWS:
            return {"workflows": _workflows(root)}
        if kind == messages.LOOK:
            return {"sent": root.send(fields["child_id"], messages.LOOK)}
        return None

    def _changed(self, root: Root) -> None:
        if self._push is None:
            loop = asyncio.get_running_loop()
            self._push = loop.call_later(PUSH_AFTER, self._tell_registrar, root)

    def _tell_registrar(self, root: Root) -> None:
        self._push = None
        registrar, workflows = root.child(REGISTRAR), _workflows(root)
        if self._told[0] is not registrar or self._told[1] is not workflows:
            self._told = registrar, workflows  # they are large, and change with a manager only
            root.send(REGISTRAR, messages.WORKFLOWS, {"workflows": workflows})
        root.send(REGISTRAR, messages.TREE, self._state(root))
        if root.child(IDLE_WATCH) is not None and (told := in_hand(root)) is not None:
            root.send(IDLE_WATCH, messages.IN_HAND, told)

    def _state(self, root: Root) -> dict[str, Any]:
        return {
            "hostname": socket.gethostname(),
            "tree": tree_view.view(root.tree(), *self._one_moment()),
        }

    def _one_moment(self) -> tuple[datetime, float]:
        if self._clocks is None:
            self._clocks = datetime.fromtimestamp(wall_clock(), UTC), monotonic()
        return self._clocks


def _workflows(root: Root) -> list[dict[str, Any]]:
    """Return what the managers' workers have said that they can run."""
    for node in root.server.actor.nodes():
        child = root.server.actor.child(node["id"])
        if child is not None and "workflows" in child.info:
            found: list[dict[str, Any]] = child.info["workflows"]
            return found
    return []
