"""Tells the root when nothing is left for its node to do.

While any manager has something in hand there is nothing to ask. When none has, PostgreSQL is asked,
which knows what is held, due or to be tried again, at one moment: a claim that is being made is in
its answer, before or after. The root tells what its managers have whenever the tree has changed.
"""

from dataclasses import dataclass
from typing import Any

from durable_otp.events import emit
from durable_otp.otp import Message, ParentLink, Root
from durable_otp.otp.title import set_title
from durable_otp.runtime import messages
from durable_otp.runtime.recurring import pause_of, serve
from durable_otp.runtime.settings import IdleWatchSettings
from durable_otp.runtime.tree_view import MANAGER
from durable_otp.storage.database import Database
from durable_otp.storage.idle import work_left

IDLE_WATCH = "idle_watch"
ASK_AGAIN = 1.0
"""Seconds, when something is left and no manager has it: it is another node's, or not yet due."""
UNTIL_TOLD = 3600.0


@dataclass(frozen=True)
class InHand:
    """What the managers of a node have: how many executions, and the workflows they know."""

    busy: int
    workflows: list[tuple[str, str]]


def in_hand(root: Root) -> dict[str, Any] | None:
    """Return what the managers have in hand, as it is sent; None while one of them is not up."""
    managers = [node for node in root.server.actor.nodes() if str(node["id"]).startswith(MANAGER)]
    known: set[tuple[str, str]] = set()
    for manager in managers:
        child = root.child(manager["id"])
        if child is None or manager.get("busy") is None or "workflows" not in child.info:
            return None
        known |= {(each["workflow"], each["version"]) for each in child.info["workflows"]}
    return {"busy": sum(manager["busy"] for manager in managers), "workflows": sorted(known)}


class IdleWatch:
    """One round: ask whether anything is left, if nobody here has anything in hand."""

    def __init__(self, database: Database, settings: IdleWatchSettings, parent: ParentLink) -> None:
        self._database = database
        self._settings = settings
        self._parent = parent
        self._in_hand: InHand | None = None

    def take(self, message: Message) -> None:
        """Take note of what the managers have in hand."""
        if message.kind == messages.IN_HAND:
            workflows = [(name, version) for name, version in message.fields["workflows"]]
            self._in_hand = InHand(message.fields["busy"], workflows)

    def run_once(self) -> float:
        """Ask, and tell the root if nothing is left; return the seconds until it is asked again."""
        if self._in_hand is None or self._in_hand.busy:
            return UNTIL_TOLD
        settings = self._settings
        known = self._in_hand.workflows
        if self._database.run(work_left, settings.node_id, settings.queues, known):
            return ASK_AGAIN
        emit("node_idle", node=settings.node_id)
        self._parent.send(messages.IDLE)
        return UNTIL_TOLD


def idle_watch(parent: ParentLink, title: str, settings: IdleWatchSettings) -> None:
    """Watch until told to stop."""
    set_title(title)

    def hear(message: Message) -> None:
        work.take(message)

    database = Database(
        settings.database.dsn,
        settings.database.schema,
        role=IDLE_WATCH,
        pause=pause_of(parent, hear),
    )
    work = IdleWatch(database, settings, parent)
    serve(parent, database, work, on_message=work.take)
