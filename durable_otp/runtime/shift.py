"""The workers at work: what they are handed, what they say of it, and what follows from that."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from durable_otp.engine.outcome import Outcome
from durable_otp.events import emit
from durable_otp.otp import ExitReason, Failed, Killed
from durable_otp.otp.link import Message
from durable_otp.runtime import messages
from durable_otp.runtime.apart import begins_apart
from durable_otp.runtime.batch import Batch
from durable_otp.runtime.crew import Crew
from durable_otp.runtime.handing_out import HandingOut
from durable_otp.runtime.held import Condemnation, Held
from durable_otp.runtime.messages import BegunReport
from durable_otp.runtime.out_of_memory import OutOfMemory
from durable_otp.runtime.settings import ManagerSettings
from durable_otp.runtime.settling import Settling
from durable_otp.runtime.station import Left, Station
from durable_otp.storage.connecting import describe_failure
from durable_otp.storage.queue import Claim

WORD_ON_ITS_WAY = 0.2
BY_US = Killed(by_supervisor=True)
LEAVES_NOTHING = (Outcome.COMPLETED, Outcome.COMPENSATED, Outcome.COMPENSATION_FAILED)
"""Ends after which nothing comes back to the queue unless it is notified."""
FAILURES = (Outcome.FAILED, Outcome.COMPENSATION_FAILED)


class Manager(Protocol):
    """What a shift needs of its manager."""

    @property
    def concurrency(self) -> int:
        """How many executions may be in flight."""

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is to begin."""

    async def run_operation(self, operation: Callable[..., Any], *args: Any) -> Any:
        """Run a storage operation once; raises DatabaseUnreachable."""

    def look(self) -> None:
        """Look at the queue soon, and show what has changed."""

    def have_room(self) -> None:
        """Look at the queue, unless it is known to be empty."""

    def look_later(self) -> None:
        """Show soon what has changed."""


class Shift:
    """Everything a manager has in hand; implements `settling.Office`."""

    def __init__(self, manager: Manager, settings: ManagerSettings) -> None:
        self._manager = manager
        self._settings = settings
        self.crew = Crew(settings, self._hear, self._left, self._returned, manager.look)
        self.handing_out = HandingOut(self.crew, self.catch_up, self._release_surplus)
        self.settling = Settling(self, settings.interrupt_grace, is_shared=settings.threads > 1)
        self.batch = Batch(manager, self._written, self._refused)
        self.writing = asyncio.ensure_future(self.batch.write_for_ever())
        self._memory = OutOfMemory()
        self._releasing: set[asyncio.Future[None]] = set()

    @property
    def held(self) -> set[Held]:
        """The executions that are claimed here."""
        return self.handing_out.held.union(self.batch.executions)

    def wanted(self) -> int:
        """Return how many executions to claim now."""
        return self.handing_out.wanted(self._manager.concurrency)

    def take(self, claims: Sequence[Claim], claimed_at: float) -> None:
        """Take what was claimed, and hand it out; ``claimed_at`` is when it was asked for."""
        known = {held.claim.id: held for held in self.held}
        for claim in claims:
            if claim.id in known:
                self._give_up(known[claim.id])
        taken = [
            Held(
                claim,
                claim.lock_token,
                claimed_at,
                alone=claim.alone,
                is_fresh=not claim.begun_before,
            )
            for claim in claims
        ]
        if self.crew.is_shared:
            for held in taken:
                most = self.description(held)["max_crashes"]
                held.apart = begins_apart(held.claim.crashes, most)
        self.handing_out.take(taken)
        self.hand_out()

    def hand_out(self) -> None:
        """Give what no worker has yet to those that have room."""
        if not self._manager.is_stopping and self.handing_out.hand_out(self._manager.concurrency):
            self._manager.look_later()

    def catch_up(self) -> None:
        """Follow what the workers have begun without saying so."""
        for station in self.crew.stations:
            self._catch_up_with(station)

    def _catch_up_with(self, station: Station) -> None:
        was_alone = any(held.is_kept_away for held in station.hand)
        over = station.catch_up()
        if was_alone and not any(held.is_kept_away for held in station.hand):
            self._manager.look()  # its neighbours may run now
        self._are_over(station, over)

    def _are_over(self, station: Station, over: Sequence[Held]) -> None:
        if over:
            self.crew.done(station, len(over))
        for held in over:
            self._is_over(station, held, None)

    def _give_up(self, earlier: Held) -> None:
        """Stop a run whose execution was claimed again; one that let go will soon say so itself."""
        lost = (earlier.claim.id, earlier.lock_token, Condemnation.CLAIM_LOST)
        if earlier in self.handing_out.ready:
            self.stop_body(*lost)
        else:
            asyncio.get_running_loop().call_later(WORD_ON_ITS_WAY, self.stop_body, *lost)

    # what workers say

    def _hear(self, station: Station, message: Message) -> None:
        if message.kind == messages.DONE:
            self._done(station, message.fields["done"])
            return
        run = message.fields.get("run")
        held = next((each for each in station.hand if each.run == run), None)
        if held is None:
            return
        match message.kind:
            case messages.STEP:
                self.batch.add(held, message)
            case messages.FLUSH:
                self._begin(self._answer_flush(station, held))
            case _:
                self._hear_of_body(station, held, message)

    def _hear_of_body(self, station: Station, held: Held, message: Message) -> None:
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
        was_alone = held.is_kept_away
        held.begin(report)
        if station.child is not None:
            held.start_timers(partial(self.settling.stop_body, held, station.child))
        if was_alone and not held.is_kept_away:
            self._manager.look()  # its neighbours may run now

    def _progressed(self, station: Station, held: Held) -> None:
        if station.child is not None:
            held.progressed(partial(self.settling.stop_body, held, station.child))

    async def _answer_flush(self, station: Station, held: Held) -> None:
        run = held.run
        await self.batch.settled(held)
        if station.child is not None:
            station.child.send(messages.FLUSHED, {"run": run})

    def _done(self, station: Station, done: list[tuple[int, str, float]]) -> None:
        for run, outcome, seconds in done:
            self.handing_out.done(seconds)
            station.told += 1
            station.failures += outcome in FAILURES
            over = station.is_over(run)
            self.crew.done(station, len(over))
            for held in over:
                self._is_over(station, held, outcome)
        is_waited_for = bool(self.handing_out.ready)
        if is_waited_for or any(outcome not in LEAVES_NOTHING for _, outcome, _ in done):
            self._manager.look()
        else:
            self._manager.have_room()

    def _is_over(self, station: Station, held: Held, outcome: str | None) -> None:
        held.body_ended(self._output(station) if held.condemned else [])
        if held.condemned is None:
            self.handing_out.drop(held)
            if outcome == Outcome.RELEASED:
                self._release([held])

    def _refused(self, held: Held, error: Exception) -> None:
        """Count a step that PostgreSQL will not take as a death of the worker that made it."""
        held.refusal = describe_failure(error)
        emit("step_refused", level=logging.ERROR, execution=held.claim.id, reason=held.refusal)
        station = next((each for each in self.crew.stations if held in each.hand), None)
        if station is None:
            self.handing_out.held.add(held)
            self.settling.death(held, Failed(code=1), [])
        elif station.child is not None:
            station.child.kill()

    def _written(self, held: Held, is_ours: bool) -> None:  # noqa: FBT001 - a callback's verdict
        if not is_ours:
            self.stop_body(held.claim.id, held.lock_token, Condemnation.CLAIM_LOST)

    # how their executions leave them

    def _left(self, places: Sequence[tuple[Station, Left]], reason: ExitReason) -> None:
        """Settle what was at a dead worker's places.

        When it was killed to stop one execution, its neighbours at the other places run again and
        nothing is counted; else nobody knows whose fault it was, and all are charged.
        """
        is_out_of_memory = isinstance(reason, Killed) and self._memory.has_struck()
        was_for_one = reason == BY_US and any(left.has_the_cause for _, left in places)
        for station, left in places:
            is_neighbour = was_for_one and not left.has_the_cause
            self._left_place(station, left, reason, is_neighbour=is_neighbour,
                             is_out_of_memory=is_out_of_memory)  # fmt: skip

    def _left_place(
        self,
        station: Station,
        left: Left,
        reason: ExitReason,
        *,
        is_neighbour: bool,
        is_out_of_memory: bool,
    ) -> None:
        for held in left.over:
            self._is_over(station, held, None)
        logs = self._output(station) if left.begun else []
        for held in left.begun:
            held.out_of_memory = is_out_of_memory
            if self._manager.is_stopping:
                held.body_ended(logs)  # it is released with the others: a stop counts nothing
            elif held.condemned is None and station.is_relieved and reason == BY_US:
                held.body_ended(logs)
                self.handing_out.drop(held)
                self._release([held])
            elif is_neighbour:
                self.settling.run_again(held)
            else:
                self.settling.death(held, reason, logs)
        self._returned(left.returned)

    def _returned(self, executions: Sequence[Held]) -> None:
        self.handing_out.returned(executions)
        self._manager.look()

    def _output(self, station: Station) -> list[dict[str, Any]]:
        return station.logs(self._settings.worker.max_log)

    def _release(self, executions: Sequence[Held]) -> None:
        self._begin(self._give_back(executions))

    async def _give_back(self, executions: Sequence[Held]) -> None:
        for held in executions:
            await self.batch.settled(held)
        await self.settling.release([(held.claim.id, held.lock_token) for held in executions])

    def _begin(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    def _release_surplus(self, executions: Sequence[Held]) -> None:
        """Give those that no worker is free for to whoever has one."""
        self.hand_out()
        surplus = [held for held in executions if held in self.handing_out.ready]
        for held in surplus:
            self.handing_out.ready.remove(held)
            self.handing_out.drop(held)
        if surplus:
            self._release(surplus)

    def stop_body(self, execution_id: str, lock_token: str | None, why: Condemnation) -> None:
        """Stop the bodies of an execution (all, or the one under a token): it is not ours now."""
        for held in tuple(self.handing_out.held):
            if held.claim.id == execution_id and lock_token in (None, held.lock_token):
                self._stop_held(held, why)

    def _stop_held(self, held: Held, why: Condemnation) -> None:
        station = next((each for each in self.crew.stations if held in each.hand), None)
        if station is not None:
            self._returned(station.take_back())
            self._are_over(station, station.passed())
            self._catch_up_with(station)
        if held in self.handing_out.ready:
            self.handing_out.ready.remove(held)
            self.drop(held, None)
        elif station is not None and station.child is not None and held in station.hand:
            self.settling.stop_body(held, station.child, why)

    # settling.Office

    async def run_operation(self, operation: Callable[..., Any], *args: Any) -> Any:
        """Run a storage operation once; raises DatabaseUnreachable."""
        return await self._manager.run_operation(operation, *args)

    async def committed(self, held: Held) -> None:
        """Return when every step that its worker has finished is committed."""
        await self.batch.settled(held)

    def again(self, held: Held) -> None:
        """Hand an execution to the next idle worker, before any other."""
        self.handing_out.again(held)
        self.hand_out()
        self._manager.look()

    def drop(self, held: Held, due_in: float | None) -> None:
        """Let go of an execution; ``due_in`` is when it may be claimed again."""
        self.handing_out.drop(held)
        if due_in is None or due_in <= 0:
            self._manager.look()
        else:
            asyncio.get_running_loop().call_later(due_in, self._manager.look)

    def description(self, held: Held) -> dict[str, Any]:
        """Return the published form of the execution's workflow."""
        wanted = (held.claim.workflow, held.claim.version)
        known = self.crew.known_workflows
        found = (each for each in known if (each["workflow"], each["version"]) == wanted)
        description: dict[str, Any] = next(found)["description"]
        return description

    # the end

    async def stop(self, seconds: float, settle_seconds: float) -> None:
        """Let steps finish within a limit, and see that what is finished is committed."""
        self.handing_out.stop()
        self.handing_out.take_all_back()
        await self.crew.stop(seconds)
        await self.settling.finish(settle_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(settle_seconds):
                for held in self.batch.executions:
                    await self.batch.settled(held)
                await asyncio.gather(*self._releasing)
        self.writing.cancel()
