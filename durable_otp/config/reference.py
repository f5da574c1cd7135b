"""Every key of a configuration as a row of ``docs/configuration.md``."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from durable_otp.config.quantities import Shown, show_duration, show_size
from durable_otp.config.sections import Config, QueueSection

_PLAIN = {bool: "true or false", int: "whole number", str: "text"}


@dataclass(frozen=True)
class ReferenceRow:
    """One key: its dotted path, how it is written, and what it does."""

    key: str
    type: str
    unit: str
    default: str
    meaning: str


def reference() -> list[ReferenceRow]:
    """Return a row for every key, in the order of the sections."""
    return [row for name, field in Config.model_fields.items() for row in _section(name, field)]


def _section(name: str, field: FieldInfo) -> Iterator[ReferenceRow]:
    annotation: Any = field.annotation
    section: type[BaseModel] = QueueSection if name == "queues" else annotation
    prefix = "queues.<name>" if name == "queues" else name
    for key, item in section.model_fields.items():
        shown = _shown(item)
        yield ReferenceRow(
            key=f"{prefix}.{item.alias or key}",
            type=shown.type,
            unit=shown.unit,
            default=_default(item.default, shown),
            meaning=item.description or "",
        )


def _shown(field: FieldInfo) -> Shown:
    parts = [*_parts(field.annotation), *field.metadata]
    for part in parts:
        if isinstance(part, Shown):
            return part
        if get_origin(part) is Literal:
            return Shown(" or ".join(json.dumps(choice) for choice in get_args(part)), "")
    return Shown(next(_PLAIN[part] for part in parts if part in _PLAIN), "")


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and everything it is made of."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)


def _default(value: Any, shown: Shown) -> str:
    if value is None:
        return "not set"
    if shown.unit == "seconds":
        return json.dumps(show_duration(value))
    return json.dumps(show_size(value) if shown.unit == "bytes" else value)
