"""Drip e-mail: three letters, and waiting between them that holds no worker."""

from datetime import datetime

from durable_otp import Context, Workflow, next_business_day, schedule_at, sleep

ONE_DAY = 86_400

drip_emails = Workflow("drip_emails")


@drip_emails.step
def wait_for_the_morning(ctx: Context) -> None:
    """Wait for an instant: the one that is given, or nine o'clock of the next business day."""
    given = ctx.get("first_at")
    schedule_at(next_business_day(hour=9) if given is None else datetime.fromisoformat(given))


@drip_emails.step
def welcome(ctx: Context) -> None:
    """Send the first letter."""
    ctx.append("sent", f"Welcome, {ctx['name']}!")


@drip_emails.step
def rest(ctx: Context) -> None:
    """Wait for a duration."""
    sleep(ctx.get("pause", ONE_DAY))


@drip_emails.step
def explain(ctx: Context) -> None:
    """Send the second letter."""
    ctx.append("sent", "How it works")


@drip_emails.step
def rest_longer(ctx: Context) -> None:
    """Wait twice as long."""
    sleep(2 * ctx.get("pause", ONE_DAY))


@drip_emails.step
def remind(ctx: Context) -> None:
    """Send the last letter."""
    ctx.append("sent", f"Still there, {ctx['name']}?")
