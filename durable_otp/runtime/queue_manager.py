"""A queue manager: claims executions for its idle workers, and answers for what it has claimed.

One event loop, in which nothing waits for PostgreSQL: deaths, timeouts and orders to stop are seen
to while every statement hangs. Two connections: one for statements, one that listens. What its
workers do is in `shift`, how they come and go in `crew`, which execution goes to whom in
`handing_out`, how one is settled in `settling`, what PostgreSQL is told unasked in `upkeep`.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.errors import ConfigError, DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.otp import AsyncParentLink, InitError, ParentLink, Shutdown, StartFailed, loop
from durable_otp.otp.link import STATE, Message
from durable_otp.otp.process import close_in_children
from durable_otp.otp.title import set_title
from durable_otp.runtime import messages, worker_orders
from durable_otp.runtime.carried import take_up_codecs
from durable_otp.runtime.claims import AdapterClaims, Claims, DatabaseClaims
from durable_otp.runtime.held import Condemnation, Held
from durable_otp.runtime.passed_over import PassedOver
from durable_otp.runtime.settings import ManagerSettings
from durable_otp.runtime.shift import Shift
from durable_otp.runtime.upkeep import Upkeep
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.identity import new_id
from durable_otp.storage.nodes import ManagerId, QueueSettings
from durable_otp.storage.payloads import Untouched
from durable_otp.storage.queue import next_due

STATEMENT_DEADLINE = 10.0
SETTLE_AT_STOP_SECONDS = 3.0
PUSH_STATE_AFTER = 0.05
LONGEST_SLEEP = 300.0
"""Whatever `poll_interval` is: nobody is told of a start that is due later than this."""
RETRY_AFTER_FAILURE = 0.5
SUPERVISION = {"strategy": "one_for_one", "on_exceeded": "shutdown"}
GAVE_UP = "workers died too often"


def queue_manager(parent: ParentLink, settings: ManagerSettings) -> None:
    """Be the manager of a queue until told to stop."""
    set_title(f"{settings.title} queue {settings.queue}")
    loop.run(parent, partial(_manage, parent), settings)


async def _manage(parent: ParentLink, link: AsyncParentLink, settings: ManagerSettings) -> None:
    manager = QueueManager(link, settings)
    await manager.run()
    if manager.has_given_up:  # its supervisor, and whoever looks at the tree, is told why
        await link.flush()
        parent.exit(Shutdown(GAVE_UP))


class QueueManager:
    """The program of a manager's event loop; implements `shift.Manager` and `upkeep.Holder`."""

    def __init__(self, link: AsyncParentLink, settings: ManagerSettings) -> None:
        self._link = link
        self._settings = settings
        self.id = ManagerId(new_id(), settings.node_id, settings.queue)
        self._database = _database(settings, settings.database.dsn, "claims")
        self._claims = _claims(settings, self._database, self.id)
        self._shift = Shift(self, settings)
        self._crew = self._shift.crew
        listener = _database(settings, settings.database.listening_dsn, "listen")
        self._upkeep = Upkeep(self, settings, self._claims, listener)
        self._passed_over = PassedOver()
        self._wake = asyncio.Event()
        self._nothing_until = 0.0
        """Until when, by the monotonic clock, the queue has nothing that was not notified."""
        self._operators: QueueSettings | None = None  # not read yet
        self._stopping = False
        self.has_given_up = False
        self._push: asyncio.TimerHandle | None = None
        self._orders: set[asyncio.Task[None]] = set()

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
        duties = [*self._upkeep.duties(), self._shift.settling.defect]
        tasks = [claiming, *(asyncio.ensure_future(work) for work in (*ends, *duties))]
        try:
            done, _ = await asyncio.wait(
                [*tasks, self._shift.writing], return_when=asyncio.FIRST_COMPLETED
            )
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
            self.has_given_up = True
            emit("manager_gave_up", queue=self._settings.queue, reason=GAVE_UP)

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

    @property
    def _is_limited(self) -> bool:
        """Whether something holds for the queue over all nodes."""
        return self._operators is not None and self._operators.is_limited

    def look(self) -> None:
        """Have the queue looked at soon: something changed, or something was notified."""
        self._nothing_until = 0.0
        self._wake.set()
        self._push_state_soon()

    def have_room(self) -> None:
        """Have the queue looked at, unless it was just found empty and nothing was notified."""
        if monotonic() >= self._nothing_until:
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
            delay = min(delay, self._upkeep.patience, LONGEST_SLEEP)
            if delay > 0 and not self._stopping:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._wake.wait()

    async def _claim_once(self) -> float:
        """Claim for the workers that have room; return for how long there is nothing to do."""
        await self._upkeep.after_reconnect(self._database)
        self._shift.hand_out()
        wanted = 0 if self.is_paused else self._shift.wanted()
        if wanted <= 0:
            return self._settings.poll_interval
        asked_at = monotonic()
        fetched = await self._claims.fetch(wanted, is_limited=self._is_limited)
        self._shift.take(fetched.claims, asked_at)
        if fetched.more_in is not None:
            return min(self._settings.poll_interval, fetched.more_in)
        if len(fetched.claims) == wanted:
            return 0.0 if self._shift.wanted() > 0 else self._settings.poll_interval
        due = await self._database.run(next_due, self._settings.queue, self._known())
        again = self._passed_over.rest(is_anything=due.passed_over)
        rest = min(self._settings.poll_interval, again, max(0.001, due.seconds or again))
        if not self._wake.is_set():
            self._nothing_until = monotonic() + rest
        return rest

    def _known(self) -> list[tuple[str, str]]:
        return [(each["workflow"], each["version"]) for each in self._crew.known_workflows]

    # upkeep.Holder and shift.Manager

    @property
    def held(self) -> Collection[Held]:
        """The executions that are claimed here."""
        return self._shift.held

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is to begin."""
        return self._stopping

    def catch_up(self) -> None:
        """Follow what the workers have begun without saying so."""
        self._shift.catch_up()

    def trim_output(self) -> None:
        """Give back the memory of output that will not be kept."""
        for station in self._crew.stations:
            if station.hand:
                station.output.trim(self._settings.worker.max_log)

    def stop_body(self, execution_id: str, lock_token: str | None, why: Condemnation) -> None:
        """Stop what runs of an execution."""
        self._shift.stop_body(execution_id, lock_token, why)

    async def run_operation(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a storage operation once; raises DatabaseUnreachable."""
        return await self._database.run(operation, *args, **options)

    # orders

    def _obey(self, message: Message) -> None:
        if message.kind == messages.LOOK:
            self._upkeep.settings_changed()
        elif message.kind == messages.FINISH:
            self._link.stopping.set()
        elif message.kind == messages.ORDER:
            task = asyncio.get_running_loop().create_task(self._carry_out(message))
            self._orders.add(task)
            task.add_done_callback(self._orders.discard)

    async def _carry_out(self, order: Message) -> None:
        """Do what operators order one of the workers to do, and answer."""
        answer = await worker_orders.carry_out(self._crew, self._settings.queue, order)
        self._link.send(messages.ANSWER, answer)

    def set_by_operators(self, settings: QueueSettings) -> None:
        """Follow what operators have set: pause, and how many to run."""
        if settings == self._operators:
            return
        self._operators = settings
        self._crew.resize(self.concurrency)
        self._shift.handing_out.one_each = settings.is_limited
        if self.is_paused:
            self._shift.handing_out.take_all_back()
        self.look()

    # the state that the tree shows

    def look_later(self) -> None:
        """Show soon what has changed."""
        self._push_state_soon()

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
                "workers_budget": self._crew.budget(),
                "supervision": SUPERVISION,
                "children": self._crew.tree(),
                **({"threads": self._settings.threads} if self._settings.threads > 1 else {}),
            },
        )

    # the end

    async def _stop(self) -> None:
        """Let steps finish within the limit, give back what is left uncounted, and close."""
        self._stopping = True
        await self._shift.stop(self._settings.shutdown_timeout, SETTLE_AT_STOP_SECONDS)
        claims = [(held.claim.id, held.lock_token) for held in self.held]
        with suppress(TimeoutError, DatabaseUnreachable):
            async with asyncio.timeout(SETTLE_AT_STOP_SECONDS):
                await self._upkeep.leave(claims, self._database)
        await self._database.close()


def _database(settings: ManagerSettings, dsn: str, purpose: str) -> AsyncDatabase:
    return AsyncDatabase(
        dsn,
        settings.database.schema,
        role=f"manager {settings.queue} {purpose}",
        deadline=STATEMENT_DEADLINE,
        codecs=Untouched(take_up_codecs(settings.database.codecs)),
    )


def _claims(settings: ManagerSettings, database: AsyncDatabase, manager: ManagerId) -> Claims:
    if settings.adapter is None:
        return DatabaseClaims(database, settings.queue, manager.id)
    return AdapterClaims(settings, manager.id)
