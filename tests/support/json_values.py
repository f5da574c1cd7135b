"""Values of every kind that somebody may hand in, and what the contract says becomes of them."""

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

MOST_DEPTH = 200
INTEGERS = range(-(2**63), 2**63)

characters = st.characters(exclude_categories=[])  # lone surrogates too
good_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.one_of(
    st.text(good_characters, max_size=12),
    st.text(good_characters, max_size=12),
    st.text(characters, max_size=6),
    st.sampled_from(
        ["\0", "a\0b", "\ud800", "x\udfff", "\u2028", "\x1e", "\\u0000", '"', "%s", "{}"]
    ),
)
numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(2**63 - 2, 2**64),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(1e14, 1e19),
    st.builds(lambda: 10**5000),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e16, 1e308, 5e-324]),
)
keys = st.one_of(
    texts, texts, texts, st.integers(-5, 5), st.booleans(), st.none(), st.floats(0, 3),
    st.tuples(st.integers(0, 1)),
)  # fmt: skip
odd = st.one_of(
    st.datetimes(timezones=st.just(UTC)),
    st.binary(max_size=5),
    st.uuids(),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
    st.frozensets(st.integers(0, 9), max_size=4),
    st.sampled_from([object(), len, 1j, type]),
)
leaves = st.one_of(st.none(), st.booleans(), texts, texts, numbers, odd)


@dataclass(frozen=True)
class Handed:
    """A value that is handed in; shown in short, because it may be deep or long."""

    value: Any

    def __repr__(self) -> str:
        try:
            return f"Handed({self.value!r:.500})"
        except (RecursionError, ValueError):
            return "Handed(what cannot be shown)"


def wild() -> st.SearchStrategy[Handed]:
    """Return values of every kind, mostly small; now and then very deep or very long."""
    nested = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.tuples(inner, inner),
            st.dictionaries(keys, inner, max_size=4),
        ),
        max_leaves=12,
    )
    depth = st.one_of(st.integers(1, 30), st.sampled_from([198, 199, 200, 201, 990, 5_000]))
    deep = st.builds(_nest, nested, depth, st.booleans())
    long = st.builds(lambda count, text: text * count, st.sampled_from([70_000, 600_000]), texts)
    return st.one_of(*[nested] * 8, deep, long).map(Handed)


def _nest(value: Any, depth: int, in_lists: bool) -> Any:
    for _ in range(depth):
        value = [value] if in_lists else {"in": value}
    return value


class RefusedValue(Exception):  # noqa: N818 - not an error: the contract's answer
    """The contract says that a value cannot be stored."""


def form_of(value: Any, most_bytes: int = 1_048_576) -> Any:
    """Return a value as the contract says that it is read back, or raise ``RefusedValue``."""
    form = _form(value, 0)
    if len(json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode()) > most_bytes:
        raise RefusedValue
    return form


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal by type and value."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _form(value: Any, depth: int) -> Any:
    plain: dict[type, Callable[[Any], Any]] = {
        type(None): lambda given: given,
        bool: lambda given: given,
        str: _text,
        int: _integer,
        float: _float,
        bytes: lambda given: base64.b64encode(given).decode(),
        UUID: str,
        Decimal: str,
        datetime: lambda given: given.isoformat().replace("+00:00", "Z"),
        frozenset: sorted,
    }
    if type(value) in plain:
        if type(value) is frozenset and depth >= MOST_DEPTH:
            raise RefusedValue
        return plain[type(value)](value)
    if not isinstance(value, list | tuple | dict) or depth >= MOST_DEPTH:
        raise RefusedValue
    if not isinstance(value, dict):
        return [_form(item, depth + 1) for item in value]
    form = {_key(key): _form(item, depth + 1) for key, item in value.items()}
    if len(form) < len(value):
        raise RefusedValue
    return form


def _text(text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise RefusedValue
    return text


def _integer(number: int) -> int:
    if number not in INTEGERS:
        raise RefusedValue
    return number


def _float(number: float) -> float | int:
    if not math.isfinite(number):
        raise RefusedValue
    if number.is_integer() and abs(number) >= 1e16:
        return _integer(int(Decimal(repr(number))))
    return abs(number) if number == 0 else number


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(key)
    if key is None or isinstance(key, bool | int):
        return json.dumps(key)
    raise RefusedValue
