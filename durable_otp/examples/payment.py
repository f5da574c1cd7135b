"""Payment: a provider that is out of order now and then, and a step that tries again."""

import zlib
from typing import Any

from durable_otp import Context, Fatal, Retry, Workflow

ATTEMPTS = 3

process_payment = Workflow("process_payment")


class ProviderError(Exception):
    """The provider did not answer; the next attempt may do better."""


@process_payment.step
def validate(ctx: Context) -> None:
    """Refuse what no attempt could charge: ``Fatal`` is not retried."""
    if ctx["amount"] <= 0:
        raise Fatal(f"An amount of {ctx['amount']} cannot be charged; it must be more than 0.")


@process_payment.step(
    retry=Retry(max_attempts=ATTEMPTS, backoff="exponential", base=0.2, max_backoff=5), timeout=30
)
def charge(ctx: Context) -> dict[str, Any]:
    """Take the money, once: ``idempotency_key`` is the same on every attempt of this step."""
    if ctx.attempt <= outages(ctx["card"]):
        print(f"no answer to attempt {ctx.attempt}")  # noqa: T201 - kept as the step's log
        raise ProviderError(f"The provider did not answer attempt {ctx.attempt}.")
    return {"charge_id": f"charge-{ctx.idempotency_key}"}


@process_payment.step
def write_receipt(ctx: Context) -> dict[str, Any]:
    """Confirm what was taken."""
    return {"receipt": f"{ctx['amount']} paid with {ctx['card']}"}


def outages(card: str) -> int:
    """Return how many attempts for a card fail: 0 to 3, by chance, but the same every time."""
    return zlib.crc32(card.encode()) % (ATTEMPTS + 1)
