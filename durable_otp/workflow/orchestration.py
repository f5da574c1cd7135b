"""Calling other workflows from a step: a child that is waited for, or one that is not."""

from datetime import timedelta
from typing import Any

from durable_otp.durations import in_seconds
from durable_otp.errors import ChildFailed, ConfigError, WaitTimeout
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.child_call import COMPLETED, TIMED_OUT, ChildEnd, ChildOptions
from durable_otp.workflow.current import step_run
from durable_otp.workflow.json_form import canonical
from durable_otp.workflow.options import LONGEST_DURATION, LONGEST_NAME, LONGEST_QUEUE_NAME
from durable_otp.workflow.suspension import NO_VALUE, WaitRequest

_PRIORITIES = range(-(2**31), 2**31)


def call_workflow(  # noqa: PLR0913 - the contract's options, by keyword
    workflow: Workflow | str,
    input: Any = None,  # noqa: A002 - the contract's name
    *,
    ref: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
    timeout: timedelta | float | None = None,
    timeout_value: Any = NO_VALUE,
) -> dict[str, Any]:
    """Run another workflow and return its final context; wait for it outside any worker.

    The child is created together with the wait. A completed child is kept over the attempts of the
    step; one that failed belongs to the attempt that saw it, and the next attempt calls afresh.

    Args:
        workflow: A ``Workflow``, or the name of one: the version registered last here, else the
            one that was published last.
        input: Anything with a JSON form that fits the workflow's ``input`` type.
        ref: The child's name within this execution; a call with the same name is the same child.
            By default a child is known by the order of the calls in its step's visit.
        queue: Another queue than the workflow's.
        priority: Another priority than the workflow's.
        timeout: How long to wait (a ``timedelta`` or seconds); the child is cancelled then.
        timeout_value: What is returned when that time has passed.

    Raises:
        ChildFailed: It ended in another way than by completing.
        WaitTimeout: The time has passed, and there is no ``timeout_value``.
        WorkflowNotFound: No workflow of this name is known or published.
        InvalidInput: The input does not fit the workflow's type.
        SerializationError: The input has no JSON form.
        ConfigError: The queue's name is not one.
        ValueError: Another option is not what it should be.
        NotInStepError: No step is running.
    """
    run = step_run("call_workflow()")
    has_value = timeout_value is not NO_VALUE
    options = ChildOptions(
        queue=_checked_queue(queue),
        priority=_checked_priority(priority),
        ref=_checked_ref(ref),
        patience=_checked_timeout(timeout),
        has_timeout_value=has_value,
        timeout_value=canonical(timeout_value, what="timeout_value") if has_value else None,
    )
    child = run.children.prepared(workflow, input, options)
    end: ChildEnd = run.wait(
        WaitRequest(kind="child", names=() if ref is None else (ref,), child=child)
    )
    answer: dict[str, Any] = _answer(end)
    return answer


def start_workflow(
    workflow: Workflow | str,
    input: Any = None,  # noqa: A002 - the contract's name
    *,
    ref: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
) -> str:
    """Start another workflow, wait for nothing, and return the execution's id.

    It is started once, however often the step runs, and is nobody's child: it is not cancelled with
    the execution that started it. See ``call_workflow`` for the arguments.

    Raises:
        WorkflowNotFound: No workflow of this name is known or published.
        InvalidInput: The input does not fit the workflow's type.
        SerializationError: The input has no JSON form.
        ConfigError: The queue's name is not one.
        ValueError: Another option is not what it should be.
        NotInStepError: No step is running.
    """
    children = step_run("start_workflow()").children
    options = ChildOptions(_checked_queue(queue), _checked_priority(priority), _checked_ref(ref))
    return children.start(children.prepared(workflow, input, options))


def _answer(end: ChildEnd) -> Any:
    if end.status == COMPLETED:
        return end.context
    if end.status != TIMED_OUT:
        reason = (end.error or {}).get("message") or "no reason is recorded"
        raise ChildFailed(
            f"Workflow {end.workflow!r}, called as execution {end.execution_id}, is {end.status}: "
            f"{reason}",
            error=end.error,
            status=end.status,
            execution_id=end.execution_id,
        )
    if end.has_timeout_value:
        return end.timeout_value
    raise WaitTimeout(
        f"Workflow {end.workflow!r}, called as execution {end.execution_id}, did not end in time "
        "and was cancelled."
    )


def _checked_queue(queue: Any) -> str | None:
    if queue is None:
        return None
    if isinstance(queue, str) and queue.isprintable() and 0 < len(queue) <= LONGEST_QUEUE_NAME:
        return queue
    raise ConfigError(
        f"queue {queue!r} is not a queue name; use 1 to {LONGEST_QUEUE_NAME} printable characters."
    )


def _checked_priority(priority: Any) -> int | None:
    if priority is None or (type(priority) is int and priority in _PRIORITIES):
        return priority
    raise ValueError(f"priority must be a whole number that fits in 32 bits, not {priority!r}.")


def _checked_ref(ref: Any) -> str | None:
    if ref is None or (isinstance(ref, str) and ref.isprintable() and 0 < len(ref) <= LONGEST_NAME):
        return ref
    raise ValueError(
        f"ref must be a text of 1 to {LONGEST_NAME} printable characters, not {ref!r}."
    )


def _checked_timeout(timeout: Any) -> float | None:
    if timeout is None:
        return None
    seconds = in_seconds(timeout, what="call_workflow's timeout")
    if not 0 < seconds <= LONGEST_DURATION:
        raise ValueError(
            "call_workflow's timeout must be more than zero and at most 100 years, "
            f"not {timeout!r}."
        )
    return seconds
