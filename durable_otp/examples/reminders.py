"""Reminders: a step that waits in the database, and takes up no worker meanwhile."""

from typing import Any

from durable_otp import Context, Workflow, seconds, sleep

send_reminder = Workflow("send_reminder")


@send_reminder.step
def compose(ctx: Context) -> dict[str, Any]:
    """Write the text."""
    return {"text": f"Dear {ctx.input['name']}, your parcel is on its way."}


@send_reminder.step
def wait_a_little() -> None:
    """Leave the worker; the execution comes back when the time is over, whatever happens."""
    sleep(seconds(2))


@send_reminder.step
def deliver(ctx: Context) -> dict[str, Any]:
    """Send it."""
    return {"delivered": len(ctx["text"])}
