"""The workflows of the suite, imported by the workers by this module's name.

The input says which slot of the probe a body marks; BENCH_PROBE says where the probe is.
"""

import os
import signal
from functools import cache
from typing import Any

from bench.probe import ENVIRONMENT, Probe
from durable_otp import Context, Workflow, sleep, wait_for_event

RESULT = {"charge_id": 12345, "ok": True}
STEPS = 5
EVENT = "go"
PID, BEGAN, AGAIN, PER_KILL = 0, 1, 2, 3  # a kill's slots
PLACE, PER_PLACE = 1, 2  # beside its mark: the process that a body ran in

noop = Workflow("noop")
five = Workflow("five")
sleeper = Workflow("sleeper")
receiver = Workflow("receiver")


@cache
def probe() -> Probe:
    """Return the probe of this run."""
    return Probe(path=os.environ[ENVIRONMENT])


@noop.step
def only(ctx: Context) -> None:
    """Mark, and that is all."""
    probe().mark(ctx.input["slot"])


placed = Workflow("placed")


@placed.step
def say_where(ctx: Context) -> None:
    """Mark, and say in which process."""
    slot = PER_PLACE * ctx.input["slot"]
    probe().mark(slot)
    probe().put(slot + PLACE, os.getpid())


def _return_something(ctx: Context) -> dict[str, Any]:
    """Mark this step's slot and return as much as a charge would."""
    probe().mark(ctx.input["slot"] * STEPS + int(ctx.step[-1]))
    return RESULT


for _number in range(STEPS):
    five.step(name=f"step{_number}")(_return_something)


@sleeper.step
def lie_down(ctx: Context) -> None:
    """Mark the moment before the sleep."""
    probe().mark(2 * ctx.input["slot"])


@sleeper.step
def get_up(ctx: Context) -> None:
    """Sleep, and mark the moment after it."""
    sleep(ctx.input["seconds"])
    probe().mark(2 * ctx.input["slot"] + 1)


@receiver.step
def listen(ctx: Context) -> None:
    """Mark the moment before the wait."""
    probe().mark(2 * ctx.input["slot"])


@receiver.step
def hear(ctx: Context) -> None:
    """Wait for the event, and mark the moment after it."""
    wait_for_event(EVENT)
    probe().mark(2 * ctx.input["slot"] + 1)


mortal = Workflow("mortal")


@mortal.step
def wait_to_be_killed(ctx: Context) -> None:
    """In the first attempt say who this is and wait; in the next one, mark and end."""
    slot = PER_KILL * ctx.input["slot"]
    if ctx.attempt > 1:
        probe().mark(slot + AGAIN)
        return
    probe().put(slot + PID, os.getpid())
    probe().mark(slot + BEGAN)
    while True:
        signal.pause()


WORKFLOWS = {
    workflow.name: workflow for workflow in (noop, placed, five, sleeper, receiver, mortal)
}
