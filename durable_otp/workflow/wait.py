"""The waits a step may call; each says what it waits for and lets the run decide.

An answered wait returns at once; any other raises ``Suspension``: the execution leaves its worker,
and the body runs again from its top when it wakes. A wait whose time is over returns its
``timeout_value``, or raises ``WaitTimeout`` without one.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack, cast

from durable_otp.durations import in_seconds
from durable_otp.workflow.current import step_run
from durable_otp.workflow.human_input import question
from durable_otp.workflow.json_form import canonical
from durable_otp.workflow.options import LONGEST_DURATION, LONGEST_NAME
from durable_otp.workflow.suspension import NO_VALUE, OnTimeout, Suspension, WaitRequest

__all__ = [
    "Suspension",
    "WaitRequest",
    "once",
    "schedule_at",
    "sleep",
    "wait_for_all",
    "wait_for_any",
    "wait_for_approval",
    "wait_for_choice",
    "wait_for_event",
    "wait_for_form",
    "wait_for_input",
    "wait_for_text",
]

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")


class InputOptions(TypedDict, total=False):
    """What every kind of input may be given."""

    prompt: str | None
    metadata: Any
    timeout: timedelta | float | None
    timeout_value: Any
    on_timeout: OnTimeout


def sleep(duration: timedelta | float) -> None:
    """Wait for a duration (a ``timedelta`` or seconds), outside any worker.

    Raises:
        TypeError: It is not a duration.
        ValueError: It is negative, not finite, or longer than 100 years.
        NotInStepError: No step is running.
    """
    seconds = _seconds(duration, "sleep's duration")
    step_run("sleep()").wait(WaitRequest(kind="sleep", seconds=seconds))


def schedule_at(instant: datetime) -> None:
    """Wait until an instant, outside any worker; one that has passed is no wait.

    Raises:
        TypeError: It is not a datetime.
        ValueError: It is naive, or has no equivalent in UTC.
        NotInStepError: No step is running.
    """
    if not isinstance(instant, datetime):
        raise TypeError(f"schedule_at needs a datetime, not {instant!r}.")
    if instant.utcoffset() is None:
        raise ValueError(f"schedule_at needs an aware datetime, not {instant!r}; give it a tzinfo.")
    try:
        utc = instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"schedule_at cannot express {instant!r} in UTC.") from None
    step_run("schedule_at()").wait(WaitRequest(kind="sleep", at=utc))


def wait_for_event(
    name: str, *, timeout: timedelta | float | None = None, timeout_value: Any = NO_VALUE
) -> Any:
    """Wait for an event and return its payload; one that was sent before counts.

    Args:
        name: 1 to 200 printable characters.
        timeout: How long to wait; None for ever.
        timeout_value: What to return when that is over, in its JSON form.

    Raises:
        WaitTimeout: The time is over, and there is no ``timeout_value``.
        TypeError: The name or the timeout is of the wrong type.
        ValueError: The name or the timeout is none.
        NotInStepError: No step is running.
    """
    names = (check_wait_name(name, "wait_for_event's name"),)
    return _wait("wait_for_event()", "event", names, timeout, timeout_value)


def wait_for_any(
    names: Iterable[str],
    *,
    timeout: timedelta | float | None = None,
    timeout_value: Any = NO_VALUE,
) -> Any:
    """Wait for the first of several events; return ``(name, payload)``. See ``wait_for_event``."""
    checked = _names(names, "wait_for_any")
    return _wait("wait_for_any()", "any", checked, timeout, timeout_value)


def wait_for_all(
    names: Iterable[str],
    *,
    timeout: timedelta | float | None = None,
    timeout_value: Any = NO_VALUE,
) -> Any:
    """Wait for several events; return ``{name: payload}`` when all are there.

    They are consumed together: after a timeout those that came are still in the mailbox. See
    ``wait_for_event``.
    """
    checked = _names(names, "wait_for_all")
    return _wait("wait_for_all()", "all", checked, timeout, timeout_value)


def wait_for_input(  # noqa: PLR0913 - the contract's options, by keyword
    name: str,
    *,
    type: str = "text",  # noqa: A002 - the contract's name
    prompt: str | None = None,
    fields: Sequence[Mapping[str, Any]] | None = None,
    choices: Sequence[Any] | None = None,
    metadata: Any = None,
    timeout: timedelta | float | None = None,
    timeout_value: Any = NO_VALUE,
    on_timeout: OnTimeout = "resume",
) -> Any:
    """Ask a person and return the answer, which fits the type.

    Args:
        name: 1 to 200 printable characters.
        type: "text", "approval", "choice", "multi_choice" or "form".
        prompt: A text for the person.
        fields: Of a form: ``{"name", "type", "label", "required", "options"}`` each.
        choices: Of a choice: values, or ``{"value", "label"}``.
        metadata: Anything with a JSON form, for whoever shows the question.
        timeout: How long to wait; None for ever.
        timeout_value: What to return when that is over, in its JSON form.
        on_timeout: "fail": the execution fails as ``wait_timeout`` when the time is over.

    Raises:
        WaitTimeout: The time is over, and there is no ``timeout_value``.
        TypeError: An argument is of the wrong type.
        ValueError: An argument is not what it should be, or contradicts another.
        NotInStepError: No step is running.
    """
    if on_timeout not in ("resume", "fail"):
        raise ValueError(f'on_timeout must be "resume" or "fail", not {on_timeout!r}.')
    if on_timeout == "fail" and (timeout is None or timeout_value is not NO_VALUE):
        raise ValueError('on_timeout="fail" needs a timeout and takes no timeout_value.')
    request = WaitRequest(
        kind="input",
        names=(check_wait_name(name, "wait_for_input's name"),),
        seconds=_timeout(timeout),
        timeout_value=_value(timeout_value),
        on_timeout=on_timeout,
        question=question(type, prompt=prompt, fields=fields, choices=choices, metadata=metadata),
    )
    return step_run("wait_for_input()").wait(request)


def wait_for_approval(name: str, **options: Unpack[InputOptions]) -> Any:
    """Ask for an approval; return "approved" or "rejected". See ``wait_for_input``."""
    return wait_for_input(name, type="approval", **options)


def wait_for_choice(name: str, choices: Sequence[Any], **options: Unpack[InputOptions]) -> Any:
    """Ask for one of several choices; return its value. See ``wait_for_input``."""
    return wait_for_input(name, type="choice", choices=choices, **options)


def wait_for_text(name: str, **options: Unpack[InputOptions]) -> Any:
    """Ask for a text. See ``wait_for_input``."""
    return wait_for_input(name, type="text", **options)


def wait_for_form(
    name: str, fields: Sequence[Mapping[str, Any]], **options: Unpack[InputOptions]
) -> Any:
    """Ask for the fields of a form; return them by name. See ``wait_for_input``."""
    return wait_for_input(name, type="form", fields=fields, **options)


def once(
    key: str,
    f: Callable[Parameters, Value],
    /,
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Value:
    """Run ``f`` and keep its result; every later run of this step returns what was kept.

    For side effects before a wait. A process that dies between ``f`` and the keeping of its result
    runs ``f`` again, so ``f`` should be idempotent towards the outside all the same.

    Args:
        key: Names the result within this visit of the step; 1 to 200 printable characters.
        f: A plain function; what it returns is kept and returned in its JSON form.
        args: Its arguments.
        kwargs: Its arguments by keyword.

    Raises:
        TypeError: The key is no text, or ``f`` is no plain function.
        ValueError: The key is empty, too long or not printable.
        SerializationError: The result has no JSON form.
        NotInStepError: No step is running.
    """
    checked = check_wait_name(key, "once's key")
    if not callable(f) or inspect.iscoroutinefunction(f):
        raise TypeError(f"once({checked!r}, ...) needs a plain function to call, not {f!r:.200}.")
    return cast("Value", step_run("once()").once(checked, partial(f, *args, **kwargs)))


def check_wait_name(name: Any, what: str) -> str:
    """Return the name of an event, an input or a kept result.

    Raises:
        TypeError: It is no text.
        ValueError: It is not 1 to 200 printable characters.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a text, not {name!r:.80}.")
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise ValueError(f"{what} must be 1 to {LONGEST_NAME} printable characters, not {name!r}.")
    return name


def _wait(
    asking: str,
    kind: str,
    names: tuple[str, ...],
    timeout: timedelta | float | None,
    timeout_value: Any,
) -> Any:
    request = WaitRequest(
        kind=kind, names=names, seconds=_timeout(timeout), timeout_value=_value(timeout_value)
    )
    return step_run(asking).wait(request)


def _names(names: Any, asking: str) -> tuple[str, ...]:
    if isinstance(names, str | Mapping) or not isinstance(names, Iterable):
        raise TypeError(f"{asking} needs a list of names, not {names!r:.80}.")
    listed = tuple(check_wait_name(name, f"Each name of {asking}") for name in names)
    if not listed:
        raise ValueError(f"{asking} needs at least one name; the list is empty.")
    if len(set(listed)) < len(listed):
        raise ValueError(f"{asking} needs different names, not {list(listed)!r}.")
    return listed


def _timeout(timeout: timedelta | float | None) -> float | None:
    return None if timeout is None else _seconds(timeout, "timeout")


def _seconds(duration: timedelta | float, what: str) -> float:
    seconds = in_seconds(duration, what=what)
    if seconds > LONGEST_DURATION:
        raise ValueError(f"{what} must be at most 100 years, not {duration!r}.")
    return seconds


def _value(timeout_value: Any) -> Any:
    if timeout_value is NO_VALUE:
        return NO_VALUE
    return canonical(timeout_value, what="timeout_value")
