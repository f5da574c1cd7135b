"""Publishes what this node is: its tree, the workflows and schedules it knows, that it lives.

The root sends its copy of the tree when it has changed; nobody is asked for it.
"""

import contextlib
import os
import socket
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.errors import DatabaseUnreachable
from durable_otp.otp import Message, ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime import messages
from durable_otp.runtime.recurring import pause_of, serve
from durable_otp.runtime.settings import RegistrarSettings
from durable_otp.storage.database import Database
from durable_otp.storage.definitions import publish
from durable_otp.storage.nodes import forget_nodes, publish_node
from durable_otp.storage.schedules import declare

AT_MOST_EVERY = 0.2


class Registrar:
    """One round: publish the workflows if they are new, and the node if it is time."""

    def __init__(self, database: Database, settings: RegistrarSettings) -> None:
        self._database = database
        self._settings = settings
        self._tree: dict[str, Any] = {}
        self._workflows: list[dict[str, Any]] = []
        self._published: list[dict[str, Any]] | None = None
        self._beat = 0
        self._last = float("-inf")

    def take(self, message: Message) -> None:
        """Take note of the tree as the root sees it."""
        if message.kind == messages.TREE:
            self._tree = message.fields["tree"]
        if message.kind == messages.WORKFLOWS:
            self._workflows = message.fields["workflows"]

    def run_once(self) -> float:
        """Publish; return the seconds until the next beat is due."""
        if self._workflows and self._workflows != self._published:
            self._database.run(publish, [messages.as_published(each) for each in self._workflows])
            self._database.run(declare, messages.declared_schedules(self._workflows))
            self._published = self._workflows
        too_soon = self._last + AT_MOST_EVERY - monotonic()
        if too_soon > 0:
            return too_soon
        self._beat += 1
        self._database.run(publish_node, self._node(), self._beat)
        self._last = monotonic()
        return self._settings.node_timeout / 3

    def leave(self) -> None:
        """Take the node off the list: it stops in order, and nobody need wait for its silence."""
        with contextlib.suppress(DatabaseUnreachable):
            self._database.run(forget_nodes, [self._settings.node_id])

    def _node(self) -> dict[str, Any]:
        return {
            "id": self._settings.node_id,
            "name": self._settings.instance,
            "hostname": socket.gethostname(),
            "pid": os.getppid(),
            "tree": self._tree,
            "workflows": [[each["workflow"], each["version"]] for each in self._workflows],
        }


def registrar(parent: ParentLink, title: str, settings: RegistrarSettings) -> None:
    """Be the registrar until told to stop."""
    set_title(title)
    database = Database(
        settings.database.dsn, settings.database.schema, role="registrar", pause=pause_of(parent)
    )
    work = Registrar(database, settings)
    serve(parent, database, work, on_message=work.take)
    if not parent.lost:
        work.leave()
        database.close()
