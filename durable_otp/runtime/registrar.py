"""Publishes what this node is: its tree, the workflows and schedules it knows, that it lives.

The root sends its copy of the tree when it has changed; nobody is asked for it. What the processes
use of the machine is measured with each beat, and every second while somebody watches. Operators'
commands come in here and are passed to the root (`command_desk`).
"""

import contextlib
import logging
import os
import socket
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.errors import CodecError, ConfigError, DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.otp import Message, ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime import messages
from durable_otp.runtime.carried import codecs_of
from durable_otp.runtime.command_desk import CommandDesk
from durable_otp.runtime.life_log import LifeLog
from durable_otp.runtime.recurring import pause_of, serve
from durable_otp.runtime.settings import RegistrarSettings
from durable_otp.runtime.usage import Usage
from durable_otp.storage.database import Database
from durable_otp.storage.definitions import publish
from durable_otp.storage.nodes import forget_nodes, publish_node, withdraw_nodes
from durable_otp.storage.schedules import declare

AT_MOST_EVERY = 0.2
MEASURED_EVERY = 1.0
"""Seconds, while somebody watches; else it is done with the beat."""


class Registrar:
    """One round: publish the workflows if they are new, the node if it is time; take commands."""

    def __init__(self, database: Database, settings: RegistrarSettings, desk: CommandDesk) -> None:
        self._database = database
        self._settings = settings
        self._desk = desk
        self._usage = Usage()
        self._every = settings.node_timeout / 3
        self._is_node_stopping = False
        self._is_replaced = False
        self._tree: dict[str, Any] = {}
        self._life_log = LifeLog(database, settings.node_id)
        self._workflows: list[dict[str, Any]] = []
        self._published: list[dict[str, Any]] | None = None
        self._beat = 0
        self._last = self._looked = float("-inf")

    def take(self, message: Message) -> None:
        """Take note of what the root says: the tree, the workflows, answers, the stop."""
        self._desk.take(message)
        if message.kind == messages.TREE:
            self._tree = message.fields["tree"]
        if message.kind == messages.WORKFLOWS:
            self._workflows = message.fields["workflows"]
        if message.kind == messages.FINISH:
            self._is_node_stopping = True
        if message.kind == messages.STAY:
            self._is_replaced = True

    def run_once(self) -> float:
        """Publish, and take commands; return the seconds until there is more to do."""
        beat_every = self._settings.node_timeout / 3
        if monotonic() >= self._looked + beat_every:
            self._looked = monotonic()
            self._desk.look_soon()  # a notification may be lost with its connection
        self._desk.run_once()
        if self._workflows and self._workflows != self._published:
            self._database.run(publish, [messages.as_published(each) for each in self._workflows])
            self._declare()
            self._published = self._workflows
        if not self._tree:
            return AT_MOST_EVERY  # it is on its way
        too_soon = self._last + AT_MOST_EVERY - monotonic()
        if too_soon > 0:
            return too_soon
        self._beat += 1
        is_watched = self._database.run(publish_node, self._node(), self._beat)
        self._last = monotonic()
        self._life_log.note(self._tree)
        self._every = min(beat_every, MEASURED_EVERY) if is_watched else beat_every
        return self._every

    def _declare(self) -> None:
        """Make the workflows' schedules known; a codec that fails must not stop the beats."""
        try:
            self._database.run(declare, messages.declared_schedules(self._workflows))
        except (CodecError, ConfigError) as error:
            emit("schedules_not_declared", level=logging.ERROR, reason=str(error))

    def leave(self) -> None:
        """Take the node off the list, so that nobody need wait for its silence.

        If this process alone was stopped, only until the next one in its place puts it on again;
        if one is on its way, not at all.
        """
        with contextlib.suppress(DatabaseUnreachable):
            if self._is_node_stopping:
                self._desk.close()
                self._database.run(forget_nodes, [self._settings.node_id])
            elif not self._is_replaced:
                self._database.run(withdraw_nodes, [self._settings.node_id])

    def _node(self) -> dict[str, Any]:
        self._usage.add_to(self._tree, self._every - AT_MOST_EVERY / 2)
        return {
            "id": self._settings.node_id,
            "name": self._settings.instance,
            "hostname": socket.gethostname(),
            "pid": os.getppid(),
            "node_timeout": self._settings.node_timeout,
            "tree": self._tree,
            "workflows": [[each["workflow"], each["version"]] for each in self._workflows],
        }


def registrar(parent: ParentLink, title: str, settings: RegistrarSettings) -> None:
    """Be the registrar until told to stop."""
    set_title(title)

    def hear(message: Message) -> None:
        work.take(message)

    database = Database(
        settings.database.dsn,
        settings.database.schema,
        role="registrar",
        pause=pause_of(parent, hear),
        codecs=codecs_of(settings.database.codecs),
    )
    desk = CommandDesk(database, settings.node_id, parent.send)
    work = Registrar(database, settings, desk)
    serve(
        parent,
        database,
        work,
        listen="listen_command",
        on_message=work.take,
        on_heard=lambda _: desk.look_soon(),
    )
    while (message := parent.take()) is not None:
        work.take(message)
    if not parent.lost:
        work.leave()
        database.close()
