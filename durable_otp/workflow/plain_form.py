"""What stands for an object in JSON: the text of a value, or the fields of a record."""

import base64
import dataclasses
import ipaddress
import sys
from collections import deque
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic_core import MultiHostUrl, Url, to_jsonable_python

from durable_otp.workflow.results import Err, Ok

_DATED = (date, time, timedelta)
_TEXTUAL = (
    Decimal,
    UUID,
    PurePath,
    Url,
    MultiHostUrl,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
)
_BINARY = (bytes, bytearray, memoryview)


def as_plain(value: Any) -> str | dict[str, Any] | list[Any] | None:
    """Return the text, the fields or the items that stand for an object; None if nothing does.

    Fields and items are as they are in Python, not yet in their JSON form.
    """
    if isinstance(value, _DATED):
        text: str = to_jsonable_python(value)
        return text
    if isinstance(value, _TEXTUAL):
        return str(value)
    if isinstance(value, _BINARY):
        return base64.b64encode(value).decode()
    if _is_model(value):
        fields: dict[str, Any] = value.model_dump(warnings=False)
        return fields
    if isinstance(value, deque | Ok | Err):
        return list(value) if isinstance(value, deque) else value.stored()
    is_record = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return (
        {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        if is_record
        else None
    )


def _is_model(value: Any) -> bool:
    """Return whether it is a pydantic model: whoever made one has imported pydantic."""
    main = sys.modules.get("pydantic.main")
    model: Any = getattr(main, "BaseModel", None)
    return model is not None and isinstance(value, model)
