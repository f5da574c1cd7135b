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
    if not callable(function):
        raise DefinitionError(f"{subject} must be a function, not {function!r}.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"{subject} must not yield: a generator's body does not run.")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise DefinitionError(f"{subject} has no signature; wrap it in a function.") from None
    positional = [item for item in parameters if item.kind in _POSITIONAL]
    required = [item for item in parameters if _is_required(item)]
    if len(required) > 1 or (required and required[0] not in positional):
        names = ", ".join(item.name for item in required)
        raise DefinitionError(f"{subject} must be f(ctx) or f(), but needs {names}.")
    return bool(positional)


def _is_required(parameter: inspect.Parameter) -> bool:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind not in variable
