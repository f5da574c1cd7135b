"""Payment reconciliation: what the bank says, or five minutes without a word."""

from typing import Any

from durable_otp import Context, Workflow, goto, minutes, wait_for_event

reconcile_payment = Workflow("reconcile_payment")


@reconcile_payment.step
def wait_for_the_bank() -> dict[str, Any]:
    """Wait for the bank's message; a timeout is an answer like others."""
    settlement = wait_for_event(
        "settlement", timeout=minutes(5), timeout_value={"status": "no answer"}
    )
    return {"settlement": settlement}


@reconcile_payment.decision(targets=["report_failure"])
def check(ctx: Context) -> Any:
    """Go on when the money is there, and nowhere near the books when it is not."""
    return None if ctx["settlement"]["status"] == "settled" else goto("report_failure")


@reconcile_payment.step
def reconcile(ctx: Context) -> Any:
    """Book what has arrived."""
    ctx["difference"] = ctx["settlement"]["amount"] - ctx["expected"]
    return goto("close")


@reconcile_payment.step
def report_failure(ctx: Context) -> dict[str, Any]:
    """Tell somebody."""
    return {"failure": f"{ctx['payment']}: {ctx['settlement']['status']}"}


@reconcile_payment.step
def close(ctx: Context) -> dict[str, Any]:
    """Come here on every way."""
    return {"is_reconciled": "failure" not in ctx}
