"""A form's fields and the value that they mean, both ways; and what is wrong with it. Pure.

What is typed and is nothing of its kind stays a text, so that the form can show it again beside the
reason.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from durable_otp.dashboard.json_view import HIDDEN, SECRET
from durable_otp.dashboard.schema_shape import MISSING, Shape

MOST_TOLD = 5
LONGEST_MATCHED = 1000
_READERS: dict[str, tuple[Any, str]] = {
    "date": (date.fromisoformat, "a date, such as 2026-01-31"),
    "time": (time.fromisoformat, "a time, such as 09:30"),
    "instant": (datetime.fromisoformat, "an instant, such as 2026-01-31T09:30:00Z"),
    "uuid": (UUID, "a UUID"),
}


@dataclass(frozen=True)
class Field:
    """A field as a page shows it: with what is in it, and what is wrong with that."""

    shape: Shape
    text: str = ""
    texts: tuple[str, ...] = ()
    chosen: int | None = None
    on: bool = False
    problem: str = ""
    members: tuple["Field", ...] = ()


def filled(shape: Shape, value: Any, problems: Mapping[str, str] | None = None) -> Field:
    """Return a form with a value in it; ``problems`` are by the names of the fields."""
    value = shape.default if value is MISSING else value
    inside = value if isinstance(value, dict) else {}
    chosen = next((n for n, each in enumerate(shape.choices) if _same(each, value)), None)
    items = value if isinstance(value, list) else []
    return Field(
        shape=shape,
        text=_text(shape, value),
        texts=tuple(_of_item(shape, each) for each in items) if shape.kind == "list" else (),
        chosen=chosen,
        on=value is True,
        problem=(problems or {}).get(shape.name, ""),
        members=tuple(
            filled(each, inside.get(each.key, MISSING), problems)
            for each in (shape.members if shape.kind == "group" else ())
        ),
    )


def read(shape: Shape, form: Mapping[str, Any]) -> Any:
    """Return the value that a form means; ``MISSING`` where nothing is typed."""
    if shape.kind == "group":
        found = {each.key: read(each, form) for each in shape.members}
        typed = {key: value for key, value in found.items() if value is not MISSING}
        if shape.optional and not typed:
            return MISSING
        missing = (each.key for each in shape.members if each.needed and each.nullable)
        return dict.fromkeys((key for key in missing if key not in typed), None) | typed
    given = form.get(shape.name)
    if shape.kind == "checkbox":
        return given == "true"
    if shape.kind == "list":
        rows = given if isinstance(given, list) else [given]
        found_items = [_value(shape.item, row) for row in rows if row]
        return MISSING if shape.optional and not found_items else found_items
    return _value(shape, given) if given not in (None, "") else MISSING


def problems_of(shape: Shape, value: Any) -> dict[str, str]:
    """Return what is wrong with a value, by the names of the fields."""
    return dict(_problems(shape, value))


def sentence_of(problems: Mapping[str, str]) -> str:
    """Return the first of the problems as one text."""
    told = list(problems.values())
    more = f" (and {len(told) - MOST_TOLD} more)" if len(told) > MOST_TOLD else ""
    return " ".join(told[:MOST_TOLD]) + more


def without_secrets(value: Any) -> Any:
    """Return a value without what is kept under names that sound secret: for an address."""
    if isinstance(value, dict):
        return {
            key: without_secrets(item)
            for key, item in value.items()
            if item == HIDDEN or not SECRET.search(key)
        }
    return [without_secrets(item) for item in value] if isinstance(value, list) else value


def _text(shape: Shape, value: Any) -> str:
    if value is MISSING or value is None or shape.kind in ("group", "list", "select", "checkbox"):
        return ""
    if shape.kind == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    return value if isinstance(value, str) else json.dumps(value)


def _of_item(shape: Shape, value: Any) -> str:
    """Return an item of a list as its row shows it; that of a select as its position."""
    if shape.item.kind == "select":
        at = (n for n, each in enumerate(shape.item.choices) if _same(each, value))
        return str(next(at, ""))
    return _text(shape.item, value)


def _value(shape: Shape, typed: Any) -> Any:
    """Return what a text means, or the text where it means nothing."""
    text = typed if isinstance(typed, str) else ""
    try:
        match shape.kind:
            case "integer":
                return int(text)
            case "number":
                return _number(text)
            case "select":
                return shape.choices[int(text)]
            case "json":
                return json.loads(text)
    except (ValueError, IndexError, RecursionError):
        return text
    return text


def _number(text: str) -> Any:
    value = float(text)
    if value in (float("inf"), float("-inf")) or value != value:  # noqa: PLR0124 - NaN
        raise ValueError(text)
    return int(text) if text.strip().lstrip("+-").isdigit() else value


def _problems(shape: Shape, value: Any) -> Iterator[tuple[str, str]]:
    problem = _problem(shape, value)
    if problem:
        yield shape.name, f"“{shape.label}” {problem}." if shape.key else f"The input {problem}."
    elif shape.kind == "group" and isinstance(value, dict):
        for each in shape.members:
            yield from _problems(each, value.get(each.key, MISSING))


def _problem(shape: Shape, value: Any) -> str:
    """Return what is wrong with one field, as the end of a sentence."""
    if value is MISSING:
        return "is required" if shape.needed else ""
    if value is None and shape.nullable:
        return ""
    if shape.kind == "group":
        return "" if isinstance(value, dict) else "must be an object"
    if shape.kind == "list":
        return _wrong_list(shape, value)
    return _wrong_single(shape, value)


def _wrong_list(shape: Shape, value: Any) -> str:
    if not isinstance(value, list):
        return "must be a list"
    least, most = shape.limits.get("minItems", 0), shape.limits.get("maxItems", len(value))
    if len(value) < least:
        return f"needs {least} or more entries"
    if len(value) > most:
        return f"may have {most} entries, not {len(value)}"
    found = (_wrong_single(shape.item, each) for each in value)
    return next((f"has an entry that {each}" for each in found if each), "")


def _wrong_single(shape: Shape, value: Any) -> str:
    match shape.kind:
        case "integer" | "number":
            return _wrong_number(shape, value)
        case "decimal":
            return _wrong_decimal(value)
        case "checkbox":
            return "" if isinstance(value, bool) else "must be true or false"
        case "select":
            is_one = any(_same(each, value) for each in shape.choices)
            return "" if is_one else f"must be one of the choices, not {_shown(value)}"
        case "json":
            is_text = isinstance(value, str) and shape.limits.get("type") in ("object", "array")
            return f"must be JSON, not {_shown(value)}" if is_text else ""
    return "" if shape.kind == "password" and not isinstance(value, str) else _wrong(shape, value)


def _wrong_number(shape: Shape, value: Any) -> str:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole and (shape.kind == "integer" or not isinstance(value, float)):
        return f"must be a {'whole ' * (shape.kind == 'integer')}number, not {_shown(value)}"
    limits = shape.limits
    if value < limits.get("minimum", value):
        return f"must be {limits['minimum']} or more, not {_shown(value)}"
    if value > limits.get("maximum", value):
        return f"must be {limits['maximum']} or less, not {_shown(value)}"
    if "exclusiveMinimum" in limits and value <= limits["exclusiveMinimum"]:
        return f"must be more than {limits['exclusiveMinimum']}, not {_shown(value)}"
    if "exclusiveMaximum" in limits and value >= limits["exclusiveMaximum"]:
        return f"must be less than {limits['exclusiveMaximum']}, not {_shown(value)}"
    return ""


def _wrong_decimal(value: Any) -> str:
    try:
        return "" if Decimal(str(value)).is_finite() else "must be a number"
    except InvalidOperation:
        return f"must be a number, not {_shown(value)}"


def _wrong(shape: Shape, value: Any) -> str:
    """Return what is wrong with a text."""
    if not isinstance(value, str):
        return f"must be a text, not {_shown(value)}"
    limits = shape.limits
    if len(value) < limits.get("minLength", 0):
        return f"needs {limits['minLength']} or more characters"
    if len(value) > limits.get("maxLength", len(value)):
        return f"may have {limits['maxLength']} characters, not {len(value)}"
    reader, words = _READERS.get(shape.kind, (None, ""))
    if reader is not None and not _reads(reader, value):
        return f"must be {words}, not {_shown(value)}"
    if not _matches(limits.get("pattern"), value):
        return f"must match {limits['pattern']}"
    return ""


def _reads(reader: Any, text: str) -> bool:
    try:
        reader(text)
    except ValueError:
        return False
    return True


def _matches(pattern: Any, text: str) -> bool:
    """Return whether a text may match; pydantic knows patterns that Python does not."""
    if not isinstance(pattern, str) or len(text) > LONGEST_MATCHED:
        return True
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _shown(value: Any) -> str:
    return repr(value)[:80]
