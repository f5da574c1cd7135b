"""What kind of function a step has, found out when it is defined and not when it runs."""

import inspect
from collections.abc import Callable
from typing import Any

from durable_otp.errors import DefinitionError

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)


def name_of(function: Callable[..., Any], subject: str) -> str:
    """Return the name a step gets from its function."""
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        raise DefinitionError(f"{subject}: a step of {function!r} needs a name; give it name=...")
    return name


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object's own async __call__
    )


def takes_context(function: Callable[..., Any], subject: str) -> bool:
    """Return whether it is ``f(ctx)`` rather than ``f()``.

    Raises:
        DefinitionError: It is neither, or its body would not run when called.
    """
    parameters = _parameters(function, subject)
    positional = [item for item in parameters if item.kind in _POSITIONAL]
    required = [item for item in parameters if _is_required(item)]
    if len(required) > 1 or (required and required[0] not in positional):
        names = ", ".join(item.name for item in required)
        raise DefinitionError(f"{subject} must be f(ctx) or f(), but needs {names}.")
    return bool(positional)


def check_transaction(wanted: Any, function: Callable[..., Any], subject: str) -> bool:
    """Return whether a step runs in its checkpoint's transaction.

    Raises:
        DefinitionError: It would, but is not ``f(ctx, connection)`` or is async.
    """
    if not isinstance(wanted, bool):
        raise DefinitionError(f"{subject}: transaction must be True or False, not {wanted!r}.")
    if wanted:
        takes_all(function, (("ctx", "connection"),), f"{subject}, with a transaction,")
        if is_async(function):
            raise DefinitionError(
                f"{subject} must not be async: the connection of its transaction blocks."
            )
    return wanted


def takes_all(
    function: Callable[..., Any], forms: tuple[tuple[str, ...], ...], subject: str
) -> int:
    """Return how many of its arguments a function takes: as many as the longest form that fits.

    Args:
        function: What is to be called with positional arguments.
        forms: The names of the arguments, for each way it may be called; the longest last.
        subject: How a message calls it.

    Raises:
        DefinitionError: It can be called in none of these ways.
    """
    parameters = _parameters(function, subject)
    positional = [item for item in parameters if item.kind in _POSITIONAL]
    takes_any = any(item.kind is inspect.Parameter.VAR_POSITIONAL for item in positional)
    required = [item for item in parameters if _is_required(item)]
    keyword_only = [item for item in required if item not in positional]
    for form in reversed(forms):
        fits = len(required) <= len(form) <= (len(form) if takes_any else len(positional))
        if fits and not keyword_only:
            return len(form)
    ways = " or ".join(f"f({', '.join(form)})" for form in forms)
    raise DefinitionError(f"{subject} must be {ways}.")


def _parameters(function: Callable[..., Any], subject: str) -> list[inspect.Parameter]:
    if not callable(function):
        raise DefinitionError(f"{subject} must be a function, not {function!r}.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"{subject} must not yield: a generator's body does not run.")
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise DefinitionError(f"{subject} has no signature; wrap it in a function.") from None


def _is_required(parameter: inspect.Parameter) -> bool:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind not in variable
