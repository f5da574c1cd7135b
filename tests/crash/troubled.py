"""More workflows that are swept: those that die, hang, are late, or fail with children at work."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import psycopg

from durable_otp import Context, Fatal, Retry, Workflow, wait_for_event, wait_for_text
from tests.crash.workflows import noted

late = Workflow("late", timeout=60)


@late.step(name="hold", compensate="let_go")
def hold(ctx: Context) -> dict[str, Any]:
    return noted(ctx, held=True)


@late.step(name="in_vain")
def in_vain(ctx: Context) -> None:
    noted(ctx)
    wait_for_event("never")


@late.compensate(name="let_go")
def let_go(ctx: Context) -> None:
    noted(ctx)


deadly = Workflow("deadly", max_crashes=5)


@deadly.step(name="kills", compensate="kills_too")
def kills(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    _die_at_first(ctx)
    return {"lived": True}


@deadly.step(name="give_up")
def give_up(ctx: Context) -> None:
    noted(ctx)
    raise Fatal("as told")


@deadly.compensate(name="kills_too")
def kills_too(ctx: Context) -> None:
    noted(ctx)
    _die_at_first(ctx)


def _die_at_first(ctx: Context) -> None:
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


slow = Workflow("slow")
HANGING = 60.0
_TWICE = Retry(max_attempts=5, backoff="constant", base=0, jitter=0)


@slow.step(name="hangs", timeout=0.15, retry=_TWICE, compensate="hangs_too")
def hangs(ctx: Context) -> dict[str, Any]:
    noted(ctx)
    _hang_at_first(ctx)
    return {"done": True}


@slow.step(name="give_up")
def give_up_slowly(ctx: Context) -> None:
    noted(ctx)
    raise Fatal("as told")


@slow.compensate(name="hangs_too", timeout=0.15, retry=_TWICE)
def hangs_too(ctx: Context) -> None:
    noted(ctx)
    _hang_at_first(ctx)


def _hang_at_first(ctx: Context) -> None:
    if ctx.attempt == 1:
        time.sleep(HANGING)


stopped = Workflow("stopped")


@stopped.step(name="long")
def long(ctx: Context) -> dict[str, Any]:
    """Last until the world says that it is enough: longer than a stop waits."""
    noted(ctx)
    deadline = time.monotonic() + HANGING
    while not Path(ctx.input["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return {"over": True}


failing = Workflow("failing")


@failing.step(name="begin")
def begin(ctx: Context) -> dict[str, Any]:
    return noted(ctx, begun=True)


with failing.parallel(name="both"):

    @failing.step(name="fails")
    def fails(ctx: Context) -> None:
        noted(ctx)
        wait_for_event("fail")
        raise Fatal("as told")

    @failing.step(name="waits")
    def waits(ctx: Context) -> None:
        noted(ctx)
        wait_for_event("never")


orphans = Workflow("orphans", timeout=60)

with orphans.parallel(name="block"):

    @orphans.step(name="waiting")
    def waiting(ctx: Context) -> None:
        noted(ctx)
        wait_for_event("never")


books = Workflow("transaction")


@books.step(name="book", transaction=True)
def book(ctx: Context, connection: Any) -> dict[str, Any]:
    """Write something in the very transaction that records the step."""
    noted(ctx)
    _, ledger = ctx.input["ledger"]
    own = [ctx.execution_id, "booked"]
    connection.execute(f"INSERT INTO {ledger}.bookings VALUES (%s, %s)", own)
    return {"booked": True}


@books.step(name="count")
def count(ctx: Context) -> dict[str, Any]:
    """Tell how often it was written."""
    noted(ctx)
    dsn, ledger = ctx.input["ledger"]
    with psycopg.connect(dsn) as connection:
        asked = f"SELECT what FROM {ledger}.bookings WHERE execution = %s"
        return {"bookings": len(connection.execute(asked, [ctx.execution_id]).fetchall())}


two_answers = Workflow("answered meanwhile")


@two_answers.step(name="ask_both")
def ask_both(ctx: Context) -> dict[str, Any]:
    """Ask two things at a time; when one is answered, last until the other is."""
    noted(ctx)
    deadline = time.monotonic() + HANGING
    begun, end = (Path(ctx.input["gate"] + each) for each in (".begun", ".end"))
    while begun.exists() and not end.exists() and time.monotonic() < deadline:
        time.sleep(0.01)

    async def both() -> Any:
        async def one(name: str) -> Any:
            return wait_for_text(name)

        return await asyncio.gather(one("first"), one("second"))

    return {"answers": asyncio.run(both())}


ALL: tuple[Workflow, ...] = (late, deadly, slow, stopped, failing, orphans, books, two_answers)
