"""What a queue manager tells PostgreSQL without being asked, and what it hears from it.

It shows that it lives (a beat), that its claims do (heartbeats), and which steps are in progress;
it listens for new work, cancels and commands. All of it in the manager's own event loop.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, Protocol

from durable_otp.clock import Deadline
from durable_otp.errors import DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.runtime.claims import Claims
from durable_otp.runtime.held import Condemnation, Held
from durable_otp.runtime.settings import ManagerSettings
from durable_otp.storage.aftermath import Ended
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.families import children_ended
from durable_otp.storage.limits import set_limits
from durable_otp.storage.nodes import (
    ManagerId,
    QueueSettings,
    beat_manager,
    forget_managers,
    predecessors,
    queue_settings,
)
from durable_otp.storage.queue import BATCH_SIZE, recover_claims
from durable_otp.storage.settlement import HeldClaim, release
from durable_otp.workflow.execution import Settled

CHANNELS = ("listen_queue", "listen_cancel", "listen_command")
REPORT_STEPS_EVERY = 0.5
READ_SETTINGS_EVERY = 10.0
LONGEST_SILENCE = 5.0
IN_DOUBT_SECONDS = 5.0  # the server ends the statements of a lost connection well within this
LOOK_IN_DOUBT_EVERY = 1.0


class Holder(Protocol):
    """What the upkeep needs of the manager."""

    id: ManagerId

    @property
    def held(self) -> Collection[Held]:
        """The executions that are claimed here."""

    def catch_up(self) -> None:
        """Follow what the workers have begun without saying so."""

    def trim_output(self) -> None:
        """Give back the memory of output that will not be kept."""

    def look(self) -> None:
        """Look at the queue soon."""

    def look_later(self) -> None:
        """Show soon what has changed."""

    def stop_body(self, execution_id: str, lock_token: str | None, why: Condemnation) -> None:
        """Stop what runs of an execution."""

    def set_by_operators(self, settings: QueueSettings) -> None:
        """Follow what operators have set."""

    async def run_operation(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a storage operation once; raises DatabaseUnreachable."""


class Upkeep:
    """The recurring duties of a manager; each is a coroutine that never ends."""

    def __init__(
        self, holder: Holder, settings: ManagerSettings, claims: Claims, listener: AsyncDatabase
    ) -> None:
        self._holder = holder
        self._settings = settings
        self._claims = claims
        self._listener = listener
        self._beat = 0
        self._connections_seen = 0
        self._in_doubt: Deadline | None = None
        self._settings_changed = asyncio.Event()

    def duties(self) -> list[Coroutine[Any, Any, None]]:
        """Return the duties, each to be run as a task."""
        return [
            self._listen(),
            self._every(self._settings.node_timeout / 3, self._show_life),
            self._every(self._settings.heartbeat_interval, self._keep_claims),
            self._every(REPORT_STEPS_EVERY, self._report_steps),
            self._follow_operators(),
        ]

    def descriptors(self, *others: AsyncDatabase) -> list[int]:
        """Return the sockets that no child may keep."""
        found = [database.fileno() for database in (self._listener, *others)]
        return [descriptor for descriptor in found if descriptor is not None]

    def settings_changed(self) -> None:
        """Read soon what operators have set."""
        self._settings_changed.set()

    async def after_reconnect(self, database: AsyncDatabase) -> None:
        """Set things right that happened while there was no connection, before the next claim.

        A predecessor in this place of the tree is dead, or this process would not be here. A claim
        of our own that we do not know of was made by a statement whose answer never came, and which
        the server may be running still.
        """
        opened = max(1, database.connections_opened)
        if opened == self._connections_seen:
            await self._give_back_unknown()
            return
        if self._connections_seen:
            self._in_doubt = Deadline(IN_DOUBT_SECONDS)
        await self._show_life()
        dead = await self._holder.run_operation(predecessors, self._holder.id)
        if dead:
            lost = await self._recover(dead, counted=True)
            await self._holder.run_operation(forget_managers, dead)
            emit("predecessor_recovered", queue=self._settings.queue, claims=lost)
        await self._recover([self._holder.id.id], counted=False)
        if not self._connections_seen and not self._settings.limits.are_none:
            limits = self._settings.limits
            await database.run(set_limits, self._settings.queue, limits, by_operator=False)
        await self._read_settings()
        self._connections_seen = database.connections_opened

    async def _give_back_unknown(self) -> None:
        if self._in_doubt is not None:
            is_last = self._in_doubt.passed
            await self._recover([self._holder.id.id], counted=False)
            self._in_doubt = None if is_last else self._in_doubt

    @property
    def patience(self) -> float:
        """Within how many seconds the queue is to be looked at, whatever happens."""
        return math.inf if self._in_doubt is None else LOOK_IN_DOUBT_EVERY

    async def _recover(self, holders: list[str], *, counted: bool) -> int:
        recovered = 0
        while True:
            kept = [token for held in self._holder.held for token in held.tokens]
            batch: Ended = await self._holder.run_operation(
                recover_claims,
                holders,
                kept=kept,
                counted=counted,
                max_interruptions=self._settings.max_interruptions,
            )
            await self._tell(batch.parents)
            recovered += batch.count
            if batch.count < BATCH_SIZE:
                return recovered

    async def _tell(self, parents: Sequence[str]) -> None:
        """Tell the parents of children that have ended."""
        if parents:
            await self._holder.run_operation(children_ended, parents)

    async def leave(self, claims: list[tuple[str, str]], database: AsyncDatabase) -> None:
        """Give everything back, what we do not know of too, and take our name off the list."""
        if claims:
            await database.run(release, claims)
        await database.run(recover_claims, [self._holder.id.id], counted=False)
        await database.run(forget_managers, [self._holder.id.id])

    # the duties

    async def _every(self, seconds: float, duty: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await duty()
            except DatabaseUnreachable as error:
                emit("upkeep_failed", queue=self._settings.queue, reason=str(error))

    async def _show_life(self) -> None:
        self._beat += 1
        await self._holder.run_operation(beat_manager, self._holder.id, self._beat)

    async def _keep_claims(self) -> None:
        self._holder.catch_up()
        held = [each for each in self._holder.held if each.condemned is None]
        await self._refresh(held)

    async def _report_steps(self) -> None:
        """Tell of the steps that have run for a while, so that others see where executions are."""
        self._holder.catch_up()
        self._holder.trim_output()
        held = [
            each
            for each in self._holder.held
            if each.begun and not each.is_reported and each.condemned is None
            and each.seconds_in_step >= REPORT_STEPS_EVERY
        ]  # fmt: skip
        if held:
            self._holder.look_later()
            await self._refresh(held)
            for each in held:
                each.is_reported = True

    async def _refresh(self, held: list[Held]) -> None:
        if not held:
            return
        asked = [HeldClaim(each.claim.id, each.lock_token, each.begun_json()) for each in held]
        settled = await self._claims.refresh(asked)
        for each, claim in zip(held, asked, strict=True):
            answer = settled.get(claim.lock_token, Settled.OK)
            if answer is not Settled.OK and each.lock_token == claim.lock_token:
                is_gone = answer is Settled.NOT_FOUND
                why = Condemnation.CLAIM_GONE if is_gone else Condemnation.CLAIM_LOST
                self._holder.stop_body(claim.id, claim.lock_token, why)

    async def _listen(self) -> None:
        delay = 0.05
        while True:
            try:
                async with aclosing(self._listener.notifications(CHANNELS)) as notices:
                    async for channel, payload in notices:
                        delay = 0.05
                        self._notified(channel.partition(":")[2], payload)
                break  # a pooler is in between: there is nothing to hear
            except DatabaseUnreachable as error:
                emit("listening_failed", queue=self._settings.queue, reason=str(error))
            await asyncio.sleep(random.uniform(delay / 2, delay))  # noqa: S311 - jitter
            delay = min(LONGEST_SILENCE, delay * 2)
        emit("polling_only", level=logging.WARNING, queue=self._settings.queue)
        await asyncio.get_running_loop().create_future()

    def _notified(self, channel: str, payload: str) -> None:
        match channel:
            case "queue" if payload not in (self._settings.queue, "*"):
                return
            case "cancel":
                execution_id, _, token = payload.partition(" ")
                self._holder.stop_body(execution_id, token or None, Condemnation.CANCELLED)
            case "command" if not payload:  # another is for a node's registrar
                self.settings_changed()
            case "command":
                return
            case _:
                self._holder.look()

    async def _follow_operators(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(READ_SETTINGS_EVERY):
                    await self._settings_changed.wait()
            self._settings_changed.clear()
            try:
                await self._read_settings()
            except DatabaseUnreachable as error:
                emit("upkeep_failed", queue=self._settings.queue, reason=str(error))

    async def _read_settings(self) -> None:
        self._holder.set_by_operators(
            await self._holder.run_operation(
                queue_settings, self._settings.queue, self._settings.node_id
            )
        )
