"""Order fulfilment: a payment as a child, and what is undone when the parcel cannot be sent."""

import time
from typing import Any

from durable_otp import Context, Fatal, Workflow, call_workflow
from durable_otp.examples.payment import process_payment

fulfil_order = Workflow("fulfil_order")


@fulfil_order.step
def validate(ctx: Context) -> None:
    """Add up what the order is worth; what is put in the context is there for later steps."""
    ctx["total"] = sum(item["price"] for item in ctx.input["items"])


@fulfil_order.step(compensate="put_back")
def reserve(ctx: Context) -> dict[str, Any]:
    """Put the goods aside."""
    work(0.2)
    return {"reserved": len(ctx["items"])}


@fulfil_order.step(compensate="refund")
def pay(ctx: Context) -> dict[str, Any]:
    """Have the payment made, and wait for it without holding a worker."""
    paid = call_workflow(process_payment, {"amount": ctx["total"], "card": ctx["card"]})
    return {"charge_id": paid["charge_id"]}


@fulfil_order.step
def ship(ctx: Context) -> dict[str, Any]:
    """Send the parcel; when that fails for good, what was done before is undone."""
    work(0.3)
    if ctx.get("force_failure"):
        raise Fatal("The carrier does not deliver there.")
    return {"tracking": f"parcel-{ctx.idempotency_key}"}


@fulfil_order.compensate
def refund(ctx: Context) -> dict[str, Any]:
    """Undo ``pay``."""
    return {"refunded": ctx["charge_id"]}


@fulfil_order.compensate
def put_back(ctx: Context) -> dict[str, Any]:
    """Undo ``reserve``."""
    return {"put_back": ctx["reserved"]}


def work(seconds: float) -> None:
    """Stand in for a call that takes its time."""
    time.sleep(seconds)  # noqa: TID251 - a workflow's own code may block; this is what steps do
