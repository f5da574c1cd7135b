"""The results of a parallel or an each block: one `Ok` or `Err` for every child.

Stored as ``["ok", value]`` and ``["error", error]``, by name; an ``each`` has a list of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ok:
    """The value of a child that completed."""

    value: Any

    def stored(self) -> list[Any]:
        """Return the result's JSON form."""
        return ["ok", self.value]


@dataclass(frozen=True)
class Err:
    """The error of a child that did not complete: ``{"type", "message", ...}``."""

    error: dict[str, Any]

    def stored(self) -> list[Any]:
        """Return the result's JSON form."""
        return ["error", self.error]


Result = Ok | Err
Results = dict[str, Result | list[Result]]


def stored_results(results: Mapping[str, Result | list[Result]]) -> dict[str, Any]:
    """Return a block's results in their JSON form."""
    return {
        name: [each.stored() for each in result] if isinstance(result, list) else result.stored()
        for name, result in results.items()
    }


def restored_results(stored: Mapping[str, Any] | None) -> Results:
    """Return a block's results from their JSON form; none for None."""
    return {name: _restored(form) for name, form in (stored or {}).items()}


def _restored(form: list[Any]) -> Result | list[Result]:
    match form:
        case ["ok", value]:
            return Ok(value)
        case ["error", dict(error)]:
            return Err(error)
        case _:
            return [Ok(value) if kind == "ok" else Err(value) for kind, value in form]
