"""What a step did to its context, as a list of operations, and how they are applied again.

An operation is a JSON list, kept in the journal row of the step that made it::

    ["set", key, value]   ["append", key, item]   ["increment", key, by]   ["delete", key]

A context is the input's keys with every completed step's operations folded into it, in order.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from durable_otp.workflow.json_form import number

Operation: TypeAlias = list[Any]


def fold(context: Mapping[str, Any], operations: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """Return the context that these operations make of this one, which stays as it is."""
    result = dict(context)
    copied: set[str] = set()  # the lists made here, which may grow in place
    for operation in operations:
        _apply(result, operation, copied)
    return result


def fold_all(context: Mapping[str, Any], deltas: Iterable[Iterable[Any]]) -> dict[str, Any]:
    """Return the context after several steps' lists of operations."""
    return fold(context, (operation for operations in deltas for operation in operations))


def merged(value: Any, change: Any) -> Any:
    """Return a deep merge: objects key by key, anything else replaced by ``change``."""
    if not (isinstance(value, dict) and isinstance(change, dict)):
        return change
    return value | {key: merged(value.get(key), item) for key, item in change.items()}


def _apply(context: dict[str, Any], operation: Sequence[Any], copied: set[str]) -> None:
    match operation:
        case ["set", str(key), value]:
            context[key] = value
            copied.discard(key)
        case ["append", str(key), item]:
            if key not in copied:
                context[key] = list(context.get(key, ()))
                copied.add(key)
            context[key].append(item)
        case ["increment", str(key), by]:
            context[key] = number(context.get(key, 0) + by)
        case ["delete", str(key)]:
            context.pop(key, None)
            copied.discard(key)
        case _:
            raise ValueError(f"{operation!r} is not an operation on a context.")
