"""Settling executions whose worker died, or whose body has to be stopped.

Every way ends in a decision of the database (`storage.settlement`), and begins with a new lock
token that is committed before anything else is asked: what the old holder still sends then counts
for nothing. A body is stopped in three steps: an interrupt that it can take between two bytecodes,
a grace for its `finally` blocks, SIGKILL to its process group. One that is inside a C call takes no
interrupt and has no `finally` to run, so it is killed as soon as that is seen.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from durable_otp.clock import Deadline
from durable_otp.errors import DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.otp import ExitReason, Failed, Killed, Shutdown
from durable_otp.otp.interruption import SIGNAL, ignores_interrupt, main_thread_activity
from durable_otp.otp.process import Child
from durable_otp.runtime import messages
from durable_otp.runtime.apart import begins_apart
from durable_otp.runtime.held import Condemnation, Held
from durable_otp.runtime.messages import BegunReport
from durable_otp.storage.families import children_ended
from durable_otp.storage.settlement import (
    COMPENSATION,
    LostAttempt,
    Verdict,
    condemn,
    release,
    settle_crash,
    settle_timeout,
)

CRASH_BACKOFF_SECONDS = 0.5
FREE_DEATHS_BEFORE_BEGUN = 2
LOOK_EVERY_SECONDS = 0.01
DEAF_LOOKS = 2  # what a body says as it takes the interrupt is heard before the second look

LogEntries = list[dict[str, Any]]


class Office(Protocol):
    """What settling needs of the manager."""

    async def run_operation(self, operation: Callable[..., Any], *args: Any) -> Any:
        """Run a storage operation once; raises DatabaseUnreachable."""

    async def committed(self, held: Held) -> None:
        """Return when every step that its worker has finished is committed."""

    def again(self, held: Held) -> None:
        """Hand an execution to the next idle worker."""

    def drop(self, held: Held, due_in: float | None) -> None:
        """Let go of an execution; ``due_in`` is when it may be claimed again."""

    def description(self, held: Held) -> dict[str, Any]:
        """Return the published form of the execution's workflow."""


class Settling:
    """Carries out settlements, each as a task of its own.

    ``is_shared`` says that a worker has several executions in hand: killing it costs the others
    their step, so a body there always has the whole grace. ``defect`` carries the exception of one
    that could not be carried out: the manager ends by it.
    """

    def __init__(self, office: Office, interrupt_grace: float, *, is_shared: bool = False) -> None:
        self._office = office
        self._grace = interrupt_grace
        self._is_shared = is_shared
        self._tasks: set[asyncio.Task[None]] = set()
        self.defect: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def death(self, held: Held, reason: ExitReason, logs: LogEntries) -> None:
        """Settle an execution whose worker has just been reaped."""
        held.body_ended(logs)
        if held.condemned is None:
            self._begin(self._settle_death(held, reason))

    def run_again(self, held: Held) -> None:
        """Settle an execution whose worker was killed because of a neighbour: it counts nothing."""
        held.body_ended([])
        self._begin(self._run_again(held))

    def stop_body(self, held: Held, child: Child, why: Condemnation) -> None:
        """Stop a body and settle what is to be settled; does nothing if that goes on already."""
        if held.condemned is None:
            held.stop_timer()
            held.condemned = why
            self._begin(self._condemn(held, child, why))

    async def finish(self, seconds: float) -> None:
        """Wait until everything that goes on is settled, at most so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.defect.done():
            self.defect.set_exception(error)

    # deaths

    async def _settle_death(self, held: Held, reason: ExitReason) -> None:
        await self._office.committed(held)
        if not await self._take_over(held):
            self._office.drop(held, None)  # it had ended, or was taken away, before the death
        elif held.begun is None and self._is_free(held):
            held.rerun()
            self._office.again(held)
        else:
            description = self._office.description(held)
            attempt = _crashed(held, reason, first=description["nodes"][0]["path"])
            most, tokens = description["max_crashes"], held.change_token()
            verdict = await self._until_done(
                settle_crash, held.claim.id, tokens, attempt, most, CRASH_BACKOFF_SECONDS
            )
            held.token_changed()
            if self._is_shared and verdict is not None and begins_apart(verdict.crashes, most):
                held.begin_apart()
            self._follow(held, verdict)
            await self._tell(verdict)

    async def _run_again(self, held: Held) -> None:
        await self._office.committed(held)
        if await self._take_over(held):
            held.rerun()
            self._office.again(held)
        else:
            self._office.drop(held, None)

    async def _take_over(self, held: Held) -> bool:
        """Change the lock token; return whether the row was still ours."""
        is_ours = await self._until_done(condemn, held.claim.id, *held.change_token())
        held.token_changed()
        return bool(is_ours)

    def _is_free(self, held: Held) -> bool:
        """Return whether a death before the body had begun is nobody's fault: two are."""
        held.deaths_before_begun += 1
        return held.deaths_before_begun <= FREE_DEATHS_BEFORE_BEGUN

    def _follow(self, held: Held, verdict: Verdict | None) -> None:
        if verdict is None:
            self._office.drop(held, None)
            return
        emit("execution_settled", execution=held.claim.id, status=verdict.status,
             crashes=verdict.crashes)  # fmt: skip
        if verdict.is_held:
            held.rerun()
            self._office.again(held)
        else:
            is_over = verdict.status == "failed"
            self._office.drop(held, None if is_over else verdict.due_in)

    async def _tell(self, verdict: Verdict | None) -> None:
        """Tell the parent of a child that has ended."""
        if verdict is not None and verdict.parents:
            await self._until_done(children_ended, verdict.parents)

    # bodies that have to stop

    async def _condemn(self, held: Held, child: Child, why: Condemnation) -> None:
        report = held.begun
        emit("body_stopped", execution=held.claim.id, why=why.value, pid=child.pid,
             step=report.path if report else "")  # fmt: skip
        stopped = asyncio.ensure_future(self._stop(held, child, why))
        if why.ends_attempt:
            await self._office.committed(held)
        is_ours = why.ends_attempt and await self._take_over(held)
        await stopped
        if not is_ours or report is None:
            self._office.drop(held, None)
            return
        verdict = await self._until_done(
            settle_timeout,
            held.claim.id,
            held.lock_token,
            _timed_out(held, report),
            report.retry_after_timeout,
        )
        self._follow(held, verdict)
        await self._tell(verdict)

    async def _stop(self, held: Held, child: Child, why: Condemnation) -> None:
        """Interrupt, wait for the grace, kill; return when the body is certainly over.

        Where a claim is gone, the worker may be at the end of its own work on it (telling a parent
        of its end), deaf as one in a C call: it has the whole grace.
        """
        has_whole_grace = self._is_shared or why is Condemnation.CLAIM_GONE
        before = None if has_whole_grace else main_thread_activity(child.pid)
        child.send(messages.INTERRUPT, {"run": held.run})
        if not self._is_shared:  # there the worker's main thread passes the message on
            child.signal(SIGNAL)
        grace = Deadline(self._grace)
        looks = 0
        while not held.body_over.is_set() and not grace.passed and looks < DEAF_LOOKS:
            await _wait(held.body_over, min(LOOK_EVERY_SECONDS, self._grace))
            after = main_thread_activity(child.pid)
            is_deaf = before is not None and after is not None and ignores_interrupt(before, after)
            looks = looks + 1 if is_deaf and not held.is_leaving else 0
        if held.is_leaving:
            await _wait(held.body_over, grace.remaining)
        if not held.body_over.is_set():
            child.kill()
            await held.body_over.wait()

    async def _until_done(self, operation: Callable[..., Any], *args: Any) -> Any:
        """Run an operation until the database has answered it."""
        delay = 0.05
        while True:
            try:
                return await self._office.run_operation(operation, *args)
            except DatabaseUnreachable:
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)

    async def release(self, claims: list[tuple[str, str]]) -> None:
        """Give claims back uncounted, if the database answers now; else their time-out will."""
        try:
            await self._office.run_operation(release, claims)
        except DatabaseUnreachable as error:
            emit("claims_not_released", count=len(claims), reason=str(error))


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def crash_error(held: Held, reason: ExitReason) -> dict[str, Any]:
    """Return the error of an execution whose worker died; pure."""
    where = f"{_place(held.begun)}, attempt {held.begun.attempt}" if held.begun else "its start"
    fact: dict[str, Any]
    match reason:
        case _ if held.refusal:
            how = f"was stopped because PostgreSQL refused a finished step ({held.refusal})"
            fact = {"refusal": held.refusal}
        case Killed() if held.out_of_memory:
            how = "was killed by the kernel, which was out of memory,"
            fact = {"signal": "SIGKILL", "out_of_memory": True}
        case Killed():
            how, fact = "was killed by SIGKILL", {"signal": "SIGKILL"}
        case Shutdown(term=None):
            how, fact = "was ended by SIGTERM", {"signal": "SIGTERM"}
        case Failed(signal=str(signal)):
            how, fact = f"died of {signal}", {"signal": signal}
        case Failed(code=int(code)):
            how, fact = f"exited with code {code}", {"exit_code": code}
        case _:
            how, fact = "exited with code 0", {"exit_code": 0}
    return {
        "type": "worker_crashed",
        "message": f"The worker process {how} in {where}.",
        "stacktrace": None,
        **fact,
    }


def _place(report: BegunReport) -> str:
    """Return what a message calls the code that ran."""
    if report.type == COMPENSATION:
        return f"compensation {report.name!r} of step {report.path!r}"
    return f"step {report.path!r}"


def _crashed(held: Held, reason: ExitReason, first: str) -> LostAttempt:
    report = held.begun
    path = report.path if report else held.claim.current_step or first
    return LostAttempt(
        path=path,
        name=report.name if report else path.rpartition("/")[2],
        type=report.type if report else "step",
        visit=report.visit if report else 1,
        number=report.attempt if report else 1,
        duration=held.duration,
        error=crash_error(held, reason),
        logs=held.output,
        peak_rss=held.peak_rss,
        process=held.process,
    )


def _timed_out(held: Held, report: BegunReport) -> LostAttempt:
    broken = (
        f"reported no progress within its deadline of {report.progress_deadline} s"
        if held.condemned is Condemnation.NO_PROGRESS
        else f"did not end within its timeout of {report.timeout} s"
    )
    place = _place(report)
    message = f"{place[0].upper()}{place[1:]} {broken} (attempt {report.attempt})."
    return LostAttempt(
        path=report.path,
        name=report.name,
        type=report.type,
        visit=report.visit,
        number=report.attempt,
        duration=held.duration,
        error={"type": "step_timeout", "message": message, "stacktrace": None},
        logs=held.output,
        peak_rss=held.peak_rss,
        process=held.process,
    )
