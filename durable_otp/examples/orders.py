"""Orders: a payment provider that fails twice before it takes the money."""

import time
from typing import Any

from durable_otp import Context, Retry, Workflow

REFUSALS = 2

process_order = Workflow("process_order")


class PaymentError(Exception):
    """The provider did not answer as it should; the next attempt may do better."""


@process_order.step
def validate(ctx: Context) -> None:
    """Add up what the order is worth; what is put in the context is there for later steps."""
    ctx["total"] = sum(item["price"] for item in ctx.input["items"])


@process_order.step
def reserve(ctx: Context) -> None:
    """Put the goods aside."""
    work(0.3)
    ctx["reserved"] = len(ctx.input["items"])


@process_order.step(retry=Retry(max_attempts=6, backoff="constant", base=0.3), timeout=30)
def charge(ctx: Context) -> dict[str, Any]:
    """Take the money: ``idempotency_key`` is the same on every attempt of this step."""
    work(0.2)
    if ctx.attempt <= REFUSALS:
        print(f"payment refused on attempt {ctx.attempt}")  # noqa: T201 - kept as the step's log
        raise PaymentError(f"the provider refused attempt {ctx.attempt}")
    return {"charge_id": f"charge-{ctx.idempotency_key}"}


@process_order.step
def ship(ctx: Context) -> dict[str, Any]:
    """Send the parcel."""
    work(0.4)
    return {"shipped": ctx["reserved"]}


def work(seconds: float) -> None:
    """Stand in for a call that takes its time."""
    time.sleep(seconds)  # noqa: TID251 - a workflow's own code may block; this is what steps do
