"""Pydantic's findings as sentences that name the key, the reason and where there is one the fix."""

import json
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from durable_otp.config.sections import Config, Fault, QueueSection
from durable_otp.errors import text_of

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_VALUE = 60
SECRETS = {("dashboard", "operators"), ("dashboard", "viewers"), ("dashboard", "token")}
_MUST_BE = {
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "dict_type": "must be a table",
    "int_parsing_size": "must be a smaller whole number",
}


def first_fault(error: ValidationError) -> Fault:
    """Return the path of the first offending key, and what is wrong with it."""
    faults = error.errors(include_url=False)
    fault = min(faults, key=lambda item: item["type"] != "extra_forbidden")  # unknown keys first
    path = tuple(str(part) for part in fault["loc"] if part != "[key]")
    return path, _reason(fault, path)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return what is wrong with a key that does not exist."""
    close = get_close_matches(key, list(known), n=1)
    return f"is not a known key; did you mean {close[0]}?" if close else "is not a known key"


def key_path(path: Sequence[str]) -> str:
    """Return a path as TOML writes dotted keys."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else json.dumps(part) for part in path)


def keys_of(section: type[BaseModel]) -> list[str]:
    """Return the keys of a section as they are written."""
    return [field.alias or name for name, field in section.model_fields.items()]


def _reason(fault: ErrorDetails, path: tuple[str, ...]) -> str:
    kind, facts = fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(path[-1], keys_of(_section_at(path[:-1])))
    if kind == "value_error":
        return str(facts["error"]).rstrip(".")
    if kind == "greater_than_equal":
        reason = f"must be at least {facts['ge']}"
    elif kind == "less_than_equal":
        reason = f"must be at most {facts['le']}"
    elif kind == "literal_error":
        reason = f"must be {facts['expected']}"
    else:
        reason = _MUST_BE.get(kind, fault["msg"])
    return reason + _but_is(fault["input"], path)


def _section_at(path: tuple[str, ...]) -> type[BaseModel]:
    if not path:
        return Config
    annotation: Any = Config.model_fields[path[0]].annotation
    return QueueSection if path[0] == "queues" else annotation


def _but_is(value: Any, path: tuple[str, ...]) -> str:
    """Return the offending value, unless it may hold a password or fill the screen."""
    shown = text_of(value, repr)
    is_secret = path[-1:] == ("dsn",) or path[:2] in SECRETS
    if is_secret or "://" in shown or "password" in shown:
        return ""
    return f", not {shown}" if len(shown) <= _LONGEST_VALUE else ""
