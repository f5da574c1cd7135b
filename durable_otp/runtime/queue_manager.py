"""A queue manager: claims executions for its idle workers, and answers for what it has claimed.

One event loop, in which nothing waits for PostgreSQL: deaths, timeouts and orders to stop are seen
to while every statement hangs. Two connections: one for statements, one that listens. How
executions are settled is in `settling`, how workers come and go in `crew`, what it tells PostgreSQL
without being asked in `upkeep`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from durable_otp.clock import Deadline
from durable_otp.engine.outcome import Outcome
from durable_otp.errors import ConfigError, DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.otp import AsyncParentLink, ExitReason, InitError, ParentLink, StartFailed, loop
from durable_otp.otp.link import STATE, Message
from durable_otp.otp.process import close_in_children
from durable_otp.otp.title import set_title
from durable_otp.runtime import messages
from durable_otp.runtime.claims import AdapterClaims, Claims, DatabaseClaims
from durable_otp.runtime.crew import Crew, Station
from durable_otp.runtime.held import Condemnation, Held
from durable_otp.runtime.messages import BegunReport
from durable_otp.runtime.settings import ManagerSettings
from durable_otp.runtime.settling import Settling
from durable_otp.runtime.upkeep import Upkeep
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.identity import new_id
from durable_otp.storage.nodes import ManagerId, QueueSettings
from durable_otp.storage.queue import Claim, next_due

STATEMENT_DEADLINE = 10.0
SETTLE_AT_STOP_SECONDS = 3.0
PUSH_STATE_AFTER = 0.05
RETRY_AFTER_FAILURE = 0.5
WORD_ON_ITS_WAY = 0.2


def queue_manager(parent: ParentLink, settings: ManagerSettings) -> None:
    """Be the manager of a queue until told to stop."""
    set_title(f"{settings.title} queue {settings.queue}")
    loop.run(parent, _manage, settings)


async def _manage(link: AsyncParentLink, settings: ManagerSettings) -> None:
    await QueueManager(link, settings).run()


class QueueManager:
    """The program of a manager's event loop; implements `settling.Office` and `upkeep.Holder`."""

    def __init__(self, link: AsyncParentLink, settings: ManagerSettings) -> None:
        self._link = link
        self._settings = settings
        self.id = ManagerId(new_id(), settings.node_id, settings.queue)
        self._database = _database(settings, "claims")
        self._claims = _claims(settings, self._database, self.id)
        self._crew = Crew(settings, self._hear, self._died, self.look)
        self._settling = Settling(self, settings.interrupt_grace)
        self._upkeep = Upkeep(self, settings, self._claims, _database(settings, "listen"))
        self.held: dict[int, Held] = {}
        self._ready: deque[Held] = deque()
        self._runs = 0
        self._wake = asyncio.Event()
        self._operators: QueueSettings | None = None  # not read yet
        self._stopping = False
        self._releasing: set[asyncio.Future[None]] = set()
        self._push: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Start the workers, then claim until told to stop, or until workers die too often."""
        forget = close_in_children(lambda: self._upkeep.descriptors(self._database))
        try:
            await self._start_workers()
            self._link.on_message = self._obey
            self._push_state()
            self._link.ready({"workflows": self._crew.known_workflows})
            await self._work()
        finally:
            forget()
            await self._stop()

    async def _start_workers(self) -> None:
        try:
            await self._crew.start(self.concurrency)
        except StartFailed as error:
            raise InitError(error.failure.text, fatal=error.failure.fatal) from None
        try:
            self._claims.open(self._known())
        except ConfigError as error:
            raise InitError(str(error), fatal=True) from None

    async def _work(self) -> None:
        ends = [self._link.stopping.wait(), self._crew.exceeded.wait()]
        claiming = asyncio.ensure_future(self._claim_for_ever())
        duties = [*self._upkeep.duties(), self._settling.defect]
        tasks = [claiming, *(asyncio.ensure_future(work) for work in (*ends, *duties))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a duty never ends but by a defect, which then ends this process
        finally:
            self._stopping = True
            self._wake.set()  # a claim that is on its way is waited for, or nobody would know of it
            await asyncio.wait({claiming}, timeout=SETTLE_AT_STOP_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._crew.exceeded.is_set():
            emit("manager_gave_up", queue=self._settings.queue, reason="workers died too often")

    # claiming

    @property
    def concurrency(self) -> int:
        """How many executions may be in flight: what operators set, else the configuration's."""
        set_by_operators = self._operators and self._operators.concurrency
        return set_by_operators or self._settings.concurrency

    @property
    def is_paused(self) -> bool:
        """Whether nothing is to be claimed."""
        return self._stopping or self._operators is None or self._operators.paused

    def look(self) -> None:
        """Have the queue looked at soon: something changed, or something was notified."""
        self._wake.set()
        self._push_state_soon()

    async def _claim_for_ever(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                delay = await self._claim_once()
            except DatabaseUnreachable as error:
                emit("claim_failed", queue=self._settings.queue, reason=str(error))
                delay = RETRY_AFTER_FAILURE
            delay = min(delay, self._upkeep.patience)
            if delay > 0 and not self._stopping:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._wake.wait()

    async def _claim_once(self) -> float:
        """Claim for the idle workers; return for how long there is nothing more to do."""
        await self._upkeep.after_reconnect(self._database)
        self._hand_out()
        wanted = self._wanted()
        if wanted <= 0:
            return self._settings.poll_interval
        claims = await self._claims.fetch(wanted)
        for claim in claims:
            self._take(claim)
        self._hand_out()
        if len(claims) == wanted:
            return 0.0 if self._wanted() > 0 else self._settings.poll_interval
        due = await self._database.run(next_due, self._settings.queue)
        return min(self._settings.poll_interval, max(0.001, due or self._settings.poll_interval))

    def _wanted(self) -> int:
        if self.is_paused or any(held.alone for held in self.held.values()):
            return 0
        idle = len(self._crew.idle()) - len(self._ready)
        return min(self.concurrency - len(self.held), idle)

    def _known(self) -> list[tuple[str, str]]:
        return [(each["workflow"], each["version"]) for each in self._crew.known_workflows]

    def _take(self, claim: Claim) -> None:
        for earlier in [each for each in self.held.values() if each.claim.id == claim.id]:
            self._give_up(earlier)
        self._runs += 1
        held = Held(claim, claim.lock_token, run=self._runs, alone=claim.alone)
        held.is_fresh = not claim.begun_before
        self.held[held.run] = held
        self._ready.append(held)

    def _give_up(self, earlier: Held) -> None:
        """Stop a run whose execution was claimed again; one that let go will soon say so itself."""
        lost = (earlier.claim.id, earlier.lock_token, Condemnation.CLAIM_LOST)
        if earlier in self._ready:
            self.stop_body(*lost)
        else:
            asyncio.get_running_loop().call_later(WORD_ON_ITS_WAY, self.stop_body, *lost)

    def _hand_out(self) -> None:
        """Give what is ready to the idle workers; one that must be alone waits until it is."""
        for station in self._crew.idle():
            if not self._ready or self._stopping:
                return
            in_flight = len(self.held) - len(self._ready)
            if in_flight and (self._ready[0].alone or self._has_one_alone()):
                return
            self._give(station, self._ready.popleft())

    def _has_one_alone(self) -> bool:
        return any(held.alone and held not in self._ready for held in self.held.values())

    def _give(self, station: Station, held: Held) -> None:
        child = station.child
        if child is None:
            self._ready.appendleft(held)
            return
        claim = held.claim
        fields = {
            "run": held.run,
            "id": claim.id,
            "workflow": claim.workflow,
            "version": claim.version,
            "queue": claim.queue,
            "home_queue": claim.home_queue,
            "lock_token": held.lock_token,
            "is_fresh": held.is_fresh,
            "is_plain": claim.is_plain,
        }
        self._crew.give(station, held)
        child.send(messages.RUN, fields, (claim.input or "").encode())
        self._push_state_soon()

    # what workers say, and how they end

    def _hear(self, station: Station, message: Message) -> None:
        held = station.held
        if held is None or message.fields.get("run") != held.run:
            return
        match message.kind:
            case messages.BEGUN:
                self._begun(station, held, BegunReport(**message.fields))
            case messages.PROGRESS:
                self._progressed(station, held)
            case messages.ENDED:
                held.stop_timer()
            case messages.LEAVING:
                held.is_leaving = True
            case messages.DONE:
                self._done(station, held, message.fields["outcome"])

    def _begun(self, station: Station, held: Held, report: BegunReport) -> None:
        was_alone = held.alone
        held.begin(report)
        if was_alone and not held.alone:
            self.look()  # its neighbours may run now
        if station.child is not None:
            held.start_timers(partial(self._settling.stop_body, held, station.child))
        self._push_state_soon()

    def _progressed(self, station: Station, held: Held) -> None:
        if station.child is not None:
            held.progressed(partial(self._settling.stop_body, held, station.child))

    def _done(self, station: Station, held: Held, outcome: str) -> None:
        held.body_ended(self._output(station) if held.condemned else [])
        self._crew.take_back(station)
        if held.condemned is None:
            self.drop(held, None)
            if outcome == Outcome.RELEASED:
                self._give_back(held)
        self.look()

    def _give_back(self, held: Held) -> None:
        task = asyncio.ensure_future(self._settling.release([(held.claim.id, held.lock_token)]))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    def _died(self, station: Station, held: Held, reason: ExitReason) -> None:
        logs = self._output(station)
        if self._stopping:
            held.body_ended(logs)  # it is released with the others: a stop counts nothing
        else:
            self._settling.death(held, reason, logs)
        self._push_state_soon()

    def _output(self, station: Station) -> list[dict[str, Any]]:
        return station.output.entries(self._settings.worker.max_log)

    def stop_body(self, execution_id: str, lock_token: str | None, why: Condemnation) -> None:
        """Stop the bodies of an execution (all, or the one under a token): it is not ours now."""
        for station in self._crew.stations:
            held, child = station.held, station.child
            if held is None or child is None or held.claim.id != execution_id:
                continue
            if lock_token in (None, held.lock_token):
                self._settling.stop_body(held, child, why)
        for held in tuple(self._ready):
            if held.claim.id == execution_id and lock_token in (None, held.lock_token):
                self._ready.remove(held)
                self.drop(held, None)

    # settling.Office

    async def run_operation(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a storage operation once; raises DatabaseUnreachable."""
        return await self._database.run(operation, *args, **options)

    def again(self, held: Held) -> None:
        """Hand an execution to the next idle worker, before any other."""
        self._runs += 1
        self.held.pop(held.run, None)
        held.run = self._runs
        self.held[held.run] = held
        self._ready.appendleft(held)
        self._hand_out()
        self.look()

    def drop(self, held: Held, due_in: float | None) -> None:
        """Let go of an execution; ``due_in`` is when it may be claimed again."""
        self.held.pop(held.run, None)
        if due_in is None or due_in <= 0:
            self.look()
        else:
            asyncio.get_running_loop().call_later(due_in, self.look)

    def description(self, held: Held) -> dict[str, Any]:
        """Return the published form of the execution's workflow."""
        wanted = (held.claim.workflow, held.claim.version)
        known = self._crew.known_workflows
        found = (each for each in known if (each["workflow"], each["version"]) == wanted)
        description: dict[str, Any] = next(found)["description"]
        return description

    # orders

    def _obey(self, message: Message) -> None:
        if message.kind == messages.LOOK:
            self._upkeep.settings_changed()
        elif message.kind == messages.FINISH:
            self._link.stopping.set()

    def set_by_operators(self, settings: QueueSettings) -> None:
        """Follow what operators have set: pause, and how many to run."""
        if settings == self._operators:
            return
        self._operators = settings
        self._crew.resize(self.concurrency)
        self.look()

    # the state that the tree shows

    def _push_state_soon(self) -> None:
        if self._push is None:
            self._push = asyncio.get_running_loop().call_later(PUSH_STATE_AFTER, self._push_state)

    def _push_state(self) -> None:
        self._push = None
        self._link.send(
            STATE,
            {
                "role": "queue_manager",
                "queue": self._settings.queue,
                "concurrency": self.concurrency,
                "busy": sum(station.held is not None for station in self._crew.stations),
                "paused": self._operators and self._operators.paused,
                "children": self._crew.tree(),
            },
        )

    # the end

    async def _stop(self) -> None:
        """Let steps finish within the limit, give back what is left uncounted, and close."""
        self._stopping = True
        limit = Deadline(self._settings.shutdown_timeout)
        await self._crew.stop(limit.remaining or 0.0)
        await self._settling.finish(SETTLE_AT_STOP_SECONDS)
        claims = [(held.claim.id, held.lock_token) for held in self.held.values()]
        with suppress(TimeoutError, DatabaseUnreachable):
            async with asyncio.timeout(SETTLE_AT_STOP_SECONDS):
                await asyncio.gather(*self._releasing)
                await self._upkeep.leave(claims, self._database)
        await self._database.close()


def _database(settings: ManagerSettings, purpose: str) -> AsyncDatabase:
    return AsyncDatabase(
        settings.database.dsn,
        settings.database.schema,
        role=f"manager {settings.queue} {purpose}",
        deadline=STATEMENT_DEADLINE,
    )


def _claims(settings: ManagerSettings, database: AsyncDatabase, manager: ManagerId) -> Claims:
    if settings.adapter is None:
        return DatabaseClaims(database, settings.queue, manager.id)
    return AdapterClaims(settings, manager.id)
