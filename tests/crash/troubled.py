"""More workflows that are swept: those that die, hang, are late, or fail with children at work."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from durable_otp import Context, Fatal, Retry, Workflow, wait_for_event
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


ALL: tuple[Workflow, ...] = (late, deadly, slow, stopped, failing, orphans)
