"""A queue manager: claims executions for its idle workers, and answers for what it has claimed.

One event loop, in which nothing waits for PostgreSQL: deaths, timeouts and orders to stop are seen
to while every statement hangs. Two connections: one for statements, one that listens. How
executions are settled is in `settling`, how workers come and go in `crew`, what it tells PostgreSQL
without being asked in `upkeep`.
"""

import asyncio
from collections.abc import Callable, Sequence
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
from durable_otp.runtime.crew import Crew
from durable_otp.runtime.handing_out import HandingOut
from durable_otp.runtime.held import Condemnation, Held
from durable_otp.runtime.messages import BegunReport
from durable_otp.runtime.settings import ManagerSettings
from durable_otp.runtime.settling import Settling
from durable_otp.runtime.station import Left, Station
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
        self._crew = Crew(settings, self._hear, self._left, self._returned, self.look)
        self._handing_out = HandingOut(self._crew, self._release_surplus)
        self._settling = Settling(self, settings.interrupt_grace)
        self._upkeep = Upkeep(self, settings, self._claims, _database(settings, "listen"))
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
        """Claim for the workers that have room; return for how long there is nothing to do."""
        await self._upkeep.after_reconnect(self._database)
        self._hand_out()
        wanted = 0 if self.is_paused else self._handing_out.wanted(self.concurrency)
        if wanted <= 0:
            return self._settings.poll_interval
        claims = await self._claims.fetch(wanted)
        self._take(claims)
        self._hand_out()
        if len(claims) == wanted:
            more = self._handing_out.wanted(self.concurrency)
            return 0.0 if more > 0 else self._settings.poll_interval
        due = await self._database.run(next_due, self._settings.queue)
        return min(self._settings.poll_interval, max(0.001, due or self._settings.poll_interval))

    def _known(self) -> list[tuple[str, str]]:
        return [(each["workflow"], each["version"]) for each in self._crew.known_workflows]

    def _take(self, claims: Sequence[Claim]) -> None:
        known = {held.claim.id: held for held in self.held}
        for claim in claims:
            if claim.id in known:
                self._give_up(known[claim.id])
        self._handing_out.take(
            Held(claim, claim.lock_token, alone=claim.alone, is_fresh=not claim.begun_before)
            for claim in claims
        )

    def _give_up(self, earlier: Held) -> None:
        """Stop a run whose execution was claimed again; one that let go will soon say so itself."""
        lost = (earlier.claim.id, earlier.lock_token, Condemnation.CLAIM_LOST)
        if earlier in self._handing_out.ready:
            self.stop_body(*lost)
        else:
            asyncio.get_running_loop().call_later(WORD_ON_ITS_WAY, self.stop_body, *lost)

    def _hand_out(self) -> None:
        if not self._stopping and self._handing_out.hand_out(self.concurrency):
            self._push_state_soon()

    @property
    def held(self) -> set[Held]:
        """The executions that are claimed here."""
        return self._handing_out.held

    # what workers say, and how they end

    def _hear(self, station: Station, message: Message) -> None:
        if message.kind == messages.DONE:
            self._done(station, message.fields["done"])
            return
        run = message.fields.get("run")
        held = next((each for each in station.hand if each.run == run), None)
        if held is None:
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

    def _done(self, station: Station, done: list[tuple[int, str, float]]) -> None:
        for run, outcome, seconds in done:
            self._handing_out.done(seconds)
            over = station.is_over(run)
            self._crew.done(station, len(over))
            for held in over:
                self._is_over(station, held, outcome)
        self.look()

    def _is_over(self, station: Station, held: Held, outcome: str) -> None:
        held.body_ended(self._output(station) if held.condemned else [])
        if held.condemned is None:
            self._handing_out.drop(held)
            if outcome == Outcome.RELEASED:
                self._release([held])

    def _left(self, station: Station, left: Left, reason: ExitReason) -> None:
        for held in left.over:
            self._handing_out.drop(held)
        logs = self._output(station) if left.begun else []
        for held in left.begun:
            if self._stopping:
                held.body_ended(logs)  # it is released with the others: a stop counts nothing
            else:
                self._settling.death(held, reason, logs)
        self._returned(left.returned)
        self._push_state_soon()

    def _returned(self, executions: Sequence[Held]) -> None:
        self._handing_out.returned(executions)
        self.look()

    def _output(self, station: Station) -> list[dict[str, Any]]:
        return station.logs(self._settings.worker.max_log)

    def _release(self, executions: Sequence[Held]) -> None:
        claims = [(held.claim.id, held.lock_token) for held in executions]
        task = asyncio.ensure_future(self._settling.release(claims))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    def _release_surplus(self, executions: Sequence[Held]) -> None:
        """Give those that no worker is free for to whoever has one."""
        self._hand_out()
        surplus = [held for held in executions if held in self._handing_out.ready]
        for held in surplus:
            self._handing_out.ready.remove(held)
            self._handing_out.drop(held)
        if surplus:
            self._release(surplus)

    def stop_body(self, execution_id: str, lock_token: str | None, why: Condemnation) -> None:
        """Stop the bodies of an execution (all, or the one under a token): it is not ours now."""
        for held in tuple(self.held):
            if held.claim.id == execution_id and lock_token in (None, held.lock_token):
                self._stop_held(held, why)

    def _stop_held(self, held: Held, why: Condemnation) -> None:
        station = next((each for each in self._crew.stations if held in each.hand), None)
        if station is not None:
            self._returned(station.take_back())
        if held in self._handing_out.ready:
            self._handing_out.ready.remove(held)
            self.drop(held, None)
        elif station is not None and station.child is not None:
            self._settling.stop_body(held, station.child, why)

    # settling.Office

    async def run_operation(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a storage operation once; raises DatabaseUnreachable."""
        return await self._database.run(operation, *args, **options)

    def again(self, held: Held) -> None:
        """Hand an execution to the next idle worker, before any other."""
        self._handing_out.again(held)
        self._hand_out()
        self.look()

    def drop(self, held: Held, due_in: float | None) -> None:
        """Let go of an execution; ``due_in`` is when it may be claimed again."""
        self._handing_out.drop(held)
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
        if self.is_paused:
            self._handing_out.take_all_back()
        self.look()

    def catch_up(self) -> None:
        """Follow what the workers have begun without saying so."""
        for station in self._crew.stations:
            for held in station.catch_up():
                self._handing_out.drop(held)

    # the state that the tree shows

    def _push_state_soon(self) -> None:
        if self._push is None:
            self._push = asyncio.get_running_loop().call_later(PUSH_STATE_AFTER, self._push_state)

    def _push_state(self) -> None:
        self._push = None
        self.catch_up()
        self._link.send(
            STATE,
            {
                "role": "queue_manager",
                "queue": self._settings.queue,
                "concurrency": self.concurrency,
                "busy": sum(bool(station.hand) for station in self._crew.stations),
                "paused": self._operators and self._operators.paused,
                "children": self._crew.tree(),
            },
        )

    # the end

    async def _stop(self) -> None:
        """Let steps finish within the limit, give back what is left uncounted, and close."""
        self._stopping = True
        self._handing_out.stop()
        self._handing_out.take_all_back()
        limit = Deadline(self._settings.shutdown_timeout)
        await self._crew.stop(limit.remaining or 0.0)
        await self._settling.finish(SETTLE_AT_STOP_SECONDS)
        claims = [(held.claim.id, held.lock_token) for held in self.held]
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
