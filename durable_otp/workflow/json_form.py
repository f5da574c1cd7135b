"""The one form a value has here: JSON as PostgreSQL's ``jsonb`` gives it back.

Every value is brought to this form before the next step sees it, so that a first run and a resumed
run see the same thing: the same types, the same numbers and the same order of keys (jsonb sorts
them by length, then by bytes).
"""

import json
import math
from collections.abc import Collection, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, NoReturn, TypeAlias

from pydantic_core import from_json, to_json

from durable_otp.errors import SerializationError, text_of
from durable_otp.workflow.plain_form import as_plain

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"

MAX_BYTES = 1_048_576
MAX_DEPTH = 200
_MAX_INTEGER = 2**63 - 1
_MIN_INTEGER = -(2**63)
_MOST_ESCAPED = 6  # bytes of JSON for an ASCII character, as for both quotes together
_LONGEST_INTEGER = len(str(_MIN_INTEGER))
_SHOWN = 200  # characters of a path in a message
_INTEGRAL_FROM = 1e16  # from here on a float is written with an exponent, which jsonb expands


def canonical(value: Any, *, what: str = "value", max_bytes: int = MAX_BYTES) -> Any:
    """Return the JSON form of a value, as new lists and dicts.

    ``in_text`` gives its text, for one that is not needed as a value.

    Args:
        value: Anything with a JSON form; API section 1 lists the rules.
        what: How the value is called in a message and at the start of the error's path.
        max_bytes: The most UTF-8 bytes its JSON text may have.

    Raises:
        SerializationError: It cannot be stored and read back; ``path`` names the place.
    """
    if is_plain(value, max_bytes):
        return value
    return _checked(value, what, max_bytes)[0]


def in_text(value: Any, *, what: str = "value", max_bytes: int = MAX_BYTES) -> bytes:
    """Return the JSON text of any value: ``encode(canonical(value))`` in one go."""
    if value is None or value is True or value is False:
        return to_json(value)
    return _checked(value, what, max_bytes)[1]


def _checked(value: Any, what: str, max_bytes: int) -> tuple[Any, bytes]:
    try:
        result = _Walk(max_bytes).json_form(value)
    except _Refused as refused:
        refused.raise_as(what)
    text = to_json(result)
    if len(text) > max_bytes:
        _Refused(_too_large(max_bytes, len(text))).raise_as(what)
    return result, text


def is_plain(value: Any, max_bytes: int = MAX_BYTES) -> bool:
    """Return whether a value is its own JSON form at first sight, as nearly every small one is."""
    kind = type(value)
    if kind is str:
        text: str = value
        fits = (len(text) + 1) * _MOST_ESCAPED <= max_bytes
        return fits and text.isascii() and "\0" not in text
    if kind is int:
        return max_bytes >= _LONGEST_INTEGER and bool(_MIN_INTEGER <= value <= _MAX_INTEGER)
    return value is None or kind is bool


def encode(value: Any) -> bytes:
    """Return the JSON text of a canonical value; equal values give equal bytes."""
    return to_json(value)


def decode(text: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        SerializationError: The text is not JSON, or holds a number no float can hold.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except TypeError:  # as pydantic says it of a lone surrogate
        raise SerializationError("The text is not valid JSON: it is not UTF-8.") from None
    except ValueError as error:
        if "recursion limit" not in str(error):
            raise SerializationError(f"The text is not valid JSON: {error}.") from None
    return _decode_deep(text)


def in_key_order(value: dict[str, Any]) -> dict[str, Any]:
    """Return an object with its keys in jsonb's order; itself if they are."""
    if len(value) < 2:  # noqa: PLR2004 - one key is in order
        return value
    keys = list(value)
    ordered = sorted(keys)  # by code point is by byte, and the sort by length keeps it
    ordered.sort(key=len if "".join(keys).isascii() else _byte_length)
    return value if ordered == keys else {key: value[key] for key in ordered}


def number(value: float) -> int | float:
    """Return the form jsonb gives a finite number; the result may exceed 64 bits."""
    if isinstance(value, int):
        return value
    if abs(value) >= _INTEGRAL_FROM:
        return int(Decimal(repr(value)))  # jsonb keeps the digits of the text, not the binary value
    return value or 0.0  # no negative zero


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """Why a value has no JSON form, and the way to it, innermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []

    def raise_as(self, what: str) -> NoReturn:
        path = what + "".join(reversed(self.steps))
        shown = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}..."
        raise SerializationError(f"{shown} cannot be stored: {self.reason}.", path=path) from None


class _Walk:
    """One walk over a value: the containers it is inside of, and how much more may come."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._room = max_bytes  # every item costs a byte at least, which ends cycles early
        self._inside: list[Any] = []

    def json_form(self, value: Any) -> Any:
        kind = type(value)  # exact types first: they are nearly every value there is
        if kind is str:
            return _text(value)
        if kind is int:
            return _integer(value)
        if value is None or kind is bool:
            return value
        if kind is dict:
            return self._object(value, value)
        if kind is list or kind is tuple:
            return self._array(value, value)
        return _float(value) if kind is float else self._other(value)

    def _other(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return self.json_form(value.value)
        if isinstance(value, str):
            return _text(str.__str__(value))
        if isinstance(value, int):
            return _integer(int.__int__(value))
        if isinstance(value, float):
            return _float(float.__float__(value))
        if isinstance(value, set | frozenset):
            return _sorted(self._array(value, value))
        return self._object_of_a_class(value)

    def _object_of_a_class(self, value: Any) -> Any:
        plain = value if isinstance(value, Mapping | list | tuple) else _plain(value)
        if isinstance(plain, str):
            return _text(plain)
        if isinstance(plain, Mapping):
            return self._object(plain, value)
        return self._array(plain, value)

    def _array(self, values: Collection[Any], origin: Any) -> list[Any]:
        self._enter(origin, len(values))
        result: list[Any] = []
        try:
            for value in values:
                result.append(self.json_form(value))  # noqa: PERF401 - its length says where
        except _Refused as refused:
            refused.steps.append(f"[{len(result)}]")
            raise
        self._inside.pop()
        return result

    def _object(self, value: Mapping[Any, Any], origin: Any) -> dict[str, Any]:
        self._enter(origin, len(value))
        result: dict[str, Any] = {}
        key: Any = None
        try:
            for key, item in value.items():
                result[_text(key) if type(key) is str else _key(key)] = self.json_form(item)
        except _Refused as refused:
            refused.steps.append(_shown_key(key))
            raise
        if len(result) < len(value):
            raise _Refused("two of its keys have the same JSON text")
        self._inside.pop()
        return in_key_order(result)

    def _enter(self, value: Any, length: int) -> None:
        self._room -= length
        if len(self._inside) >= MAX_DEPTH or self._room < 0:
            raise self._refusal(value)
        self._inside.append(value)

    def _refusal(self, value: Any) -> _Refused:
        if any(value is outer for outer in self._inside):
            return _Refused("it contains itself")
        if self._room < 0:
            return _Refused(_too_large(self._max_bytes))
        return _Refused(f"it is nested deeper than {MAX_DEPTH} levels")


def _plain(value: Any) -> str | dict[str, Any] | list[Any]:
    try:
        plain = as_plain(value)
    except (ValueError, RecursionError) as error:
        raise _Refused(f"its {type(value).__name__} cannot be turned into JSON: {error}") from None
    if plain is None:
        raise _Refused(
            f"a value of type {type(value).__name__} has no JSON form; "
            "store its fields, its text or its id instead"
        )
    return plain


def _byte_length(text: str) -> int:
    return len(text.encode())


def _shown_key(key: Any) -> str:
    shown = json.dumps(key) if isinstance(key, str) else text_of(key, repr)
    return f"[{shown}]"


def _key(key: Any) -> str:
    """Return the JSON text of a key that is not plainly a string."""
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return _text(str.__str__(key))
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    if isinstance(key, int):
        return str(_integer(int.__int__(key)))
    raise _Refused(f"a key of type {type(key).__name__} has no JSON text; use a string")


def _text(text: str) -> str:
    if "\0" in text:
        raise _Refused("it contains a NUL character, which PostgreSQL cannot hold")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Refused("it contains a lone surrogate, which UTF-8 cannot hold") from None
    return text


def _integer(value: int) -> int:
    if _MIN_INTEGER <= value <= _MAX_INTEGER:
        return value
    raise _Refused("it is an integer beyond 64 bits; store it as text")


def _float(value: float) -> int | float:
    if not math.isfinite(value):
        raise _Refused(
            f"it is {_NOT_FINITE[str(value)]}, which JSON cannot hold; store None or text"
        )
    result = number(value)
    return _integer(result) if isinstance(result, int) else result


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _sorted(values: list[Any]) -> list[Any]:
    by_text = sorted(values, key=to_json)  # first, so that the order of the set plays no part
    try:
        return sorted(by_text)
    except TypeError:
        return by_text


def _too_large(max_bytes: int, size: int | None = None) -> str:
    found = "it is more than" if size is None else f"its JSON has {size:,} bytes, more than"
    return f"{found} the {max_bytes:,} bytes a value may have"


def _decode_deep(text: bytes | str) -> Any:
    """Read what nests deeper than pydantic's parser goes: a deepest value inside a context."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"The text is not valid JSON: {error}.") from None


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
