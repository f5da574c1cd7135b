"""Gives back the claims of managers and nodes that are no more.

Managers are judged by their beats (`pulse`). A claim of anybody else is stale when it has not been
refreshed for `stale_lock_timeout`; one of a living manager too, but only after this process has
been connected for as long, so that an outage of the database itself makes nothing stale.
"""

from collections.abc import Callable
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.events import emit
from durable_otp.otp import ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime.pulse import Pulse
from durable_otp.runtime.recurring import pause_of, serve
from durable_otp.runtime.settings import SiblingSettings
from durable_otp.storage.aftermath import Ended, run_ending
from durable_otp.storage.database import Database
from durable_otp.storage.nodes import (
    forget_managers,
    forget_nodes,
    manager_beats,
    node_beats,
)
from durable_otp.storage.operation import Operation
from durable_otp.storage.queue import (
    recover_claims,
    recover_stale_locks,
    stale_claims_are_left,
)

REST_WHEN_LEFT = 0.2


class StaleJobRecovery:
    """One round: watch the beats, and take back what the dead have held."""

    def __init__(self, database: Database, settings: SiblingSettings) -> None:
        self._database = database
        self._settings = settings
        self._managers = Pulse()
        self._nodes = Pulse()
        self._connected_since = 0.0
        self._connections = 0
        self._swept_at: float | None = None

    def run_once(self) -> float:
        """Take back what is lost; return the seconds until the beats are to be seen again."""
        beats = self._database.run(manager_beats)
        nodes = self._database.run(node_beats)
        now = monotonic()
        if self._database.connections_opened != self._connections:
            self._connections = self._database.connections_opened
            self._connected_since = now
            self._managers.forget()
            self._nodes.forget()
        self._managers.observe(beats, now)
        self._nodes.observe(nodes, now)
        self._bury(now)
        if self._swept_at is None or now - self._swept_at >= self._settings.interval:
            is_done = self._sweep(now)
            self._swept_at = now if is_done else None
        rest = self._settings.interval if self._swept_at is not None else REST_WHEN_LEFT
        return min(rest, self._settings.interval, self._settings.node_timeout / 3)

    def _bury(self, now: float) -> None:
        silent = self._settings.node_timeout
        dead = self._managers.dead(now, silent)
        if dead:
            recovered = self._in_batches(recover_claims, dead)
            self._database.run(forget_managers, dead)
            emit("managers_found_dead", count=len(dead), claims=recovered)
        gone = self._nodes.dead(now, silent)
        if gone:
            self._database.run(forget_nodes, gone)
            emit("nodes_found_dead", count=len(gone))

    def _sweep(self, now: float) -> bool:
        """Take back what is stale; return whether that is all: somebody may have it locked."""
        timeout = self._settings.stale_lock_timeout
        trusted = now - self._connected_since >= timeout
        spared = [] if trusted else self._managers.living(now, self._settings.node_timeout)
        recovered = self._in_batches(recover_stale_locks, timeout, live=spared)
        if recovered:
            emit("stale_claims_recovered", count=recovered)
        return not self._database.run(stale_claims_are_left, timeout, live=spared)

    def _in_batches(
        self, operation: Callable[..., Operation[Ended]], *args: Any, **options: Any
    ) -> int:
        recovered = 0
        while True:
            batch = run_ending(
                self._database.run,
                operation,
                *args,
                batch_size=self._settings.batch_size,
                max_interruptions=self._settings.max_interruptions,
                **options,
            )
            recovered += batch
            if batch < self._settings.batch_size:
                return recovered


def stale_job_recovery(parent: ParentLink, title: str, settings: SiblingSettings) -> None:
    """Be the stale job recovery until told to stop."""
    set_title(title)
    database = Database(
        settings.database.dsn,
        settings.database.schema,
        role="stale_job_recovery",
        pause=pause_of(parent),
    )
    serve(parent, database, StaleJobRecovery(database, settings))
