"""An input is checked at the start and is the same thing again in the worker."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, field_validator

from durable_otp.errors import InvalidInput, SerializationError
from durable_otp.workflow.builder import Workflow


class Item(BaseModel):
    price: Decimal
    at: datetime | None = None


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    items: list[Item]
    customer: str = Field("nobody", alias="customerName")

    @computed_field
    @property
    def count(self) -> int:
        return len(self.items)


class Unstable(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def double(cls, text: str) -> str:
        return text * 2


class Binary(BaseModel):
    data: bytes


@dataclass
class Point:
    x: int
    y: int


def workflow(input_type=None):
    made = Workflow("order", input=input_type)
    made.step(name="only")(lambda: None)
    return made


def test_an_untyped_input_is_its_json_form():
    assert workflow().validate_input({"a": (1, 2)}) == ({"a": [1, 2]}, {"a": [1, 2]})
    assert workflow().validate_input(None) == (None, None)


def test_a_model_goes_to_json_and_back():
    made = workflow(Order)
    model, form = made.validate_input({"items": [{"price": "1.50"}], "customerName": "Ann"})
    assert isinstance(model, Order)
    assert form == {"items": [{"at": None, "price": "1.50"}], "customer": "Ann"}
    assert made.definition().restore_input(form) == model
    assert made.validate_input(model) == (model, form)


@pytest.mark.parametrize(
    ("input_type", "value", "typed", "form"),
    [
        (list[int], ["1", 2], [1, 2], [1, 2]),
        (Annotated[int, Field(gt=0)], 5, 5, 5),
        (Point, {"x": 1, "y": 2}, Point(1, 2), {"x": 1, "y": 2}),
        (tuple[int, str], (1, "a"), (1, "a"), [1, "a"]),
        (set[str], {"b", "a"}, {"a", "b"}, ["a", "b"]),
        (Order | None, None, None, None),
    ],
)
def test_any_type_that_pydantic_validates_will_do(input_type, value, typed, form):
    made = workflow(input_type)
    assert made.validate_input(value) == (typed, form)
    assert made.definition().restore_input(form) == typed


def test_what_does_not_fit_is_refused_with_pydantics_error_as_cause():
    with pytest.raises(
        InvalidInput, match=r"'order' is invalid: items.0.price: .*\(and 1 more\)"
    ) as refused:
        workflow(Order).validate_input({"items": [{"price": "x"}], "other": 1})
    assert isinstance(refused.value.__cause__, ValidationError)


def test_the_message_does_not_show_the_value():
    with pytest.raises(InvalidInput) as refused:
        workflow(Order).validate_input({"items": "hunter2"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("value", [Unstable(text="a"), Binary(data=b"abc"), Binary(data=b"\xff")])
def test_what_would_come_back_as_something_else_is_refused(value):
    with pytest.raises(InvalidInput, match="read back"):
        workflow(type(value)).validate_input(value)


def test_a_stored_input_that_fits_no_more_is_one_sentence():
    with pytest.raises(InvalidInput, match="does not fit its type any more: items"):
        workflow(Order).definition().restore_input({"no": "items"})


def test_an_input_without_a_json_form_names_the_path():
    with pytest.raises(SerializationError) as refused:
        workflow().validate_input({"items": [1, {2: float("inf")}]})
    assert refused.value.path == 'input["items"][1][2]'
    with pytest.raises(SerializationError, match="10 bytes"):
        workflow(list[int]).validate_input([10**6, 10**6], max_bytes=10)
