"""Expense approval: a form, and one signature or two, depending on the amount."""

from typing import Any

from durable_otp import Context, Workflow, goto, wait_for_all, wait_for_approval, wait_for_form

ONE_SIGNATURE_UP_TO = 500

approve_expense = Workflow("approve_expense")


@approve_expense.step
def describe(ctx: Context) -> dict[str, Any]:
    """Ask whoever spent the money what for; the answer is checked against the fields."""
    form = wait_for_form(
        "expense",
        fields=[
            {"name": "purpose", "type": "text", "label": "What for?", "required": True},
            {"name": "amount", "type": "number", "label": "How much?", "required": True},
        ],
        prompt=f"What did {ctx.input['employee']} spend?",
    )
    return {"purpose": form["purpose"], "amount": form["amount"]}


@approve_expense.decision(targets=["two_signatures"])
def choose_signatures(ctx: Context) -> Any:
    """Ask two people about large amounts."""
    return goto("two_signatures") if ctx["amount"] > ONE_SIGNATURE_UP_TO else None


@approve_expense.step
def one_signature(ctx: Context) -> Any:
    """Ask the manager."""
    ctx["decision"] = wait_for_approval("manager", prompt=f"{ctx['amount']} for {ctx['purpose']}?")
    return goto("outcome")


@approve_expense.step
def two_signatures() -> dict[str, Any]:
    """Wait for two events, which other systems send in any order."""
    signed = wait_for_all(["manager_signed", "cfo_signed"])
    both = all(each["approved"] for each in signed.values())
    return {"decision": "approved" if both else "rejected"}


with approve_expense.branch(lambda ctx: ctx["decision"], name="outcome") as outcome:
    with outcome.case("approved"):

        @approve_expense.step
        def record(ctx: Context) -> dict[str, Any]:
            """Pay it back."""
            return {"recorded": ctx["amount"]}

    with outcome.default():

        @approve_expense.step
        def deny(ctx: Context) -> dict[str, Any]:
            """Say no."""
            return {"denied": ctx["purpose"]}
