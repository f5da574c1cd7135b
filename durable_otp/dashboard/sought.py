"""What is typed to find executions by input or context: JSON, ``key=value``, or words. Pure."""

import json
import re
from typing import Any, NamedTuple

_PAIR = re.compile(r"""([^\s=.][^\s=]*)=("(?:\\.|[^"\\])*"|\S+)(?:\s+|$)""")
LONGEST = 2000


class Sought(NamedTuple):
    """JSON that an input contains, or words that it has in it somewhere; both None: anything."""

    contains: Any = None
    text: str | None = None


def sought(typed: str) -> Sought:
    """Return what is meant: ``{"a": 1}``, ``customer=7 address.city=Bonn``, or words.

    Raises:
        ValueError: It begins as JSON and is none, or is too long.
    """
    typed = typed.strip()
    if len(typed) > LONGEST:
        raise ValueError(f"What is searched for may have {LONGEST:,} characters.")
    if typed[:1] in ("{", "["):
        return Sought(contains=_json(typed))
    pairs = _pairs(typed)
    if pairs is not None:
        return Sought(contains=pairs)
    return Sought(text=typed or None)


def sought_in_context(typed: str) -> Sought:
    """Return what is meant of a context, which is an object; see `sought`.

    Raises:
        ValueError: As there, and for JSON that is no object.
    """
    found = sought(typed)
    if found.contains is not None and not isinstance(found.contains, dict):
        raise ValueError('A context is an object: write {"key": value}, key=value, or words.')
    return found


def _json(typed: str) -> Any:
    try:
        return json.loads(typed)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"This is not JSON: {error}.") from None


def _pairs(typed: str) -> dict[str, Any] | None:
    """Return ``a=1 b.c=x`` as JSON; None when it is not made of such pairs alone."""
    found: dict[str, Any] = {}
    at = 0
    while at < len(typed):
        pair = _PAIR.match(typed, at)
        if pair is None or not _put(found, pair[1].split("."), _value(pair[2])):
            return None
        at = pair.end()
    return found or None


def _put(into: dict[str, Any], path: list[str], value: Any) -> bool:
    """Put a value under a path of keys; return False when something else is on its way."""
    for key in path[:-1]:
        inner = into.setdefault(key, {})
        if not isinstance(inner, dict):
            return False
        into = inner
    into[path[-1]] = value
    return True


def _value(typed: str) -> Any:
    """Return what is typed as JSON where it is some, else as a text."""
    try:
        return json.loads(typed)
    except (ValueError, RecursionError):
        return typed
