"""Running a step's body once, and turning however it ends into a value.

This is the one place where any exception of user code is caught.
"""

import asyncio
from logging import WARNING
from typing import Any

from durable_otp.engine.failure import BranchError, describe
from durable_otp.engine.host import Host
from durable_otp.engine.outcome import AttemptEnd, Interrupted, Raised, Returned, Suspended
from durable_otp.engine.step_run import StepRun
from durable_otp.errors import StepInterrupted, text_of
from durable_otp.events import emit
from durable_otp.workflow.current import entering
from durable_otp.workflow.goto import Goto
from durable_otp.workflow.json_form import canonical
from durable_otp.workflow.nodes import Branch, Step
from durable_otp.workflow.suspension import Suspension


def run_node(node: Step | Branch, run: StepRun, host: Host, max_payload: int) -> AttemptEnd:
    """Run a node's code once, and return how it ended. Blocks as long as the code does."""
    if isinstance(node, Branch):
        return _run_branch(node, run, host, max_payload)
    return run_step(node, run, host, max_payload)


def _run_branch(branch: Branch, run: StepRun, host: Host, max_payload: int) -> AttemptEnd:
    """Ask a branch for its value; what its function does to the context is left out."""
    try:
        with entering(run), host.interruptible():
            value = branch.on(run.context) if branch.takes_context else branch.on()
        what = f"the value of branch {branch.path!r}"
        return Returned(canonical(value, what=what, max_bytes=max_payload), ())
    except BaseException as error:  # noqa: BLE001 - the border between user code and the engine
        if isinstance(error, StepInterrupted) and host.interrupted:
            return Interrupted()
        refused = BranchError(
            f"branch {branch.path!r} cannot choose: {type(error).__name__}: {text_of(error)}"
        )
        refused.__cause__ = error
        return Raised(describe(refused), may_retry=False)


def run_step(step: Step, run: StepRun, host: Host, max_payload: int) -> AttemptEnd:
    """Run a step's body.

    A body that ends in any way after a wait suspended it counts as suspended.
    """
    try:
        with entering(run), host.interruptible():
            returned = _call(step, run)
        if run.changed is not None or run.suspensions:
            return _left_by_a_wait(step, run, None)
        if isinstance(returned, Goto):
            return Returned({"goto": returned.target}, run.context.changes(), jump=returned.target)
        output = canonical(
            returned, what=f"the result of step {step.name!r}", max_bytes=max_payload
        )
        keep(step, run, output)
        return Returned(output, run.context.changes())
    except BaseException as error:  # noqa: BLE001 - the border between user code and the engine
        if isinstance(error, StepInterrupted) and host.interrupted:
            return Interrupted()  # else the body has raised it by itself
        if run.changed is not None or run.suspensions:
            return _left_by_a_wait(step, run, error)
        return Raised(describe(error), may_retry=_may_retry(step, error, run))


def keep(step: Step, run: StepRun, output: Any) -> None:
    """Keep what a step returned in the context, as API section 1 says."""
    if output is None:
        return
    if step.returns is not None:
        run.context.settle({step.returns: output})
    elif isinstance(output, dict):
        run.context.settle(output)
    else:
        run.context.settle({step.name: output})


def _call(step: Step, run: StepRun) -> Any:
    arguments: tuple[Any, ...] = (run.context,) if step.takes_context else ()
    if step.transaction:
        arguments += (run.connection,)
    if step.is_async:
        return asyncio.run(step.function(*arguments))
    return step.function(*arguments)


def _may_retry(step: Step, error: BaseException, run: StepRun) -> bool:
    if not isinstance(error, Exception):
        return False
    return step.retry.allows(error, run.failures_after_this)


def _left_by_a_wait(step: Step, run: StepRun, error: BaseException | None) -> AttemptEnd:
    """Return the end of a body that a wait has suspended or refused, however it went on then."""
    if run.changed is not None:
        return Raised(describe(run.changed), may_retry=False)
    if not isinstance(error, Suspension | BaseExceptionGroup):
        # The wait was raised and the body went on: its author should know.
        emit("suspension_swallowed", level=WARNING, step=step.path, line=run.suspended_at)
    return Suspended(tuple(run.suspensions))
