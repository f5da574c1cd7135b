"""Every value is brought to its JSON form, or refused with the path to the reason."""

import base64
import dataclasses
import enum
import json
from collections import OrderedDict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from durable_otp.errors import SerializationError
from durable_otp.workflow.json_form import canonical, decode, encode

UUID_TEXT = "018f3b1e-0000-7000-8000-000000000001"


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    HIGH = 3


class Item(BaseModel):
    price: Decimal
    tags: set[str] = set()


@dataclasses.dataclass
class Order:
    items: list[Item]
    colour: Colour = Colour.RED


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the untyped form is the one under test


def same(left, right):
    return type(left) is type(right) and json.dumps(left) == json.dumps(right)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        (deque([1]), [1]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1, "x", None}, ["x", 1, None]),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00Z"),
        (datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),  # noqa: DTZ001 - naive is kept naive
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (timedelta(hours=1), "PT1H"),
        (Decimal("1.50"), "1.50"),
        (UUID(UUID_TEXT), UUID_TEXT),
        (b"\xff\xfe", base64.b64encode(b"\xff\xfe").decode()),
        (bytearray(b"a"), "YQ=="),
        (Colour.RED, "red"),
        (Colour.PAIR, [1, 2]),
        (Level.HIGH, 3),
        (Item(price=Decimal(1), tags={"b", "a"}), {"tags": ["a", "b"], "price": "1"}),
        (
            Order([Item(price=Decimal(2))]),
            {"items": [{"tags": [], "price": "2"}], "colour": "red"},
        ),
        ({2: "a", True: "b"}, {"2": "a", "true": "b"}),
        ({None: 1, False: 2, Level.HIGH: 3}, {"3": 3, "null": 1, "false": 2}),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        (1e16, 10**16),
        (1.5e17, 150000000000000000),
        (1e15, 1e15),
        (-0.0, 0.0),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (True, True),
        (None, None),
        ("ü€😀", "ü€😀"),
    ],
)
def test_a_value_has_this_form(value, form):
    assert same(canonical(value), form)


def test_keys_come_in_the_order_that_jsonb_gives_them():
    form = canonical({"bb": 1, "a": 2, "ü": 3, "c": 4, "": 5})
    assert list(form) == ["", "a", "c", "bb", "ü"]


def test_the_form_shares_nothing_with_the_value():
    value = {"a": [{"b": [1]}]}
    form = canonical(value)
    form["a"][0]["b"].append(2)
    assert value == {"a": [{"b": [1]}]}


def cyclic():
    items: list = [1]
    items.append({"again": items})
    return items


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


class Bare:
    pass


class Self(BaseModel):
    child: "Self | None" = None


def cyclic_model():
    model = Self()
    model.child = model
    return model


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        ({"items": [1, 2, {"price": float("nan")}]}, 'input["items"][2]["price"]', "NaN"),
        ([float("inf")], "input[0]", "Infinity"),
        (-float("inf"), "input", "-Infinity"),
        ({"a": "x\0"}, 'input["a"]', "NUL"),
        ({"a\0": 1}, 'input["a\\u0000"]', "NUL"),
        (["\ud800"], "input[0]", "surrogate"),
        ({"\ud800": 1}, 'input["\\ud800"]', "surrogate"),
        ([2**63], "input[0]", "64 bits"),
        ([-(2**63) - 1], "input[0]", "64 bits"),
        ((1e19,), "input[0]", "64 bits"),
        ({10**30: 1}, f"input[{10**30}]", "64 bits"),
        ({"a": {1.5: 2}}, 'input["a"][1.5]', "float"),
        ({(1,): 2}, "input[(1,)]", "tuple"),
        ({"a": {1: 0, "1": 1}}, 'input["a"]', "same JSON text"),
        ({"a": {"1": 0, 1: 1}}, 'input["a"]', "same JSON text"),
        ({"a": {None: 0, "null": 1}}, 'input["a"]', "same JSON text"),
        ([Bare()], "input[0]", "type Bare"),
        ({"a": len}, 'input["a"]', "builtin_function"),
        (Bare, "input", "type type"),
        ((i for i in [1]), "input", "generator"),
        ({"s": SecretStr("x")}, 'input["s"]', "SecretStr"),
        ({"m": cyclic_model()}, 'input["m"]', "turned into JSON"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_path(value, path, reason):
    with pytest.raises(SerializationError) as refused:
        canonical(value, what="input")
    assert refused.value.path == path
    assert reason in str(refused.value)
    assert path in str(refused.value)
    assert str(refused.value).endswith(".")
    encode(str(refused.value))  # the message itself can be stored


def test_nesting_is_allowed_up_to_200_levels():
    assert decode(encode(canonical(nested(200)))) == nested(200)
    with pytest.raises(SerializationError, match="deeper than 200"):
        canonical(nested(201))


def test_what_contains_a_deepest_value_can_be_read_back():
    context = {"a": canonical(nested(200)), "n": 1.5}
    assert decode(encode([["set", "a", context]])) == [["set", "a", context]]


def test_a_value_that_contains_itself_is_refused():
    with pytest.raises(SerializationError, match="contains itself") as refused:
        canonical(cyclic())
    assert len(str(refused.value)) < 400


def test_a_small_value_with_an_enormous_form_is_refused_at_once():
    value: list = []
    for _ in range(120):
        value = [value, value]
    with pytest.raises(SerializationError, match="more than the 1,048,576 bytes"):
        canonical(value)


def test_the_size_is_that_of_the_json_in_utf8():
    assert canonical("ü" * 4, max_bytes=10) == "üüüü"
    with pytest.raises(SerializationError, match="11 bytes, more than the 10 bytes"):
        canonical("ü" * 4 + "a", max_bytes=10)
    with pytest.raises(SerializationError):
        canonical([1] * 1000, max_bytes=100)


@pytest.mark.parametrize(
    "text", ["", "nope", "[1,]", "NaN", b"\xff", '"\\ud800"', nested, "[" * 500]
)
def test_a_text_that_is_not_json_is_refused(text):
    deep = "[" * 201 + "NaN" + "]" * 201
    with pytest.raises(SerializationError):
        decode(deep if text is nested else text)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(-1e18, 1e18)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.binary()
)
KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.none()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(KEYS.filter(lambda k: k != "null"), inner)
        | st.tuples(inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_the_form_of_a_form_is_itself_and_survives_its_text(value):
    form = canonical(value)
    assert encode(canonical(form)) == encode(form)
    assert same(decode(encode(form)), form)


@given(st.sets(st.integers() | st.text() | st.tuples(st.integers())))
def test_a_set_has_one_form_whatever_its_order(values):
    try:
        form = canonical(values)
    except SerializationError:
        return
    shuffled: set = set()
    for value in reversed(form):
        shuffled.add(tuple(value) if isinstance(value, list) else value)
    assert canonical(shuffled) == form
